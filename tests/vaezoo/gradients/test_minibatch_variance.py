"""The parts of the variance, latent noise and choice of the minibatch, against fresh estimates."""

import dataclasses
import math

import pytest
import torch

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
