"""Discrete estimators of simple functions: closed forms of their variances, published numbers and exact identities."""

import math

import pytest
import torch

from tests.conftest import normal
from vaezoo import LEAVE_ONE_OUT, Baseline
from vaezoo.distributions.discrete import FactorizedBernoulli, FactorizedCategorical
from vaezoo.estimators import arm, disarm, enumerated, reinmax, score_function, straight_through
from vaezoo.reductions import MEAN, mean_reward


def estimates(estimator, f, logits, noise, network=None):
    """Gradients in the logits of f(z), one for each column of noise, [N, D], for the reduction mean."""
    q = FactorizedBernoulli(logits.expand(noise.shape[1], -1).clone().requires_grad_())
    value = estimator.estimate(lambda z, q: f(z), MEAN, q, noise, torch.zeros(noise.shape[1]).double())
    return torch.autograd.grad(value.sum(), q.logits)[0]


def noise_of_states(states):
    """Noise whose draw is the state, for any logits that are not extreme."""
    return torch.where(states > 0.5, 8.0, -8.0)


def logit(p):
    return torch.tensor([math.log(p / (1 - p))], dtype=torch.float64)


@pytest.mark.parametrize(("p", "t"), [(0.3, 0.45), (0.5, 0.45), (0.8, 0.1)])
def test_variances_of_two_evaluations_are_the_closed_forms(p, t):
    """f(b) = (b - t)², d = 1 - 2t: RLOO p q d² (1/2 - p q), DisARM p q d² (max(p, q) / 2 - p q)."""
    q, d = 1 - p, 1 - 2 * t

    def f(z):
        return (z - t).square().sum(-1)

    states = torch.cartesian_prod(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0])).double()
    weights = (p * states + q * (1 - states)).prod(1)
    g = estimates(score_function(LEAVE_ONE_OUT), f, logit(p), noise_of_states(states.T)[..., None])[:, 0]
    mean = (weights * g).sum()
    assert mean.item() == pytest.approx(p * q * d, rel=1e-12)
    variance = (weights * (g - mean).square()).sum().item()
    assert variance == pytest.approx(p * q * d**2 * (0.5 - p * q), rel=1e-12)
    cells = 20_000
    uniform = (torch.arange(cells, dtype=torch.float64) + 0.5) / cells  # the steps are at borders of cells
    g = estimates(disarm, f, logit(p), torch.special.ndtri(uniform)[None, :, None])[:, 0]
    assert g.mean().item() == pytest.approx(p * q * d, rel=1e-10)
    variance = g.var(correction=0).item()
    assert variance == pytest.approx(p * q * d**2 * (max(p, q) / 2 - p * q), rel=1e-9, abs=1e-20)
    g = estimates(arm, f, logit(p), torch.special.ndtri(uniform)[None, :, None])[:, 0]
    assert g.mean().item() == pytest.approx(p * q * d, rel=1e-7)
    # the square of d (u - 1/2) where the pair differs, which are the two tails of probability min(p, q)
    small = min(p, q)
    expected = d**2 * 2 * (0.125 - (0.5 - small) ** 3) / 3 - (p * q * d) ** 2
    assert g.var(correction=0).item() == pytest.approx(expected, rel=1e-6)


def test_published_variances_of_the_toy():
    """Titsias and Shi 2022: f(b) = mean_d (b_d - t)², D = 200, t = 0.499, logits 0, two evaluations."""
    latents, t, rows = 200, 0.499, 20_000
    a = (1 - 2 * t) / latents

    def f(z):
        return (z - t).square().mean(-1)

    def exact_mean(log_w, reduction, prediction):
        return mean_reward(log_w.new_full(log_w.shape, t**2 / 2 + (1 - t) ** 2 / 2))

    expected = {
        "rloo": (score_function(LEAVE_ONE_OUT), 2, a**2 / 4 * (0.5 + (latents - 1) / 4) - (a / 4) ** 2, 1.250e-9),
        "disarm": (disarm, 1, a**2 * latents / 16 - (a / 4) ** 2, 1.244e-9),
        "exact mean": (score_function(Baseline("exact_mean", exact_mean)), 2, None, 6.22e-10),
    }
    logits = torch.zeros(latents, dtype=torch.float64)
    for name, (estimator, draws, closed_form, published) in expected.items():
        g = estimates(estimator, f, logits, normal(draws, rows, latents, seed=3))
        assert g.mean().item() == pytest.approx(2.5e-6, rel=0.05), name
        assert g.var(0).mean().item() == pytest.approx(published, rel=0.04), name
        assert closed_form is None or closed_form == pytest.approx(published, rel=1e-3), name


def test_the_published_gradient_of_three_bernoullis_with_one_logit():
    """Liu et al. 2019: p = (0.6, 0.51, 0.48); the gradient at logit 0 is -0.0450 and the optimum 0.6705."""
    p = torch.tensor([0.6, 0.51, 0.48], dtype=torch.float64)

    def f(z):
        return (z - p).square().sum(-1)

    def differentiate(logit):
        shared = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
        q = FactorizedBernoulli(shared.expand(1, 3))
        value = enumerated.estimate(lambda z, q: f(z), MEAN, q, torch.zeros(1, 1, 3), torch.zeros(1)).sum()
        return value.item(), torch.autograd.grad(value, shared)[0].item()

    assert differentiate(0.0)[1] == pytest.approx(-0.0450, abs=1e-10)
    assert differentiate(40.0)[0] == pytest.approx(0.6705, abs=1e-10)  # the smallest mean


def quadratic(latents, linear_only):
    matrix, vector = normal(latents, latents, seed=21), normal(latents, seed=22)
    return lambda z: z @ vector + (0.0 if linear_only else ((z @ matrix) * z).sum(-1))


@pytest.mark.parametrize("estimator", [straight_through, reinmax], ids=lambda e: e.name)
@pytest.mark.parametrize("make", [FactorizedBernoulli, FactorizedCategorical], ids=["bernoulli", "categorical"])
@pytest.mark.parametrize("is_linear", [True, False], ids=["linear", "quadratic"])
def test_straight_through_is_exact_for_linear_and_reinmax_for_quadratic_functions(estimator, make, is_linear):
    """The mean over all states, without Monte Carlo."""
    logits = normal(*((3,) if make is FactorizedBernoulli else (2, 3)), seed=23)
    every = make(logits[None]).states()
    f = quadratic(every.shape[-1], is_linear)
    q = make(logits.expand(len(every), *logits.shape).clone().requires_grad_())
    value = estimator.estimate(lambda z, q: f(z), MEAN, q, noise_of_states(every)[None], torch.zeros(len(every)))
    probability = q.log_prob(every[None])[0].exp().detach()
    mean = torch.autograd.grad((probability * value).sum(), q.logits)[0].sum(0)
    exact_q = make(logits[None].clone().requires_grad_())
    exact_value = (exact_q.log_prob(every[:, None]).exp()[:, 0] * f(every)).sum()
    exact = torch.autograd.grad(exact_value, exact_q.logits)[0][0]
    if is_linear or estimator is reinmax:
        torch.testing.assert_close(mean, exact)
    else:
        assert (mean - exact).norm() > 0.05 * exact.norm()
