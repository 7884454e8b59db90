"""Posteriors, priors and reductions: closed forms against torch.distributions, quadrature and autograd."""

import math

import pytest
import torch
from scipy.integrate import quad
from torch.distributions import Normal, kl_divergence

from vaezoo.distributions.posteriors import DiagonalNormal, PointMass
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.reductions import LOG_MEAN_EXP, MEAN, convex, grouped, renyi


@pytest.fixture
def q(tools):
    return DiagonalNormal(tools.normal(4, 3), 0.5 * tools.normal(4, 3, seed=1))


def test_log_densities_equal_those_of_torch(q, tools):
    z = q.rsample(tools.normal(5, 4, 3, seed=2))
    torch.testing.assert_close(q.log_prob(z), Normal(q.mean, q.scale).log_prob(z).sum(-1))
    torch.testing.assert_close(STANDARD_NORMAL.log_prob(z), Normal(0.0, 1.0).log_prob(z).sum(-1))


def test_kl_equals_that_of_torch(q):
    expected = kl_divergence(Normal(q.mean, q.scale), Normal(torch.zeros_like(q.mean), 1.0)).sum(-1)
    torch.testing.assert_close(STANDARD_NORMAL.kl(q), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (1.3, 0.4), (-2.0, 1.7)])
def test_kl_and_entropy_are_their_integrals(mean, scale):
    q = DiagonalNormal(*(torch.tensor([[v]], dtype=torch.float64) for v in (mean, math.log(scale))))

    def log_q(z):
        return q.log_prob(torch.tensor([[[z]]], dtype=torch.float64)).item()

    def log_p(z):
        return STANDARD_NORMAL.log_prob(torch.tensor([[[z]]], dtype=torch.float64)).item()

    ends = (mean - 12 * scale, mean + 12 * scale)
    kl, _ = quad(lambda z: math.exp(log_q(z)) * (log_q(z) - log_p(z)), *ends, epsabs=1e-12)
    entropy, _ = quad(lambda z: -math.exp(log_q(z)) * log_q(z), *ends, epsabs=1e-12)
    assert STANDARD_NORMAL.kl(q).item() == pytest.approx(kl, abs=1e-9)
    assert entropy == pytest.approx(0.5 * math.log(2 * math.pi * math.e) + math.log(scale), abs=1e-9)


def test_draws_have_the_posteriors_moments(q, tools):
    z = q.rsample(tools.normal(200_000, 4, 3, seed=3))
    assert ((z.mean(0) - q.mean) / (q.scale / 200_000**0.5)).abs().max() < 5
    assert ((z.std(0) - q.scale) / (q.scale / 400_000**0.5)).abs().max() < 5


def test_only_rsample_carries_gradient(tools):
    mean, log_scale = tools.normal(4, 3).requires_grad_(), tools.normal(4, 3, seed=1).requires_grad_()
    q, noise = DiagonalNormal(mean, log_scale), tools.normal(2, 4, 3, seed=2)
    assert q.rsample(noise).requires_grad
    assert not q.sample(noise).requires_grad
    assert not q.detach().rsample(noise).requires_grad
    assert torch.equal(q.sample(noise), q.rsample(noise))


def test_a_point_mass_draws_its_mean_and_has_no_density(tools):
    q = PointMass(tools.normal(4, 3))
    assert torch.equal(q.rsample(tools.normal(2, 4, 3)), q.mean.expand(2, 4, 3))
    assert (q.scale == 0).all()
    with pytest.raises(TypeError, match="no density"):
        q.log_prob(tools.normal(2, 4, 3))


REDUCTIONS = pytest.mark.parametrize(
    "reduction",
    [MEAN, LOG_MEAN_EXP, convex(0.3), convex(0.05), renyi(0.4), grouped(2)],
    ids=lambda r: r.name,
)


@REDUCTIONS
def test_a_reduction_treats_each_example_alone(reduction, tools):
    log_w = tools.normal(5, 3)
    for function in (reduction.value, reduction.path_scale, reduction.reward):
        alone = torch.stack([function(log_w[:, b]) for b in range(3)], -1)
        torch.testing.assert_close(function(log_w), alone, rtol=1e-14, atol=1e-14)


@REDUCTIONS
def test_path_scale_is_one_minus_second_over_first_derivative(reduction, tools):
    log_w = tools.normal(5).requires_grad_()
    (first,) = torch.autograd.grad(reduction.value(log_w), log_w, create_graph=True)
    rows = [torch.autograd.grad(f, log_w, retain_graph=True)[0] if f.requires_grad else 0 * log_w for f in first]
    second = torch.stack(rows).diagonal()
    torch.testing.assert_close(reduction.path_scale(log_w), 1 - second / first, rtol=1e-12, atol=1e-12)


def test_reductions_are_their_formulas(tools):
    log_w = tools.normal(5, 3)
    torch.testing.assert_close(MEAN.value(log_w), log_w.sum(0) / 5)
    torch.testing.assert_close(LOG_MEAN_EXP.value(log_w), (log_w.exp().sum(0) / 5).log())
    torch.testing.assert_close(MEAN.reward(log_w), log_w / 5)
    torch.testing.assert_close(LOG_MEAN_EXP.reward(log_w), LOG_MEAN_EXP.value(log_w).expand(5, 3))


def test_log_mean_exp_survives_extremes():
    log_w = torch.tensor([[-1e4], [-1e4]], dtype=torch.float64)
    assert LOG_MEAN_EXP.value(log_w).item() == pytest.approx(-1e4)


def test_special_cases_of_other_bounds(tools):
    """alpha = 0 and one group are log-mean-exp; alpha near 1 and a group for each draw are the mean."""
    log_w = tools.normal(6, 5)
    for special, reduction in (
        (renyi(0.0), LOG_MEAN_EXP),
        (grouped(1), LOG_MEAN_EXP),
        (grouped(6), MEAN),
        (grouped(9), MEAN),
    ):
        for part in ("value", "path_scale", "reward"):
            actual, expected = getattr(special, part)(log_w), getattr(reduction, part)(log_w)
            torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(renyi(1 - 1e-7).value(log_w), MEAN.value(log_w), rtol=1e-5, atol=1e-5)


def test_groups_of_draws_have_bounds_of_their_own(tools):
    log_w = tools.normal(5, 3)
    first, second = (log_w[rows].exp().mean(0).log() for rows in ([0, 2, 4], [1, 3]))
    torch.testing.assert_close(grouped(2).value(log_w), (first + second) / 2, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grouped(2).reward(log_w)[3], second / 2, rtol=1e-12, atol=1e-12)
