"""Many estimators measured together, against plain loops on the same noise, and each part against fresh estimates."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from vaezoo import VARIANTS, Estimator, Variant, elbo, estimate, mlp_normal, pathwise
from vaezoo.measurement import measure
from vaezoo.minibatches import between_examples, fresh_variance
from vaezoo.plainly import gradient, measure_plainly, taken_apart
from vaezoo.replay import Subject

STOCHASTIC = [v for v in VARIANTS if v.name != "autoencoder"]
EXAMPLES, REPEATS = 7, 24


@pytest.fixture(scope="module")
def setting(tools):
    """A small perceptron in float64, binary examples, noise of five draws, and every variant by name."""
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(6, 5), latent_dim=2)
    x = (tools.normal(EXAMPLES, 3, 3, seed=4) > 0).double()
    return model, x, tools.normal(REPEATS, 5, EXAMPLES, 2, seed=2)


def subject(variant, seed=3):
    torch.manual_seed(seed)
    network = variant.estimator.baseline.network(9).double()
    return Subject(variant, network, torch.tensor(-4.0 if variant.estimator.baseline.rate else 0.0).double())


def loop(model, s, x, noise):
    """Per-example gradients of each parameter [R, B, P], by the definition."""
    own = s.on(model)
    parameters = {name: p.detach() for name, p in own.named_parameters()}

    def one(parameters, x, noise):
        function = lambda m, x, n: estimate(s.variant, m, x, n, s.average)  # noqa: E731
        return functional_call(own, parameters, (function, x[None], noise[:, None]))[0]

    found = vmap(vmap(grad(one), (None, 0, 1)), (None, None, 0))(parameters, x, noise)
    return {name: g.flatten(2) for name, g in found.items() if not name.startswith("baseline")}


def of_layer(gradients, key):
    part, layer = key
    prefix = f"{part}.{layer}." if layer else f"{part}."
    return torch.cat([g for name, g in gradients.items() if name.startswith(prefix)], 2)


@pytest.mark.parametrize("variant", STOCHASTIC, ids=lambda v: v.name)
def test_every_layer_of_every_estimator_is_that_of_a_plain_loop(variant, setting):
    model, x, noise = setting
    noise = noise[:, : variant.draws]
    s = subject(variant)
    found = measure(model, {"it": s, "exact": Subject(dataclasses.replace(variant, estimator=pathwise))}, x,
                    lambda rows: noise[:, :, rows])["it"]  # fmt: skip
    gradients = loop(model, s, x, noise)
    keys = [key for key in found.moments if key[0] in ("encoder", "decoder")]
    assert len(keys) == 2 + 4 + 3
    for key in keys:
        g = of_layer(gradients, key)
        squares = (g - g.mean(0)).square().sum(-1)
        variance = squares.sum() / (REPEATS - 1) / EXAMPLES**2
        expected = 0.0 if variance < 1e-20 else variance.item()
        assert found.moments[key].variance == pytest.approx(expected, rel=1e-6), key
        sums = squares.sum(1) * REPEATS / (REPEATS - 1) / EXAMPLES**2
        assert found.moments[key].variance_se == pytest.approx((sums.std() / REPEATS**0.5).item(), rel=1e-6, abs=1e-20)
        if expected:
            signal = (g.mean((0, 1)).square().sum() - variance / REPEATS) / variance
            assert found.moments[key].snr == pytest.approx(signal.item(), rel=1e-6)


def test_the_posteriors_own_parameters(setting):
    model, x, noise = setting
    s = Subject(STOCHASTIC[0])
    q = model.encoder(x)
    rows = []
    for repeat in noise[:, :1]:
        leaves = {name: getattr(q, name).detach().requires_grad_() for name in ("mean", "log_scale")}
        own = dataclasses.replace(q, **leaves)
        value = model.decoder.log_prob(x, own.rsample(repeat)).sum() - model.prior.kl(own).sum()
        rows.append(torch.stack(torch.autograd.grad(value, list(leaves.values()))))
    g = torch.stack(rows)
    found = measure(model, {"it": s}, x, lambda r: noise[:, :1, r], decoder=None)["it"].moments
    for i, name in enumerate(("mean", "log_scale")):
        assert found[name, ""].variance == pytest.approx(g[:, i].var(0).sum().item() / EXAMPLES**2, rel=1e-9)


@pytest.mark.parametrize("apart", [1, 8, 24])
def test_deviations_that_are_not_told_apart_keep_their_sum(apart, tools):
    from vaezoo.deviations import of_products

    inputs, delta = tools.normal(2, 24, 3, 4, seed=1), tools.normal(2, 24, 3, 5, seed=2)
    whole, few = of_products(inputs, delta), of_products(inputs, delta, apart)
    torch.testing.assert_close(few.deviation.sum(0), whole.deviation.sum(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(few.deviation[:apart], whole.deviation[:apart], rtol=1e-12, atol=1e-12)


def test_more_draws_share_the_pass_of_the_decoder(setting):
    model, x, noise = setting
    passes = []
    network = model.decoder.network.register_forward_hook(lambda _, inputs, __: passes.append(inputs[0].shape))
    several = {v.name: subject(dataclasses.replace(v, draws=5)) for v in STOCHASTIC}
    measure(model, several, x, lambda rows: noise[:, :, rows])
    network.remove()
    assert sum(math.prod(shape[:-1]) for shape in passes) == REPEATS * 5 * EXAMPLES


def test_errors_come_from_the_repeats_that_are_told_apart_whatever_else_the_decoder_has(tools, monkeypatch):
    """Its learned scale is no linear layer, and its own deviations are all right one by one."""
    monkeypatch.setattr("vaezoo.measurement.APART", 10)
    model = tools.build(shape=(3,), likelihood="gaussian-learned", hidden=(4,), latent_dim=2)
    noise = tools.normal(REPEATS, 1, EXAMPLES, 2, seed=2)
    it = {"it": subject(VARIANTS[1])}
    found = measure(model, it, tools.normal(EXAMPLES, 3, seed=4), lambda rows: noise[:, :, rows])["it"].moments
    assert len(found["decoder", ""].sums) == 10
    assert len(found["encoder", ""].sums) == REPEATS


def test_score_functions_alone_need_no_backward_pass_through_the_decoder(setting, monkeypatch):
    model, x, noise = setting
    by_name = {v.name: v for v in STOCHASTIC}

    def never(self):
        raise AssertionError("a slope was asked for")

    from vaezoo.replay import DecoderPass

    monkeypatch.setattr(DecoderPass, "slope", property(never))
    draws = {name: subject(by_name[name]) for name in ("reinforce-vae", "reinforce-vae-ema")}
    assert measure(model, draws, x, lambda rows: noise[:, :1, rows], decoder=None)
    with pytest.raises(AssertionError, match="slope"):
        measure(model, {"vae": subject(by_name["vae"])}, x, lambda rows: noise[:, :1, rows], decoder=None)


def test_bias_is_found_where_it_is_and_nowhere_else(setting, tools):
    model, x, _ = setting
    noise = tools.normal(4000, 5, EXAMPLES, 2, seed=5)
    several = {v.name: subject(dataclasses.replace(v, draws=5)) for v in STOCHASTIC}
    several["pathwise ciwae"] = Subject(dataclasses.replace(several["ciwae-dreg"].variant, estimator=pathwise))
    for name, found in measure(model, several, x, lambda rows: noise[:, :, rows], decoder=None).items():
        if several[name].variant.estimator == pathwise:
            assert found.bias is None
        else:
            assert (abs(found.bias) < 5) == several[name].variant.unbiased, (name, found.bias)


def test_the_cosine_is_that_of_whole_gradients(setting):
    model, x, noise = setting
    exact, s = Subject(STOCHASTIC[0]), subject(next(v for v in STOCHASTIC if v.name == "reinforce-vae"))
    found = measure(model, {"it": s, "exact": exact}, x, lambda rows: noise[:, :1, rows])["it"].cosine
    ours, theirs = (
        torch.cat([g for n, g in loop(model, who, x, noise[:, :1]).items() if n.startswith("encoder")], 2).mean(1)
        for who in (s, exact)
    )
    half = REPEATS // 2
    direction = theirs[half:].mean(0)
    cosines = (ours[:half] @ direction) / ours[:half].norm(dim=1) / direction.norm()
    assert found.value == pytest.approx(cosines.mean().item(), rel=1e-9)


@pytest.mark.parametrize("name", ["vae", "reinforce-vae-loo", "iwae-dreg"])
def test_latent_noise_and_minibatch_add_up_to_the_variance_of_a_fresh_estimate(name, tools):
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    images, source = torch.rand(500, 3, 3, generator=tools.generator(1), dtype=torch.float64), tools.generator(2)
    s = subject(next(v for v in STOCHASTIC if v.name == name))
    draws, size = s.variant.draws, 10

    def fresh(count=size):
        rows = torch.randint(len(images), (count,), generator=source)
        x = (torch.rand(count, 3, 3, generator=source, dtype=torch.float64) < images[rows]).double()
        return x, torch.randn(draws, count, 2, generator=source, dtype=torch.float64)

    x, _ = fresh(2000)
    noise = torch.randn(30, draws, 2000, 2, generator=source, dtype=torch.float64)
    latent = measure(model, {"it": s}, x, lambda rows: noise[:, :, rows], decoder=None)["it"].moments["encoder", ""]
    exact = Subject(dataclasses.replace(s.variant, estimator=pathwise))
    between = between_examples(model, exact, x, torch.randn(2, draws, 2000, 2, generator=source, dtype=torch.float64))
    parts = (latent.variance * 2000 + between["encoder"].value) / size
    whole = fresh_variance(model, {"it": s}, fresh, 400)["it"]
    by_example = latent.variance_se * 2000 / size * 2  # examples differ too: twice the error over the noise
    assert abs(whole.value - parts) < 5 * math.hypot(whole.se, between["encoder"].se / size, by_example)


def test_the_minibatchs_part_is_the_variance_between_exact_gradients(tools):
    """Without noise in the estimate nothing has to be subtracted: many draws come to the same."""
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    x = (tools.normal(40, 3, 3, seed=4) > 0).double()
    s = Subject(STOCHASTIC[0])
    few = between_examples(model, s, x, tools.normal(2, 1, 40, 2, seed=6))
    g = loop(model, s, x, tools.normal(2000, 1, 40, 2, seed=7))
    for part, figure in few.items():
        mean = torch.cat([own for name, own in g.items() if name.startswith(part)], 2).mean(0)
        exact = (mean - mean.mean(0)).square().sum() / 39
        assert abs(figure.value - exact) < 5 * figure.se


class Centred(nn.Module):
    """Lets examples see each other."""

    def forward(self, x):
        return x - x.mean(0)


def test_examples_that_couple_are_measured_as_whole_minibatches(setting):
    model, x, noise = setting
    s = Subject(STOCHASTIC[0])
    assert taken_apart(model, s, x, noise[:3, :1])
    plain = copy.deepcopy(model)
    plain.encoder.trunk.insert(0, Centred())
    assert not taken_apart(plain, s, x, noise[:3, :1])
    found = measure_plainly(plain, s, s, x, lambda rows: noise[:, :1, rows])
    rows = [gradient(plain, s, x, repeat) for repeat in noise[:, :1]]
    for part in ("encoder", "decoder"):
        g = torch.stack([torch.cat([v.flatten() for n, v in r.items() if n.startswith(part)]) for r in rows])
        assert found.moments[part, ""].variance == pytest.approx(g.var(0).sum().item(), rel=1e-9)


def test_both_routes_agree_within_their_errors(setting, tools):
    model, x, _ = setting
    noise = tools.normal(500, 2, EXAMPLES, 2, seed=8)
    s = subject(next(v for v in STOCHASTIC if v.name == "reinforce-vae-loo"))
    exact = Subject(dataclasses.replace(s.variant, estimator=pathwise))
    found = measure(model, {"it": s, "exact": exact}, x, lambda rows: noise[:, :, rows])["it"]
    plain = measure_plainly(model, s, exact, x, lambda rows: noise[:, :, rows])
    for key, moments in plain.moments.items():
        other = found.moments[key]
        assert abs(moments.variance - other.variance) < 4 * math.hypot(moments.variance_se, other.variance_se), key
        assert moments.snr == pytest.approx(other.snr, rel=0.2), key
    assert plain.cosine.value == pytest.approx(found.cosine.value, rel=1e-3)


def antithetic(log_weight, reduction, q, noise, prediction):
    """Asks the decoder twice, at mirrored draws."""
    return 0.5 * sum(reduction.value(log_weight(q.rsample(side * noise), q)) for side in (1, -1))


def test_an_estimate_that_asks_the_decoder_twice_is_measured_plainly(setting):
    model, x, noise = setting
    s = Subject(Variant("antithetic", mlp_normal, elbo, Estimator("antithetic", antithetic)))
    assert not taken_apart(model, s, x, noise[:3, :1])
    found = measure_plainly(model, s, Subject(STOCHASTIC[0]), x, lambda rows: noise[:, :1, rows])
    assert found.moments["encoder", ""].variance > 0
    assert abs(found.bias) < 5
