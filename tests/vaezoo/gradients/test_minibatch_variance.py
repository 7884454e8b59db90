"""The parts of the variance, latent noise and choice of the minibatch, against fresh estimates."""

import dataclasses
import math

import pytest
import torch
from scipy import stats

from tests.monte_carlo import error_z
from tests.vaezoo.gradients.plain_loops import STOCHASTIC, fit, loop
from vaezoo import FittedVariant, measure, pathwise
from vaezoo.gradients import measure_between_examples, measure_fresh_variance, minibatch_variance


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize("name", ["vae", "reinforce-vae-loo", "iwae-dreg"])
def test_latent_noise_and_minibatch_add_up_to_the_variance_of_a_fresh_estimate(name, tools):
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    images, source = torch.rand(500, 3, 3, generator=tools.generator(1), dtype=torch.float64), tools.generator(2)
    s = fit(next(v for v in STOCHASTIC if v.name == name))
    draws, size = s.variant.draws, 10

    def fresh(count=size):
        rows = torch.randint(len(images), (count,), generator=source)
        x = (torch.rand(count, 3, 3, generator=source, dtype=torch.float64) < images[rows]).double()
        return x, torch.randn(draws, count, 2, generator=source, dtype=torch.float64)

    count = 1000
    x, _ = fresh(count)
    noise = torch.randn(20, draws, count, 2, generator=source, dtype=torch.float64)
    latent = measure(model, {"it": s}, x, lambda rows: noise[:, :, rows], spread_of_layer=None)["it"].moments[
        "encoder", ""
    ]
    exact = FittedVariant(dataclasses.replace(s.variant, estimator=pathwise))
    between = measure_between_examples(
        model, exact, x, torch.randn(2, draws, count, 2, generator=source, dtype=torch.float64)
    )
    parts = (latent.variance * count + between["encoder"].value) / size
    total = measure_fresh_variance(model, {"it": s}, fresh, 200)["it"]
    by_example = latent.variance_se * count / size * 2  # examples differ too: twice the error over the noise
    assert abs(total.value - parts) < 5 * math.hypot(total.se, between["encoder"].se / size, by_example)


def test_the_minibatchs_part_is_the_variance_between_exact_gradients(tools):
    """Without noise in the estimate nothing has to be subtracted: many draws come to the same."""
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    x = (tools.normal(40, 3, 3, seed=4) > 0).double()
    s = FittedVariant(STOCHASTIC[0])
    few = measure_between_examples(model, s, x, tools.normal(2, 1, 40, 2, seed=6))
    g = loop(model, s, x, tools.normal(2000, 1, 40, 2, seed=7))
    for part, figure in few.items():
        mean = torch.cat([values for name, values in g.items() if name.startswith(part)], 2).mean(0)
        exact = (mean - mean.mean(0)).square().sum() / 39
        assert abs(figure.value - exact) < 5 * figure.se


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian-learned"])
def test_the_direct_route_gives_the_same_numbers(likelihood, tools, monkeypatch):
    """A decoder with a parameter outside its linear layers always takes the direct route."""
    model = tools.build(shape=(3, 3), likelihood=likelihood, hidden=(5,), latent_dim=2)
    x = (tools.normal(12, 3, 3, seed=4) > 0).double()
    noise, fitted = tools.normal(2, 1, 12, 2, seed=6), FittedVariant(STOCHASTIC[0])
    joint = measure_between_examples(model, fitted, x, noise)
    monkeypatch.setattr(minibatch_variance, "supports_joint_measurement", lambda *_: False)
    direct = measure_between_examples(model, fitted, x, noise)
    for part, figure in direct.items():
        assert joint[part].value == pytest.approx(figure.value, rel=1e-9)
        assert joint[part].se == pytest.approx(figure.se, rel=1e-9)


def small_batch(tools, examples, estimates):
    x = (tools.normal(examples, 3, 3, seed=4) > 0).double()
    return x, tools.normal(estimates, 1, examples, 2, seed=6)


def test_the_minibatchs_part_is_its_definition(tools):
    """s² - v / M: s² between the means over the M estimates, v between the estimates, both with n - 1."""
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    x, noise = small_batch(tools, 6, 3)
    fitted = FittedVariant(STOCHASTIC[0])
    gradients = loop(model, fitted, x, noise)
    for part, measured in measure_between_examples(model, fitted, x, noise).items():
        g = torch.cat([values for name, values in gradients.items() if name.startswith(part)], 2)
        expected = g.mean(0).var(0).sum() - g.var(0).mean(0).sum() / 3
        assert measured.value == pytest.approx(expected.item(), rel=1e-9)
        squares = (g.mean(0) - g.mean((0, 1))).square().sum(1) * 6 / 5 - g.var(0).sum(1) / 3
        assert measured.se == pytest.approx(stats.sem(squares.numpy()), rel=1e-9)


def test_the_error_of_the_minibatchs_part_is_its_spread(tools, monkeypatch):
    """Over new examples and new noise."""
    monkeypatch.setattr(minibatch_variance, "supports_joint_measurement", lambda *_: True)
    model, source = tools.build(shape=(2,), latent_dim=1), tools.generator(9)
    fitted, parts = FittedVariant(STOCHASTIC[0]), []
    for _ in range(60):
        x = torch.randn(30, 2, generator=source, dtype=torch.float64)
        noise = torch.randn(2, 1, 30, 1, generator=source, dtype=torch.float64)
        parts.append(measure_between_examples(model, fitted, x, noise))
    for part in ("encoder", "decoder"):
        assert abs(error_z([p[part].value for p in parts], [p[part].se for p in parts])) < 5


@pytest.mark.parametrize("route", ["joint", "direct"])
def test_the_fresh_variance_is_half_a_squared_difference_with_the_error_of_its_mean(route, tools, monkeypatch):
    if route == "direct":
        monkeypatch.setattr(minibatch_variance, "supports_joint_measurement", lambda *_: False)
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    batches = [((tools.normal(4, 3, 3, seed=s) > 0).double(), tools.normal(1, 4, 2, seed=90 + s)) for s in range(11)]
    source, fitted = iter(batches), fit(next(v for v in STOCHASTIC if v.name == "reinforce-vae-ema"))
    measured = measure_fresh_variance(model, {"it": fitted}, lambda: next(source), 5)["it"]
    gradients = []
    for x, noise in batches[1:]:  # the first minibatch decides the route
        single = loop(model, fitted, x, noise[None])
        gradients.append(torch.cat([g[0].mean(0) for name, g in single.items() if name.startswith("encoder")]))
    halves = [0.5 * (a - b).square().sum().item() for a, b in zip(gradients[::2], gradients[1::2], strict=True)]
    assert (measured.value, measured.se) == pytest.approx((sum(halves) / 5, stats.sem(halves)), rel=1e-9)
