"""Both routes give the same moments where one example is the minibatch; what the joint route misses goes direct."""

import sys

import pytest
import torch
from torch import nn

from tests.vaezoo.gradients.plain_loops import STOCHASTIC, count_latents
from tests.vaezoo.testing.right_variants import VARIANTS as RIGHT
from vaezoo import DataSpec, Estimator, FittedVariant, Variant, build, elbo, initialise, measure, mlp_normal

pytestmark = pytest.mark.usefixtures("unchecked_types")

SPEC, LATENTS, REPEATS = DataSpec((4, 4), "bernoulli", (5,)), 2, 12
DIRECT = {"tied", "without-bias"}


@torch.no_grad()
def change_weights(model, tools):
    """So that the encoder's heads are no longer as they were drawn."""
    for seed, parameter in enumerate(model.parameters()):
        parameter += 0.3 * tools.normal(parameter.numel(), seed=seed).view_as(parameter)


@pytest.mark.parametrize("trained", [False, True], ids=["untrained", "trained"])
@pytest.mark.parametrize("variant", [*STOCHASTIC, *RIGHT], ids=lambda v: v.name)
def test_the_route_of_a_run_equals_the_direct_route(variant, trained, tools):
    latents = count_latents(variant)
    model = build(variant, SPEC, latents).double()
    source = tools.generator(1)
    initialise(model, lambda name: source)
    x = (tools.normal(4, 4, 4, seed=2) > 0).double()
    if trained:
        change_weights(model, tools)
    average = torch.tensor(-4.0 if variant.estimator.averaging_rate else 0.0).double()
    fitted, noise = FittedVariant(variant, model.baseline, average), tools.normal(REPEATS, variant.draws, 4, latents)
    chosen = measure(model, {"": fitted}, x, lambda rows: noise[:, :, rows])[""].route
    assert chosen == ("direct" if variant.name in DIRECT else "joint")
    for b in range(2):  # one example at a time, so that both routes measure the same quantity
        single = [
            measure(model, {"": fitted}, x[[b]], lambda rows, b=b: noise[:, :, [b]], routes={"": route})[""].moments
            for route in (chosen, "direct")
        ]
        for part in ("encoder", "decoder"):
            actual, expected = (moments[part, ""].variance for moments in single)
            assert actual == pytest.approx(expected, rel=1e-6, abs=1e-12), part
            assert expected > 0 or variant.name == "vae-blocked"


def clipped(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise.clamp(-2.5, 2.5)), q))


@pytest.mark.parametrize("rows", [2000, 400])
def test_an_estimate_that_changes_rare_draws_ends_no_other_measurement(rows, tools, monkeypatch):
    """The probe of a few draws does not see it. It has passes of its own if the first pass shows it."""
    monkeypatch.setattr("vaezoo.gradients.decoder_replay.DECODER_ROWS_PER_PASS", rows)
    model = build(STOCHASTIC[0], SPEC, LATENTS).double()
    x, noise = (tools.normal(40, 4, 4) > 0).double(), tools.normal(20, 1, 40, LATENTS).clamp(-2.4, 2.4)
    noise[15, 0, 30] = 3.0
    variants = {
        "clipped": FittedVariant(Variant("clipped", mlp_normal, elbo, Estimator("clipped", clipped))),
        "vae": FittedVariant(STOCHASTIC[0]),
    }
    together = measure(model, variants, x, lambda rows: noise[:, :, rows])
    assert {name: m.route for name, m in together.items()} == {"clipped": "joint", "vae": "joint"}
    alone = measure(model, {"vae": variants["vae"]}, x, lambda rows: noise[:, :, rows])["vae"]
    assert together["vae"].moments["encoder", ""].variance == alone.moments["encoder", ""].variance


@pytest.fixture
def small(tools):
    """A model with 4 parameters of q, 7 examples and noise."""
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(6, 5), latent_dim=LATENTS)
    return model, (tools.normal(7, 3, 3, seed=4) > 0).double(), tools.normal(REPEATS, 1, 7, LATENTS, seed=2)


def test_many_latents_are_measured_directly(small, monkeypatch):
    """The Jacobians have 4 parameters of q by (6 + 5 + 2 + 2) outputs by 7 examples."""
    model, x, noise = small
    fitted = {"": FittedVariant(STOCHASTIC[0])}
    for limit, route in ((4 * 15 * 7, "joint"), (4 * 15 * 7 - 1, "direct")):
        monkeypatch.setattr(sys.modules["vaezoo.gradients.measure"], "MAX_JACOBIAN_NUMBERS", limit)
        assert measure(model, fitted, x, lambda rows: noise[:, :, rows])[""].route == route


class RefusesOne(nn.Module):
    """A layer for minibatches only, as of a user."""

    def forward(self, x):
        if len(x) == 1:
            raise ValueError("one example is no minibatch")
        return x


def test_an_encoder_that_refuses_one_example_is_measured_directly(small):
    model, x, noise = small
    model.encoder.trunk.insert(0, RefusesOne())
    assert measure(model, {"": FittedVariant(STOCHASTIC[0])}, x, lambda rows: noise[:, :, rows])[""].route == "direct"


def test_the_size_of_chunks_changes_only_rounding(small, monkeypatch):
    model, x, noise = small
    fitted = {"": FittedVariant(STOCHASTIC[0])}
    in_one_chunk = measure(model, fitted, x, lambda rows: noise[:, :, rows])[""].moments
    monkeypatch.setattr("vaezoo.gradients.joint_measurement.GRAM_NUMBERS_PER_CHUNK", 3 * 4**2)
    parts = []
    chunked = measure(model, fitted, x, lambda rows: parts.append(rows) or noise[:, :, rows])[""].moments
    assert slice(3, 6) in parts
    for key, moments in in_one_chunk.items():
        assert chunked[key].variance == pytest.approx(moments.variance, rel=1e-9), key
