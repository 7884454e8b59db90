"""Quadrature and what is built on it: exact moments, closed-form gradients, a plain product rule."""

import itertools
import math

import numpy as np
import pytest
import torch

from vaezoo import elbo, elbo_mc, iwae
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.testing import quadrature
from vaezoo.testing.bias import expected_objective, flat_gradient, largest_z, linear_gaussian_model


@pytest.mark.parametrize("count", [2, 3, 11, 40])
def test_nodes_and_weights_are_numpys(count):
    nodes, weights = quadrature.gauss_hermite(count)
    expected_nodes, expected_weights = np.polynomial.hermite_e.hermegauss(count)
    np.testing.assert_allclose(nodes.numpy(), expected_nodes, rtol=0, atol=1e-12)
    np.testing.assert_allclose(weights.numpy(), expected_weights / expected_weights.sum(), rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize("draws", [1, 2, 3, 5])
def test_each_multiset_stands_for_all_of_its_orders(draws, tools):
    points, weights = quadrature.product_rule(draws, 1, 6)
    points = points.squeeze(-1)
    assert weights.sum().item() == pytest.approx(1, abs=1e-12)
    assert points.shape == (draws, math.comb(6 + draws - 1, draws))
    single, single_weights = quadrature.gauss_hermite(6)
    plain = sum(
        np.prod([single_weights[i] for i in index]) * torch.logsumexp(single[list(index)], 0)
        for index in itertools.product(range(6), repeat=draws)
    )
    assert (weights * points.logsumexp(0)).sum().item() == pytest.approx(float(plain), rel=1e-12)


@pytest.mark.parametrize("draws", [1, 2, 5, 20, 200])
def test_the_max_nodes_is_chosen_that_stays_small(draws):
    nodes = quadrature.max_nodes(draws, 1)
    assert nodes >= 2
    assert math.comb(nodes + draws - 1, draws) <= quadrature.MAX_POINTS


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
