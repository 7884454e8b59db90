"""Quadrature and what is built on it: exact moments, closed-form gradients, a plain product rule."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from tests.monte_carlo import largest_z
from vaezoo import Variant, ciwae, elbo, elbo_mc, iwae, mlp_normal, pathwise
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.testing import expectation, quadrature
from vaezoo.testing.expectation import flat_gradient, mean_objective, mean_over_noise, objective_values
from vaezoo.testing.problems import SMALL, Problem, linear_gaussian_model
from vaezoo.variants import build


@pytest.mark.parametrize("count", [2, 3, 11, 40])
def test_nodes_and_weights_are_numpys(count):
    nodes, weights = quadrature.gauss_hermite(count)
    expected_nodes, expected_weights = np.polynomial.hermite_e.hermegauss(count)
    np.testing.assert_allclose(nodes.numpy(), expected_nodes, rtol=0, atol=1e-12)
    np.testing.assert_allclose(weights.numpy(), expected_weights / expected_weights.sum(), rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(("draws", "latents"), [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_the_grid_integrates_any_function_of_the_draws(draws, latents):
    """Also functions that treat the draws differently."""
    points, weights = quadrature.grid_rule(draws, latents, 6)
    assert points.shape == (draws, 6 ** (draws * latents), latents)
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert (weights * points[0, :, -1] ** 4).sum().item() == pytest.approx(3, rel=1e-12)
    assert (weights * points[-1, :, 0].exp()).sum().item() == pytest.approx(math.exp(0.5), rel=1e-4)
    cross = (weights * points[0, :, 0] * points[-1, :, -1]).sum().item()
    assert cross == pytest.approx(1.0 if draws == latents == 1 else 0.0, abs=1e-12)


@pytest.mark.parametrize("dimensions", [1, 2, 4, 6, 9])
def test_the_grid_stays_small(dimensions):
    nodes = quadrature.grid_nodes(dimensions)
    assert nodes >= 3
    assert nodes**dimensions <= max(3**dimensions, quadrature.MAX_GRID_POINTS)


def expected_objective(variant, model, x, nodes):
    problem = Problem("", variant, model, x)
    return mean_over_noise(problem, lambda x, noise: objective_values(problem, x, noise, reparameterized=True), nodes)


@pytest.mark.parametrize("objective", [elbo, iwae, ciwae(0.5)], ids=lambda o: o.name)
@pytest.mark.parametrize(("draws", "latents", "nodes"), [(1, 2, 5), (3, 1, 4), (2, 2, 3)])
def test_the_mean_objective_is_the_mean_of_its_values_over_the_draws(tools, objective, draws, latents, nodes):
    variant = Variant("", mlp_normal, objective, pathwise, draws=draws)
    model = linear_gaussian_model(build(variant, SMALL, latents), pixels=3)
    problem = Problem("", variant, model, tools.normal(4, 3))
    expected = mean_over_noise(problem, lambda x, noise: objective_values(problem, x, noise), nodes)
    torch.testing.assert_close(mean_objective(problem, nodes), expected, rtol=1e-12, atol=0)


@pytest.fixture
def model(tools):
    return linear_gaussian_model(tools.build(), pixels=3)


@pytest.mark.parametrize("objective", [elbo, elbo_mc], ids=lambda o: o.name)
@pytest.mark.parametrize("draws", [1, 3])
def test_the_expected_elbo_has_the_closed_forms_gradient(model, tools, objective, draws):
    x = tools.normal(4, 3)
    q = model.encoder(x)
    layer = model.decoder.network
    errors = (x - layer.bias - q.mean @ layer.weight.T).square().sum(-1)
    spread = (q.scale.square() * layer.weight.square().sum(0)).sum(-1)
    exact = (-0.5 * (errors + spread) - 1.5 * math.log(2 * math.pi) - STANDARD_NORMAL.kl(q)).mean()
    actual = expected_objective(tools.variant(objective, draws=draws), model, x, nodes=4)
    assert actual.item() == pytest.approx(exact.item(), rel=1e-12)
    for part in ("encoder", "decoder"):
        torch.testing.assert_close(flat_gradient(model, actual, part), flat_gradient(model, exact, part))


def test_the_expected_iwae_converges(model, tools):
    x = 0.3 * tools.normal(2, 3)
    values = [expected_objective(tools.variant(iwae, draws=2), model, x, nodes).item() for nodes in (6, 10, 20)]
    assert abs(values[2] - values[1]) < abs(values[1] - values[0]) < 1e-3
    assert abs(values[2] - values[1]) < 1e-4


def test_the_worst_z_counts_standard_errors():
    draws = torch.tensor([[1.0, 5.0], [3.0, 5.0]], dtype=torch.float64)  # mean 2 ± 1, and 5 without spread
    assert largest_z(draws, torch.tensor([4.0, 5.0], dtype=torch.float64)) == pytest.approx(2)
    assert largest_z(draws, torch.tensor([4.0, 5.1], dtype=torch.float64)) == float("inf")
    assert largest_z(draws, torch.tensor([4.0, 5.0]).double(), 3**0.5) == pytest.approx(1)
    assert largest_z(draws[:, 1:], torch.tensor([5.0], dtype=torch.float64)) == 0


def measure_from(monkeypatch, problem, estimates, controls):
    """The bias by draws, if the batches have these mean gradients of the estimate and of the pathwise estimate."""
    source = (gradient for pair in zip(estimates, controls, strict=True) for gradient in pair)
    monkeypatch.setattr(expectation, "BATCH_SIZE", 4)
    monkeypatch.setattr(expectation, "flat_gradient", lambda *_: next(source))
    identity, errors = {"encoder": torch.eye(3).double()}, torch.tensor([0.01])
    return expectation._measure_by_draws(problem, identity, EXPECTED[None], errors, len(estimates))["encoder"]


EXPECTED = torch.tensor([0.1, 2.0, 0.3]).double()


def test_a_bias_by_draws_is_resolved_to_five_standard_errors_of_the_batches(model, tools, monkeypatch):
    """The errors of the coordinate that is the most standard errors off, relative to the exact gradient."""
    batches, size = tools.normal(50, 3, seed=8), EXPECTED.norm().item()
    problem = Problem("", tools.variant(elbo), model, tools.normal(4, 3))
    bias = measure_from(monkeypatch, problem, batches, EXPECTED.expand(50, 3))  # a control without information
    assert bias.relative == pytest.approx(abs(batches[:, 1].mean().item() - 2) / size)
    assert bias.resolution == pytest.approx((5 * stats.sem(batches[:, 1].numpy()) + 3 * 0.01) / size)
    bias = measure_from(monkeypatch, problem, batches + 0.5, batches + EXPECTED)  # a control with all of the noise
    assert bias.relative == pytest.approx((EXPECTED - 0.5).abs().max().item() / size)
    assert bias.resolution == pytest.approx(0.03 / size)
