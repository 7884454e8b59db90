"""`measure` against plain loops on the same noise, by both routes."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

from tests.vaezoo.gradients.plain_loops import GAUSSIAN, STOCHASTIC, count_latents, fit, loop
from vaezoo import VARIANTS, Estimator, FittedVariant, Variant, elbo, measure, mlp_normal, pathwise
from vaezoo.gradients import minibatch_gradient
from vaezoo.gradients.decoder_replay import DecoderPass
from vaezoo.gradients.measure import supports_joint_measurement
from vaezoo.gradients.spread import spread_of_products

EXAMPLES, REPEATS = 7, 24


def make_setting(tools, architecture=mlp_normal, latents=2):
    """A small perceptron in float64, binary examples, and noise of five draws."""
    model = tools.build(architecture, shape=(3, 3), likelihood="bernoulli", hidden=(6, 5), latent_dim=latents)
    x = (tools.normal(EXAMPLES, 3, 3, seed=4) > 0).double()
    return model, x, tools.normal(REPEATS, 5, EXAMPLES, latents, seed=2)


@pytest.fixture(scope="module")
def setting(tools):
    return make_setting(tools)


def of_layer(gradients, key):
    part, layer = key
    prefix = f"{part}.{layer}." if layer else f"{part}."
    return torch.cat([g for name, g in gradients.items() if name.startswith(prefix)], 2)


@pytest.mark.parametrize("variant", STOCHASTIC, ids=lambda v: v.name)
def test_every_layer_of_every_estimator_is_that_of_a_plain_loop(variant, tools, unchecked_types):
    model, x, noise = make_setting(tools, variant.architecture, count_latents(variant))
    noise = noise[:, : variant.draws]
    measured = {"it": (fitted := fit(variant))}
    if variant in GAUSSIAN:
        measured["exact"] = FittedVariant(dataclasses.replace(variant, estimator=pathwise))
    measurement = measure(model, measured, x, lambda rows: noise[:, :, rows])["it"]
    assert measurement.route == "joint"
    gradients = loop(model, fitted, x, noise)
    keys = [key for key in measurement.moments if key[0] in ("encoder", "decoder")]
    assert len(keys) == 2 + 2 + len(model.encoder.heads) + 3
    assert keys[-2:] == [("encoder", ""), ("decoder", "")]  # a set of strings has another order in each process
    for key in keys:
        g = of_layer(gradients, key)
        squares = (g - g.mean(0)).square().sum(-1)
        variance = squares.sum() / (REPEATS - 1) / EXAMPLES**2
        expected = 0.0 if variance < 1e-20 else variance.item()
        assert measurement.moments[key].variance == pytest.approx(expected, rel=1e-6), key
        sums = squares.sum(1) * REPEATS / (REPEATS - 1) / EXAMPLES**2
        assert measurement.moments[key].variance_se == pytest.approx(
            (sums.std() / REPEATS**0.5).item(), rel=1e-6, abs=1e-20
        )
        if expected:
            signal = (g.mean((0, 1)).square().sum() - variance / REPEATS) / variance
            assert measurement.moments[key].snr == pytest.approx(signal.item(), rel=1e-6)


def test_variances_in_the_posteriors_parameters(setting):
    model, x, noise = setting
    s = FittedVariant(STOCHASTIC[0])
    q = model.encoder(x)
    rows = []
    for repeat in noise[:, :1]:
        leaves = {name: getattr(q, name).detach().requires_grad_() for name in ("mean", "log_scale")}
        live = dataclasses.replace(q, **leaves)
        value = model.decoder.log_prob(x, live.rsample(repeat)).sum() - model.prior.kl(live).sum()
        rows.append(torch.stack(torch.autograd.grad(value, list(leaves.values()))))
    g = torch.stack(rows)
    moments = measure(model, {"it": s}, x, lambda r: noise[:, :1, r], spread_of_layer=None)["it"].moments
    for i, name in enumerate(("mean", "log_scale")):
        assert moments[name, ""].variance == pytest.approx(g[:, i].var(0).sum().item() / EXAMPLES**2, rel=1e-9)


@pytest.mark.parametrize("leading", [1, 8, 24])
def test_deviations_after_the_leading_ones_keep_their_sum(leading, tools):
    inputs, delta = tools.normal(2, 24, 3, 4, seed=1), tools.normal(2, 24, 3, 5, seed=2)
    every, few = spread_of_products(inputs, delta), spread_of_products(inputs, delta, leading)
    torch.testing.assert_close(few.deviation.sum(0), every.deviation.sum(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(few.deviation[:leading], every.deviation[:leading], rtol=1e-12, atol=1e-12)


def test_more_draws_share_the_pass_of_the_decoder(setting):
    model, x, noise = setting
    passes = []
    network = model.decoder.network.register_forward_hook(lambda _, inputs, __: passes.append(inputs[0].shape))
    several = {v.name: fit(dataclasses.replace(v, draws=5)) for v in GAUSSIAN} | {"one draw": fit(VARIANTS[1])}
    measure(model, several, x, lambda rows: noise[:, :, rows], routes=dict.fromkeys(several, "joint"))
    network.remove()
    assert sum(math.prod(shape[:-1]) for shape in passes) == REPEATS * 5 * EXAMPLES


def test_standard_errors_come_from_the_leading_repeats_also_with_other_decoder_parameters(tools, monkeypatch):
    """The learned scale is not a linear layer, and all of its deviations are known one by one."""
    monkeypatch.setattr("vaezoo.gradients.spread.LEADING_REPEATS", 10)
    model = tools.build(shape=(3,), likelihood="gaussian-learned", hidden=(4,), latent_dim=2)
    noise = tools.normal(REPEATS, 1, EXAMPLES, 2, seed=2)
    it = {"it": fit(VARIANTS[1])}
    moments = measure(model, it, tools.normal(EXAMPLES, 3, seed=4), lambda rows: noise[:, :, rows])["it"].moments
    assert len(moments["decoder", ""].sums) == 10
    assert len(moments["encoder", ""].sums) == REPEATS


def test_score_functions_alone_need_no_backward_pass_through_the_decoder(setting, monkeypatch):
    model, x, noise = setting
    by_name = {v.name: v for v in GAUSSIAN}

    def never(self):
        raise AssertionError("a slope was asked for")

    def measure_encoder(*names):
        variants = {name: fit(by_name[name]) for name in names}
        routes = dict.fromkeys(names, "joint")
        return measure(model, variants, x, lambda rows: noise[:, :1, rows], spread_of_layer=None, routes=routes)

    monkeypatch.setattr(DecoderPass, "_slopes", property(never))
    assert measure_encoder("reinforce-vae", "reinforce-vae-ema")
    with pytest.raises(AssertionError, match="slope"):
        measure_encoder("vae")


@pytest.mark.usefixtures("unchecked_types")
def test_bias_is_found_where_it_is_and_nowhere_else(setting, tools):
    model, x, _ = setting
    noise = tools.normal(4000, 5, EXAMPLES, 2, seed=5)
    several = {v.name: fit(dataclasses.replace(v, draws=5)) for v in GAUSSIAN}
    several["pathwise ciwae"] = FittedVariant(dataclasses.replace(several["ciwae-dreg"].variant, estimator=pathwise))
    for name, measurement in measure(model, several, x, lambda rows: noise[:, :, rows], spread_of_layer=None).items():
        if several[name].variant.estimator == pathwise:
            assert measurement.bias is None
        else:
            assert (abs(measurement.bias) < 5) == several[name].variant.unbiased, (name, measurement.bias)


@pytest.mark.parametrize("route", ["joint", "direct"])
def test_an_estimate_that_differs_by_rounding_has_no_bias(setting, route):
    """The mean of a hundred equal values differs in the last bit, each time in the same direction."""
    model, x, noise = setting
    exact = STOCHASTIC[0]

    def estimate(log_weight, reduction, q, noise, prediction):
        return sum(reduction.value(log_weight(q.rsample(noise), q)) for _ in range(100)) / 100

    repeated = dataclasses.replace(exact, name="repeated", estimator=Estimator("repeated", estimate))
    variants = {v.name: FittedVariant(v) for v in (exact, repeated)}
    single, pixels = copy.deepcopy(model).float(), x.float()
    arguments = (single, variants, pixels, lambda rows: noise[:, :1, rows].float())
    measurement = measure(*arguments, spread_of_layer=None, routes={"repeated": route})["repeated"]
    assert measurement.route == route
    assert measurement.bias is None


def test_the_cosine_is_that_of_whole_gradients(setting):
    model, x, noise = setting
    exact, s = FittedVariant(STOCHASTIC[0]), fit(next(v for v in GAUSSIAN if v.name == "reinforce-vae"))
    cosine = measure(model, {"it": s, "exact": exact}, x, lambda rows: noise[:, :1, rows])["it"].cosine
    gradients, exact_gradients = (
        torch.cat([g for n, g in loop(model, variant, x, noise[:, :1]).items() if n.startswith("encoder")], 2).mean(1)
        for variant in (s, exact)
    )
    half = REPEATS // 2
    direction = exact_gradients[half:].mean(0)
    cosines = (gradients[:half] @ direction) / gradients[:half].norm(dim=1) / direction.norm()
    assert cosine.value == pytest.approx(cosines.mean().item(), rel=1e-9)


class Centred(nn.Module):
    """A layer that makes examples interact."""

    def forward(self, x):
        return x - x.mean(0)


def test_examples_that_interact_are_measured_directly(setting):
    model, x, noise = setting
    fitted = FittedVariant(STOCHASTIC[0])
    assert supports_joint_measurement(model, fitted, x, noise[:3, :1])
    coupled = copy.deepcopy(model)
    coupled.encoder.trunk.insert(0, Centred())
    assert not supports_joint_measurement(coupled, fitted, x, noise[:3, :1])
    measurement = measure(coupled, {"it": fitted}, x, lambda rows: noise[:, :1, rows])["it"]
    assert measurement.route == "direct"
    rows = [minibatch_gradient(coupled, fitted, x, repeat) for repeat in noise[:, :1]]
    for part in ("encoder", "decoder"):
        g = torch.stack([torch.cat([v.flatten() for n, v in r.items() if n.startswith(part)]) for r in rows])
        assert measurement.moments[part, ""].variance == pytest.approx(g.var(0).sum().item(), rel=1e-9)


@pytest.mark.usefixtures("unchecked_types")
def test_both_routes_agree_within_their_errors(setting, tools):
    model, x, _ = setting
    noise = tools.normal(200, 2, EXAMPLES, 2, seed=8)
    fitted = fit(next(v for v in GAUSSIAN if v.name == "reinforce-vae-loo"))
    exact = FittedVariant(dataclasses.replace(fitted.variant, estimator=pathwise))
    joint, direct = (
        measure(
            model,
            {"it": fitted, "exact": exact},
            x,
            lambda rows: noise[:, :, rows],
            routes={"it": route, "exact": "joint"},
        )["it"]
        for route in ("joint", "direct")
    )
    assert (joint.route, direct.route) == ("joint", "direct")
    for key, moments in direct.moments.items():
        other = joint.moments[key]
        assert abs(moments.variance - other.variance) < 4 * math.hypot(moments.variance_se, other.variance_se), key
        assert moments.snr == pytest.approx(other.snr, rel=0.2), key
    assert direct.cosine.value == pytest.approx(joint.cosine.value, rel=1e-3)


def antithetic(log_weight, reduction, q, noise, prediction):
    """Evaluates the decoder twice, at mirrored draws."""
    return 0.5 * sum(reduction.value(log_weight(q.rsample(side * noise), q)) for side in (1, -1))


def test_an_estimate_that_evaluates_the_decoder_twice_has_passes_of_its_own(setting):
    model, x, noise = setting
    fitted = FittedVariant(Variant("antithetic", mlp_normal, elbo, Estimator("antithetic", antithetic)))
    assert supports_joint_measurement(model, fitted, x, noise[:3, :1])
    variants = {"it": fitted, "exact": FittedVariant(STOCHASTIC[0])}
    measurements = measure(model, variants, x, lambda rows: noise[:, :1, rows])
    assert {name: measurement.route for name, measurement in measurements.items()} == {"it": "joint", "exact": "joint"}
    assert measurements["it"].moments["encoder", ""].variance > 0
    assert abs(measurements["it"].bias) < 5
