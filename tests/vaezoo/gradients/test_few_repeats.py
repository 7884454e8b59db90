"""Identities that hold for few examples and repeats, where a wrong divisor is a large error."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from tests.vaezoo.gradients.plain_loops import STOCHASTIC, fit, loop
from vaezoo import FittedVariant, measure, pathwise
from vaezoo.gradients import measure_between_examples, minibatch_gradient, normalise, spread
from vaezoo.gradients.measure import supports_joint_measurement
from vaezoo.gradients.moments import Moments, ValueWithError

EXAMPLES, REPEATS = 3, 7
BY_NAME = {variant.name: variant for variant in STOCHASTIC}


@pytest.fixture(scope="module")
def setting(tools):
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    x = (tools.normal(EXAMPLES, 3, 3, seed=4) > 0).double()
    return model, x, tools.normal(REPEATS, 5, EXAMPLES, 2, seed=2)


def measure_all(setting, variants, route):
    model, x, noise = setting
    return measure(model, variants, x, lambda rows: noise[:, :, rows], routes=dict.fromkeys(variants, route))


def minibatch_gradients(setting, fitted, draws):
    """The encoder's gradient for each repeat, [R, P]."""
    model, x, noise = setting
    rows = [minibatch_gradient(model, fitted, x, repeat[:draws]) for repeat in noise]
    return torch.stack([torch.cat([g.flatten() for n, g in row.items() if n.startswith("encoder")]) for row in rows])


def test_a_mean_has_the_error_of_a_mean():
    figure = ValueWithError.from_values(torch.tensor([1.0, 2.0, 6.0]))
    assert (figure.value, figure.se) == pytest.approx((3.0, math.sqrt(7 / 3)))


def test_moments_of_three_repeats():
    deviation = torch.tensor([2.0, 4.0, 6.0])
    moments = normalise(deviation, torch.tensor([8.0]), examples=2, leading=2)
    assert moments.variance == pytest.approx(4 / 4 * 3 / 2)  # the sum over repeats, divided by R - 1 and B²
    assert moments.snr == pytest.approx(16 / 1.5 - 1 / 3)
    assert moments.sums.tolist() == pytest.approx([0.75, 1.5])
    assert moments.variance_se == pytest.approx(0.75 / math.sqrt(2) / math.sqrt(3))


def test_kurtosis_of_two_values_is_1_and_of_a_rare_one_is_large():
    assert Moments(0.0, 0.0, None, torch.tensor([1.0, 3.0, 1.0, 3.0])).kurtosis == pytest.approx(1)
    assert Moments(0.0, 0.0, None, torch.tensor([1.0, *[0.0] * 9])).kurtosis == pytest.approx((0.9**3 + 0.1**3) / 0.09)
    assert math.isnan(Moments(0.0, 0.0, None, torch.ones(3)).kurtosis)


def test_gradients_in_several_chunks_have_the_spread_of_one_chunk(setting, tools, monkeypatch):
    model, x, noise = setting
    arguments = model, tools.estimate_function(BY_NAME["vae"]), ["encoder.heads.mean.weight"], x, noise[:, :1]
    (in_one_chunk,) = spread.spread_of_parameters(*arguments).values()
    monkeypatch.setattr(spread, "GRADIENT_VALUES_AT_ONCE", 3 * 10 * EXAMPLES)  # chunks of 3, 3 and 1 repeats
    (chunked,) = spread.spread_of_parameters(*arguments).values()
    torch.testing.assert_close(chunked.deviation, in_one_chunk.deviation)
    torch.testing.assert_close(chunked.total, in_one_chunk.total)


@pytest.mark.parametrize("name", ["reinforce-vae", "reinforce-vae-loo"])
def test_the_direct_route_of_an_odd_number_of_repeats(setting, name):
    """The first half has four repeats, the second three. Each is compared with the mean of the other."""
    fitted = fit(BY_NAME[name])
    draws = fitted.variant.draws
    reference = FittedVariant(dataclasses.replace(fitted.variant, estimator=pathwise))
    larger = FittedVariant(BY_NAME["iwae"])  # more draws, which the others do not use
    measurement = measure_all(setting, {"it": fitted, "exact": reference, "larger": larger}, "direct")["it"]
    g, exact = (minibatch_gradients(setting, v, draws) for v in (fitted, reference))
    assert measurement.moments["encoder", ""].variance == pytest.approx(g.var(0).sum().item())
    difference, z = g - exact, []
    for half, other in ((difference[:4], difference[4:]), (difference[4:], difference[:4])):
        projections = half @ other.mean(0)
        z.append(projections.mean() / projections.std() * len(half) ** 0.5)
    assert measurement.bias == pytest.approx((sum(z) / 2).item())
    direction = exact[4:].mean(0)
    cosines = g[:4] @ direction / g[:4].norm(dim=1) / direction.norm()
    assert measurement.cosine.value == pytest.approx(cosines.mean().item())
    assert measurement.cosine.se == pytest.approx(cosines.std().item() / 2)


@pytest.mark.parametrize("route", ["joint", "direct"])
def test_a_reference_has_as_many_draws(setting, route):
    variant = BY_NAME["iwae-stl"]
    fewer = FittedVariant(dataclasses.replace(variant, estimator=pathwise, draws=3))
    measurement = measure_all(setting, {"fewer": fewer, "it": FittedVariant(variant)}, route)["it"]
    assert (measurement.bias, measurement.cosine) == (None, None)


@pytest.mark.parametrize("route", ["joint", "direct"])
def test_a_small_variance_is_not_rounded_to_0(setting, route, tools):
    """Deviations of 1e-4 of the gradient are no rounding, although their squares are 1e-8 of its square."""
    _, x, noise = setting
    narrow = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    with torch.no_grad():
        narrow.encoder.heads["log_scale"].bias.fill_(-9.0)
    fitted = FittedVariant(BY_NAME["vae"])
    moments = measure_all((narrow, x[:1], noise[:, :, :1]), {"it": fitted}, route)["it"].moments["encoder", ""]
    g = minibatch_gradients((narrow, x[:1], noise[:, :, :1]), fitted, 1)
    assert g.std(0).norm() < 1e-3 * g.mean(0).norm()
    assert moments.variance == pytest.approx(g.var(0).sum().item(), rel=1e-3)


def test_equal_estimates_leave_the_variance_between_the_examples(setting):
    model, x, noise = setting
    fitted, twice = FittedVariant(BY_NAME["vae"]), noise[:1, :1].repeat(2, 1, 1, 1)
    figures, g = measure_between_examples(model, fitted, x, twice), loop(model, fitted, x, twice)
    for part, figure in figures.items():
        by_example = torch.cat([values[0] for name, values in g.items() if name.startswith(part)], 1)
        assert figure.value == pytest.approx(by_example.var(0).sum().item())


def test_an_encoder_without_a_bias_takes_the_joint_route_and_nan_does_not(setting, tools):
    _, x, noise = setting
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    fitted = FittedVariant(BY_NAME["vae"])
    model.encoder.trunk[0] = nn.Linear(9, 5, bias=False).double()
    assert supports_joint_measurement(model, fitted, x, noise)
    for parameter in (model.decoder.network[-1].bias, model.encoder.trunk[0].weight[0]):
        with torch.no_grad():
            parameter[0] = math.nan
        assert not supports_joint_measurement(model, fitted, x, noise)
