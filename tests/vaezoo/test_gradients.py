"""Gradient moments against a plain loop over per-example gradients, and against the minibatch gradient itself."""

import pytest
import torch
from torch.func import functional_call, grad

from vaezoo import LEAVE_ONE_OUT, NONE, blocked, elbo, gradient_moments, pathwise, score_function
from vaezoo.deviations import of_linear_layers, of_parameters, within_groups

ESTIMATORS = [(pathwise, 1), (pathwise, 3), (score_function(NONE), 1), (score_function(LEAVE_ONE_OUT), 2)]
IDS = ["pathwise-1", "pathwise-3", "score-1", "score-loo-2"]


def digits(tools, likelihood="bernoulli"):
    """A small perceptron in float64, 13 binary examples, and their noise."""
    model = tools.build(shape=(3, 3), likelihood=likelihood, hidden=(5,), latent_dim=2)
    return model, (tools.normal(13, 3, 3, seed=4) > 0).double()


def loop(model, function, x, noise):
    """The definition, example by example and repeat by repeat: {part: (variance, se, snr)}."""
    repeats, _, examples, _ = noise.shape
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def one(parameters, x, noise):
        return functional_call(model, parameters, (function, x, noise))[0]

    found = {}
    for part in ("encoder", "decoder"):
        own = [
            [grad(one)(parameters, x[b : b + 1], noise[r, :, b : b + 1]) for b in range(examples)]
            for r in range(repeats)
        ]
        g = torch.stack(
            [
                torch.stack([torch.cat([v.flatten() for n, v in e.items() if n.startswith(part)]) for e in r])
                for r in own
            ]
        )
        squares = (g - g.mean(0)).square().sum(-1)
        variance = squares.sum() / (repeats - 1) / examples**2
        sums = squares.sum(1) * repeats / (repeats - 1) / examples**2
        signal = g.mean((0, 1)).square().sum() - variance / repeats
        found[part] = (variance.item(), (sums.std() / repeats**0.5).item(), (signal / variance).item())
    return found


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian-learned"])
@pytest.mark.parametrize(("estimator", "draws"), ESTIMATORS, ids=IDS)
def test_moments_are_those_of_a_plain_loop(estimator, draws, likelihood, tools):
    model, x = digits(tools, likelihood)
    noise = tools.normal(6, draws, 13, 2, seed=2)
    function = tools.of_variant(tools.variant(elbo, estimator, draws))
    found, expected = gradient_moments(model, function, x, noise), loop(model, function, x, noise)
    for part, moments in found.items():
        assert (moments.variance, moments.variance_se, moments.snr) == pytest.approx(expected[part], rel=1e-6)


@pytest.mark.parametrize(("estimator", "draws"), ESTIMATORS, ids=IDS)
def test_both_routes_give_the_same_spread(estimator, draws, tools):
    model, x = digits(tools)
    noise = tools.normal(6, draws, 13, 2, seed=2)
    function = tools.of_variant(tools.variant(elbo, estimator, draws))
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    products = of_linear_layers(model, function, layers, x, noise)
    general = of_parameters(model, function, [name for name, _ in model.named_parameters()], x, noise)
    for name, spread in products.items():
        expected = general[f"{name}.weight"].deviation + general[f"{name}.bias"].deviation
        torch.testing.assert_close(spread.deviation, expected, rtol=1e-9, atol=1e-12)
        total = torch.cat([general[f"{name}.weight"].total.view(layers[name].weight.shape),
                           general[f"{name}.bias"].total[:, None]], 1)  # fmt: skip
        torch.testing.assert_close(spread.total, total.flatten(), rtol=1e-9, atol=1e-12)


def test_groups_add_up_to_their_own_variances(tools):
    """With one group, all of it; with three, the squared distances from three means, a degree of freedom each."""
    inputs, slope, weight = (tools.normal(2, 65, 3, *size, seed=len(size)) for size in ((4,), (5,), ()))
    ones = torch.cat([inputs, torch.ones(2, 65, 3, 1, dtype=torch.float64)], -1)
    g = torch.einsum("krb,krbo,krbi->rbio", weight, slope, ones).flatten(2)
    one = within_groups(inputs[:, :30], slope[:, :30], weight[:, :30]).deviation.sum(0)
    torch.testing.assert_close(one, 29 * g[:30].var(0).sum(-1))
    expected = sum(len(own) * own.var(0).sum(-1) for own in g.tensor_split(3))
    torch.testing.assert_close(within_groups(inputs, slope, weight).deviation.sum(0), expected * 64 / 65)


@pytest.mark.parametrize(("estimator", "draws"), ESTIMATORS, ids=IDS)
def test_the_variance_is_the_trace_of_the_minibatch_gradients_covariance(estimator, draws, tools):
    model, x = tools.build(), tools.normal(4, 3)
    function = tools.of_variant(tools.variant(elbo, estimator, draws))
    moments = gradient_moments(model, function, x, tools.normal(4000, draws, 4, 2, seed=2))
    fresh = tools.gradient_draws(model, function, x, tools.normal(4000, draws, 4, 2, seed=3))
    for part, g in fresh.items():
        squares = (g - g.mean(0)).square().sum(1)
        trace, se = squares.mean() * 4000 / 3999, squares.std() / 4000**0.5
        assert abs(moments[part].variance - trace) < 5 * (se**2 + moments[part].variance_se ** 2) ** 0.5, part


def test_the_standard_error_is_the_spread_of_repeated_measurements(tools):
    model, x = tools.build(), tools.normal(4, 3)
    function = tools.of_variant(tools.variant(elbo, pathwise))
    found = [gradient_moments(model, function, x, tools.normal(200, 1, 4, 2, seed=s))["encoder"] for s in range(200)]
    spread = torch.tensor([m.variance for m in found]).std()
    claimed = torch.tensor([m.variance_se for m in found]).mean()
    assert claimed / spread == pytest.approx(1, abs=0.25)  # 5 standard errors of a standard deviation from 200 values


def test_the_debiased_snr_of_pure_noise_is_zero_on_average(tools):
    model, x = tools.build(), tools.normal(4, 3)

    def pure_noise(model, x, noise):
        return (model.encoder(x).mean * noise[0]).sum(-1) + model.decoder.log_prob(x, noise)[0]

    found = [
        gradient_moments(model, pure_noise, x, tools.normal(20, 1, 4, 2, seed=s))["encoder"].snr for s in range(300)
    ]
    found = torch.tensor(found)
    assert abs(found.mean()) < 5 * found.std() / 300**0.5
    assert (found < 0).any()


def test_a_gradient_without_noise_has_variance_zero_and_no_snr(tools):
    model, x = digits(tools)
    function = tools.of_variant(tools.variant(elbo, blocked))
    moments = gradient_moments(model, function, x, tools.normal(6, 1, 13, 2, seed=2))
    assert moments["encoder"].variance == 0
    assert moments["encoder"].snr is None
    assert moments["decoder"].variance > 0


def test_a_layer_used_twice_is_refused(tools):
    model, x = digits(tools)

    def twice(model, x, noise):
        return model.encoder(x).mean.sum(-1) + model.encoder(x).mean.square().sum(-1)

    with pytest.raises(RuntimeError, match="used twice"):
        gradient_moments(model, twice, x, tools.normal(3, 1, 13, 2))


@pytest.mark.parametrize("examples", [13, 37])
def test_float32_agrees_with_float64_and_rounding_is_no_noise(examples, tools):
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    x, noise = (tools.normal(examples, 3, 3, seed=4) > 0).double(), tools.normal(50, 1, examples, 2, seed=2)
    function, still = tools.of_variant(tools.variant(elbo, pathwise)), tools.of_variant(tools.variant(elbo, blocked))
    exact = gradient_moments(model, function, x, noise)
    model.float()
    found = gradient_moments(model, function, x.float(), noise.float())
    for part in ("encoder", "decoder"):
        assert found[part].variance == pytest.approx(exact[part].variance, rel=1e-5)
        assert found[part].snr == pytest.approx(exact[part].snr, rel=1e-4)
    moments = gradient_moments(model, still, x.float(), noise.float())["encoder"]
    assert (moments.variance, moments.snr) == (0, None)


def test_a_narrow_posterior_keeps_its_precision(tools):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(50, 1, 4, 2, seed=2)
    with torch.no_grad():
        model.encoder.heads["mean"].bias.fill_(300.0)
        model.encoder.heads["log_scale"].bias.fill_(-12.0)
    function = tools.of_variant(tools.variant(elbo, score_function(NONE)))
    exact = gradient_moments(model, function, x, noise)["encoder"].variance
    found = gradient_moments(model.float(), function, x.float(), noise.float())["encoder"].variance
    assert found == pytest.approx(exact, rel=1e-3)


def test_k_draws_without_a_baseline_have_one_kth_of_the_variance(tools):
    model, x = tools.build(), tools.normal(4, 3)
    one, three = (
        gradient_moments(
            model,
            tools.of_variant(tools.variant(elbo, score_function(NONE), draws)),
            x,
            tools.normal(20_000, draws, 4, 2, seed=draws),
        )["encoder"]
        for draws in (1, 3)
    )
    se = (three.variance_se**2 + (one.variance_se / 3) ** 2) ** 0.5
    assert abs(three.variance - one.variance / 3) < 5 * se
