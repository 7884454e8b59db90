"""Gradient moments against a plain loop over per-example gradients, and against the minibatch gradient itself."""

import pytest
import torch
from torch.func import functional_call, grad

from vaezoo import (
    LEAVE_ONE_OUT,
    NO_BASELINE,
    Estimator,
    FittedVariant,
    blocked,
    elbo,
    measure,
    pathwise,
    reconstruction,
    score_function,
)
from vaezoo.gradients import grouped_spread, leading_spread
from vaezoo.gradients.decoder_replay import differentiate
from vaezoo.gradients.encoder_jacobian import encoder_jacobians, find_linear_layers, record_calls
from vaezoo.gradients.spread import spread_of_parameters

ESTIMATORS = [(pathwise, 1), (pathwise, 3), (score_function(NO_BASELINE), 1), (score_function(LEAVE_ONE_OUT), 2)]
IDS = ["pathwise-1", "pathwise-3", "score-1", "score-loo-2"]


def digits(tools, likelihood="bernoulli"):
    """A small perceptron in float64, 13 binary examples, and their noise."""
    model = tools.build(shape=(3, 3), likelihood=likelihood, hidden=(5,), latent_dim=2)
    return model, (tools.normal(13, 3, 3, seed=4) > 0).double()


def loop(model, function, x, noise):
    """The definition, example by example and repeat by repeat: {part: (variance, se, snr)}."""
    repeats, _, examples, _ = noise.shape
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def single_estimate(parameters, x, noise):
        return functional_call(model, parameters, (function, x, noise))[0]

    moments = {}
    for part in ("encoder", "decoder"):
        rows = [
            [grad(single_estimate)(parameters, x[b : b + 1], noise[r, :, b : b + 1]) for b in range(examples)]
            for r in range(repeats)
        ]
        g = torch.stack(
            [
                torch.stack([torch.cat([v.flatten() for n, v in e.items() if n.startswith(part)]) for e in r])
                for r in rows
            ]
        )
        squares = (g - g.mean(0)).square().sum(-1)
        variance = squares.sum() / (repeats - 1) / examples**2
        sums = squares.sum(1) * repeats / (repeats - 1) / examples**2
        signal = g.mean((0, 1)).square().sum() - variance / repeats
        moments[part] = (variance.item(), (sums.std() / repeats**0.5).item(), (signal / variance).item())
    return moments


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian-learned"])
@pytest.mark.parametrize(("estimator", "draws"), ESTIMATORS, ids=IDS)
def test_moments_are_those_of_a_plain_loop(estimator, draws, likelihood, tools):
    model, x = digits(tools, likelihood)
    noise = tools.normal(6, draws, 13, 2, seed=2)
    v = tools.variant(elbo, estimator, draws)
    measured, expected = tools.moments(model, v, x, noise), loop(model, tools.estimate_function(v), x, noise)
    for part, moments in measured.items():
        assert (moments.variance, moments.variance_se, moments.snr) == pytest.approx(expected[part], rel=1e-6)


@pytest.mark.parametrize(("estimator", "draws"), ESTIMATORS, ids=IDS)
def test_outer_products_give_the_same_spread_as_single_gradients(estimator, draws, tools):
    model, x = digits(tools)
    noise = tools.normal(6, draws, 13, 2, seed=2)
    v = tools.variant(elbo, estimator, draws)
    general = spread_of_parameters(
        model, tools.estimate_function(v), [name for name, _ in model.named_parameters()], x, noise
    )
    linear = find_linear_layers(model.decoder)
    shared = differentiate(model, {"": FittedVariant(v)}, x, noise, linear)
    delta, weights = shared.posterior_gradients[""], shared.decoder_weights[""]
    deviations, totals = {}, {}
    for name, layer in encoder_jacobians(model.encoder, x).items():
        rows = (delta - delta.mean(0)).transpose(0, 1)
        deviations[f"encoder.{name}"] = ((rows @ layer.gram(slice(None))) * rows).sum(-1).T
        totals[f"encoder.{name}"] = len(x) * layer.gradient(delta.mean(0))
    for name, (inputs, slopes) in shared.layers[""].items():
        spread = leading_spread(inputs, slopes, weights)
        deviations[f"decoder.{name}"], totals[f"decoder.{name}"] = spread.deviation, spread.total
    assert len(deviations) == 5
    for name, deviation in deviations.items():
        weight, bias = general[f"{name}.weight"], general[f"{name}.bias"]
        torch.testing.assert_close(deviation, weight.deviation + bias.deviation, rtol=1e-9, atol=1e-12)
        total = torch.cat([weight.total.view(len(bias.total), -1), bias.total[:, None]], 1)
        torch.testing.assert_close(totals[name].flatten(), total.flatten(), rtol=1e-9, atol=1e-12)


def test_grouped_spreads_are_sums_of_group_variances(tools):
    """With one group, all of it; with three, the squared distances from three means, a degree of freedom each."""
    inputs, slope, weight = (tools.normal(2, 65, 3, *size, seed=len(size)) for size in ((4,), (5,), ()))
    with_bias = torch.cat([inputs, torch.ones(2, 65, 3, 1, dtype=torch.float64)], -1)
    g = torch.einsum("krb,krbo,krbi->rbio", weight, slope, with_bias).flatten(2)
    one_group = grouped_spread(inputs[:, :30], slope[:, :30], weight[:, :30]).deviation.sum(0)
    torch.testing.assert_close(one_group, 29 * g[:30].var(0).sum(-1))
    expected = sum(len(group) * group.var(0).sum(-1) for group in g.tensor_split(3))
    torch.testing.assert_close(grouped_spread(inputs, slope, weight).deviation.sum(0), expected * 64 / 65)


@pytest.mark.parametrize(("estimator", "draws"), ESTIMATORS, ids=IDS)
def test_the_variance_is_the_trace_of_the_minibatch_gradients_covariance(estimator, draws, tools):
    model, x = tools.build(), tools.normal(4, 3)
    v = tools.variant(elbo, estimator, draws)
    moments = tools.moments(model, v, x, tools.normal(4000, draws, 4, 2, seed=2))
    fresh = tools.draw_gradients(model, tools.estimate_function(v), x, tools.normal(4000, draws, 4, 2, seed=3))
    for part, g in fresh.items():
        squares = (g - g.mean(0)).square().sum(1)
        trace, se = squares.mean() * 4000 / 3999, squares.std() / 4000**0.5
        assert abs(moments[part].variance - trace) < 5 * (se**2 + moments[part].variance_se ** 2) ** 0.5, part


@pytest.mark.usefixtures("unchecked_types")
def test_the_standard_error_is_the_spread_of_repeated_measurements(tools):
    model, x = tools.build(), tools.normal(4, 3)
    v = tools.variant(elbo, pathwise)
    measurements = [
        tools.moments(model, v, x, tools.normal(200, 1, 4, 2, seed=s), None, "joint")["encoder"] for s in range(200)
    ]
    spread = torch.tensor([m.variance for m in measurements]).std()
    claimed = torch.tensor([m.variance_se for m in measurements]).mean()
    assert claimed / spread == pytest.approx(1, abs=0.25)  # 5 standard errors of a standard deviation from 200 values


@pytest.mark.usefixtures("unchecked_types")
def test_the_debiased_snr_of_pure_noise_is_zero_on_average(tools):
    model, x = tools.build(), tools.normal(4, 3)

    def pure_noise(log_weight, reduction, q, noise, prediction):
        return (q.mean * noise[0]).sum(-1) + reduction.value(log_weight(q.sample(noise), q.detach()))

    v = tools.variant(reconstruction, Estimator("pure_noise", pure_noise))
    values = [
        tools.moments(model, v, x, tools.normal(20, 1, 4, 2, seed=s), None, "joint")["encoder"].snr for s in range(300)
    ]
    values = torch.tensor(values)
    assert abs(values.mean()) < 5 * values.std() / 300**0.5
    assert (values < 0).any()


def test_a_gradient_without_noise_has_variance_zero_and_no_snr(tools):
    model, x = digits(tools)
    moments = tools.moments(model, tools.variant(elbo, blocked), x, tools.normal(6, 1, 13, 2, seed=2))
    assert moments["encoder"].variance == 0
    assert moments["encoder"].snr is None
    assert moments["decoder"].variance > 0


class AppliedTwice(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(self.layer(x))


def test_a_layer_used_twice_is_refused_and_measured_directly(tools):
    model, x = digits(tools)
    model.encoder.trunk.insert(0, AppliedTwice(torch.nn.Linear(9, 9).double()))
    with pytest.raises(RuntimeError, match="used twice"):
        encoder_jacobians(model.encoder, x)
    v, noise = tools.variant(elbo), tools.normal(6, 1, 13, 2)
    measurement = measure(model, {"": FittedVariant(v)}, x, lambda rows: noise[:, :, rows])[""]
    assert measurement.route == "direct"
    gradients = tools.draw_gradients(model, tools.estimate_function(v), x, noise)
    for part, g in gradients.items():
        assert measurement.moments[part, ""].variance == pytest.approx(g.var(0).sum().item(), rel=1e-9)


@pytest.mark.parametrize("examples", [13, 37])
def test_float32_agrees_with_float64_and_rounding_is_no_noise(examples, tools):
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    x, noise = (tools.normal(examples, 3, 3, seed=4) > 0).double(), tools.normal(50, 1, examples, 2, seed=2)
    v = tools.variant(elbo, pathwise)
    exact = tools.moments(model, v, x, noise)
    model.float()
    measured = tools.moments(model, v, x.float(), noise.float())
    for part in ("encoder", "decoder"):
        assert measured[part].variance == pytest.approx(exact[part].variance, rel=1e-5)
        assert measured[part].snr == pytest.approx(exact[part].snr, rel=1e-4)
    moments = tools.moments(model, tools.variant(elbo, blocked), x.float(), noise.float())["encoder"]
    assert (moments.variance, moments.snr) == (0, None)


def test_a_narrow_posterior_keeps_its_precision(tools):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(50, 1, 4, 2, seed=2)
    with torch.no_grad():
        model.encoder.heads["mean"].bias.fill_(300.0)
        model.encoder.heads["log_scale"].bias.fill_(-12.0)
    v = tools.variant(elbo, score_function(NO_BASELINE))
    exact = tools.moments(model, v, x, noise)["encoder"].variance
    measured = tools.moments(model.float(), v, x.float(), noise.float())["encoder"].variance
    assert measured == pytest.approx(exact, rel=1e-3)


def test_k_draws_without_a_baseline_have_one_kth_of_the_variance(tools):
    model, x = tools.build(), tools.normal(4, 3)
    single, triple = (
        tools.moments(
            model,
            tools.variant(elbo, score_function(NO_BASELINE), draws),
            x,
            tools.normal(20_000, draws, 4, 2, seed=draws),
            spread_of_layer=None,
        )["encoder"]
        for draws in (1, 3)
    )
    se = (triple.variance_se**2 + (single.variance_se / 3) ** 2) ** 0.5
    assert abs(triple.variance - single.variance / 3) < 5 * se


@pytest.mark.parametrize("trained", [True, False])
def test_calls_with_frozen_weights_are_not_recorded(trained):
    """Control variates call the decoder with weights that carry no gradient; such a call has no outer product."""
    layer = torch.nn.Linear(2, 3).requires_grad_(trained)
    with record_calls({"a": layer}) as record:
        layer(torch.ones(4, 2))
    assert len(record["a"]) == trained
