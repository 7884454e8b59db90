"""Bounds and the estimators made for them: identities, then every pair against quadrature, then orders in K."""

import dataclasses

import numpy as np
import pytest
import torch

from vaezoo import (
    LEARNED,
    LEAVE_ONE_OUT,
    MOVING_AVERAGE,
    NO_BASELINE,
    Variant,
    beta_elbo,
    blocked,
    build,
    ciwae,
    doubly_reparameterized,
    elbo,
    elbo_mc,
    estimate,
    estimate_parts,
    initialise,
    iwae,
    miwae,
    mlp_normal,
    pathwise,
    reconstruction,
    score_function,
    sticking_the_landing,
    vr_iwae,
)
from vaezoo.models import DataSpec

REPEATS = 100_000
AVERAGE = torch.tensor(-2.0, dtype=torch.float64)
OBJECTIVES = [elbo, elbo_mc, iwae, ciwae(0.3), vr_iwae(0.4), miwae(2)]
ESTIMATORS = [
    pathwise,
    sticking_the_landing,
    doubly_reparameterized,
    blocked,
    *(score_function(baseline) for baseline in (NO_BASELINE, LEAVE_ONE_OUT, MOVING_AVERAGE, LEARNED)),
]


def name(value):
    return f"{value.name}-{value.baseline_name}".strip("-") if value in ESTIMATORS else value.name


def is_unbiased(objective, estimator):
    """What theory says: sampling inside forgets log p(x|z), and a dropped score matters under a nonlinear F."""
    if estimator is blocked:
        return False
    return estimator is not sticking_the_landing or objective.reduction.name in ("mean", "grouped(2)")  # of two draws


def test_objectives_declare_whether_they_are_bounds():
    bounds = [*OBJECTIVES, beta_elbo(1.0), beta_elbo(4.0)]
    assert all(objective.bound for objective in bounds)
    assert not reconstruction.bound
    assert not beta_elbo(0.5).bound


@pytest.fixture
def exact(tools):
    """A linear-Gaussian model at its exact posterior, data, and log p(x)."""
    model, x = tools.build(shape=(5,)), tools.normal(6, 5)
    oracle = tools.linear_gaussian_oracle(model)
    with torch.no_grad():
        oracle.weight.copy_(torch.linalg.qr(oracle.weight)[0] * torch.tensor([2.0, 0.7]))
        precision = 1 + oracle.weight.square().sum(0)
        model.encoder.heads["mean"].weight.copy_(oracle.weight.T / precision[:, None])
        model.encoder.heads["mean"].bias.copy_(-(oracle.weight.T @ oracle.offset) / precision)
        model.encoder.heads["log_scale"].weight.zero_()
        model.encoder.heads["log_scale"].bias.copy_(-0.5 * precision.log())
    return model, x, oracle.log_px(x)


def gradient(tools, model, objective, estimator, x, noise):
    value = tools.estimate_function(tools.variant(objective, estimator, len(noise)))(model, x, noise)
    return tools.flat_gradient(model, value.mean())


@pytest.mark.parametrize("draws", [1, 2, 7])
def test_iwae_at_the_exact_posterior_is_log_px(exact, tools, draws):
    model, x, log_px = exact
    value = tools.estimate_function(tools.variant(iwae, draws=draws))(model, x, tools.normal(draws, 6, 2, seed=2))
    torch.testing.assert_close(value, log_px, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("objective", "estimator"),
    [(elbo_mc, sticking_the_landing), (elbo_mc, doubly_reparameterized), (iwae, doubly_reparameterized),
     (iwae, sticking_the_landing), (ciwae(0.3), doubly_reparameterized)],
    ids=name,
)  # fmt: skip
def test_the_encoders_gradient_vanishes_at_the_exact_posterior(exact, tools, objective, estimator):
    model, x, _ = exact
    by_part = gradient(tools, model, objective, estimator, x, tools.normal(5, 6, 2, seed=2))
    assert by_part["encoder"].abs().max() < 1e-12
    assert by_part["decoder"].abs().max() > 1e-3
    assert gradient(tools, model, objective, pathwise, x, tools.normal(5, 6, 2, seed=2))["encoder"].abs().max() > 1e-3


@pytest.mark.parametrize(
    "estimator", [pathwise, sticking_the_landing, doubly_reparameterized, score_function(NO_BASELINE)]
)
def test_iwae_with_one_draw_is_elbo_mc(tools, estimator):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(1, 4, 2, seed=2)
    first, second = (gradient(tools, model, o, estimator, x, noise) for o in (iwae, elbo_mc))
    for part, expected in second.items():
        torch.testing.assert_close(first[part], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("b", "other"), [(1.0, elbo_mc), (0.0, iwae)])
@pytest.mark.parametrize("estimator", [pathwise, doubly_reparameterized, score_function(LEAVE_ONE_OUT)])
def test_the_ends_of_ciwae_are_elbo_mc_and_iwae(tools, b, other, estimator):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(3, 4, 2, seed=2)
    first, second = (gradient(tools, model, o, estimator, x, noise) for o in (ciwae(b), other))
    for part, expected in second.items():
        torch.testing.assert_close(first[part], expected, rtol=1e-12, atol=1e-12)


def test_dreg_under_the_mean_is_stl(tools):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(3, 4, 2, seed=2)
    first, second = (
        gradient(tools, model, elbo_mc, e, x, noise) for e in (doubly_reparameterized, sticking_the_landing)
    )
    for part, expected in second.items():
        torch.testing.assert_close(first[part], expected, rtol=1e-13, atol=1e-13)


def test_with_the_closed_form_kl_all_paths_coincide(tools):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(3, 4, 2, seed=2)
    expected = gradient(tools, model, elbo, pathwise, x, noise)
    for estimator in (sticking_the_landing, doubly_reparameterized):
        for part, actual in gradient(tools, model, elbo, estimator, x, noise).items():
            torch.testing.assert_close(actual, expected[part], rtol=1e-13, atol=1e-13)


def test_dregs_hook_equals_two_passes(tools):
    """The same gradient without a hook: scale known from a first pass, then s z + [(1 - s) z]."""
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(3, 4, 2, seed=2)

    def two_passes(log_weight, reduction, q, noise, prediction):
        z = q.rsample(noise)
        scale = reduction.path_scale(log_weight(z, q.detach()).detach())[..., None]
        return reduction.value(log_weight(scale * z + ((1 - scale) * z).detach(), q.detach()))

    from vaezoo import Estimator

    expected = gradient(tools, model, iwae, Estimator("two_passes", two_passes), x, noise)
    for part, actual in gradient(tools, model, iwae, doubly_reparameterized, x, noise).items():
        torch.testing.assert_close(actual, expected[part], rtol=1e-12, atol=1e-12)


def quadrature(model, objective, x, nodes=40):
    """E[F(log w_1, log w_2)] + A for one latent, by Gauss-Hermite quadrature over both draws: mean over x."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    points, weights = torch.tensor(points), torch.tensor(weights / weights.sum())
    noise = torch.cartesian_prod(points, points).T.reshape(2, -1, 1, 1).expand(2, -1, len(x), 1)
    rows = x.repeat(nodes**2, 1)
    v = Variant("exact", mlp_normal, objective, pathwise, draws=2)
    stochastic, exact = estimate_parts(v, model, rows, noise.reshape(2, -1, 1), torch.zeros((), dtype=torch.float64))
    values = (stochastic + exact).view(nodes**2, len(x))
    return (torch.outer(weights, weights).flatten()[:, None] * values).sum(0).mean()


@pytest.mark.parametrize("objective", OBJECTIVES, ids=name)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name)
def test_every_pair_has_the_bias_that_theory_gives_it(tools, objective, estimator):
    """A Bernoulli decoder with one latent and two draws, against quadrature; encoder and decoder apart."""
    v = Variant("pair", mlp_normal, objective, estimator, draws=2)
    model = build(v, DataSpec((3,), "bernoulli", ()), 1).double()
    source = tools.generator(4)
    initialise(model, lambda _: source)
    with torch.no_grad():
        model.decoder.network[-1].weight *= 4
    x = torch.tensor([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]], dtype=torch.float64)
    expected = tools.flat_gradient(model, quadrature(model, objective, x))
    noise = tools.normal(REPEATS, 2, 2, 1, seed=6)
    gradients = tools.draw_gradients(model, lambda m, x, n: estimate(v, m, x, n, AVERAGE), x, noise)
    assert (tools.largest_z(gradients["encoder"], expected["encoder"]) < 5) == is_unbiased(objective, estimator)
    assert tools.largest_z(gradients["decoder"], expected["decoder"]) < 5


def test_the_variance_of_stl_vanishes_as_q_approaches_the_posterior(exact, tools):
    model, x, _ = exact
    variances = []
    for distance in (1.0, 0.1, 0.01):
        with torch.no_grad():
            model.encoder.heads["log_scale"].bias += distance
        v = tools.variant(elbo_mc, sticking_the_landing)
        variances.append(tools.moments(model, v, x, tools.normal(500, 1, 6, 2, seed=3))["encoder"].variance)
        with torch.no_grad():
            model.encoder.heads["log_scale"].bias -= distance
    assert variances[1] < variances[0] / 50
    assert variances[2] < variances[1] / 50


def posterior_snr(tools, model, v, x, repeats, seed):
    """Signal-to-noise ratio of the estimates, one per row, in the parameters of the posteriors of x."""
    leaves = {}

    def make_leaves(encoder, inputs, q):
        leaves.update({name: getattr(q, name).detach().requires_grad_() for name in ("mean", "log_scale")})
        return dataclasses.replace(q, **leaves)

    hook = model.encoder.register_forward_hook(make_leaves)
    noise = tools.normal(v.draws, repeats * len(x), 2, seed=seed)
    value = tools.estimate_function(v)(model, x.repeat(repeats, 1), noise)
    hook.remove()
    g = torch.cat(torch.autograd.grad(value.sum(), list(leaves.values())), 1).view(repeats, -1)
    variance = g.var(0).sum()
    return ((g.mean(0).square().sum() - variance / repeats) / variance).item()


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("estimator", "order", "repeats"), [(pathwise, -1, 20_000), (doubly_reparameterized, 1, 2000)], ids=["iwae", "dreg"]
)
def test_the_encoders_signal_to_noise_falls_with_k_for_iwae_and_rises_for_dreg(exact, tools, estimator, order, repeats):
    """SNR (a ratio of squares) ~ K^order near the posterior: Rainforth et al. 2018; Tucker et al. 2019."""
    model, x, _ = exact
    with torch.no_grad():
        model.encoder.heads["log_scale"].bias += 0.1
        model.encoder.heads["mean"].bias += 0.3
    draws, slopes = (4, 8, 16, 32), []
    for seed in range(4):
        variants = (tools.variant(iwae, estimator, count) for count in draws)
        snr = [posterior_snr(tools, model, v, x[:4], repeats, 100 * seed + v.draws) for v in variants]
        slopes.append(np.polyfit(np.log(draws), np.log(snr), 1)[0])
    half_width = 3.182 * np.std(slopes, ddof=1) / 2  # t with 3 degrees of freedom, 97.5 %
    assert abs(np.mean(slopes) - order) + half_width < 0.25, slopes
