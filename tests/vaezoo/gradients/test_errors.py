"""Errors of the numbers that `measure` reports, against textbook formulas and against repeated measurements.

By plain loops, for both routes:

- `variance_se`, `snr` and `kurtosis` of encoder, decoder and each layer
- `bias`, which is standard normal
- `cosine`

By repetition: `variance_se` of encoder, decoder, layers and posterior parameters, `bias`, `cosine`. The errors of the
parts of a variance are in `test_minibatch_variance`.
"""

import dataclasses

import numpy as np
import pytest
import torch
from scipy import stats

from tests.monte_carlo import error_z
from tests.vaezoo.gradients.plain_loops import STOCHASTIC, fit, loop
from vaezoo import FittedVariant, measure, pathwise
from vaezoo.gradients import ValueWithError, joint_measurement, normalise
from vaezoo.variants import estimate_parts_at

pytestmark = pytest.mark.usefixtures("unchecked_types")

EXAMPLES, REPEATS, COSINES = 4, 13, 4
BY_NAME = {v.name: v for v in STOCHASTIC}


def test_the_error_of_a_mean_is_the_textbooks(tools):
    values = tools.normal(7)
    mean = ValueWithError.from_values(values)
    assert mean.value == pytest.approx(np.mean(values.numpy()))
    assert mean.se == pytest.approx(stats.sem(values.numpy()))


@pytest.mark.parametrize("leading", [None, 6])
def test_moments_are_the_textbooks(leading, tools):
    """The error is from the leading repeats, but it is the error of a mean over all of them."""
    deviation, total = tools.normal(40).square(), tools.normal(5, seed=1)
    moments = normalise(deviation, total, EXAMPLES, leading)
    variance = deviation.sum().item() / 39 / EXAMPLES**2
    sums = deviation.numpy()[:leading] / EXAMPLES**2 * 40 / 39
    assert moments.variance == pytest.approx(variance)
    assert moments.variance_se == pytest.approx(np.std(sums, ddof=1) / 40**0.5)
    assert moments.kurtosis == pytest.approx(stats.kurtosis(sums, fisher=False))
    signal = (total / EXAMPLES).square().sum().item()
    assert moments.snr == pytest.approx((signal - variance / 40) / variance)


def test_the_kurtosis_of_normal_values_is_three(tools):
    values = tools.normal(100_000)
    moments = normalise(values - values.min(), None, 1)
    assert abs(moments.kurtosis - 3) < 5 * (24 / 100_000) ** 0.5


@pytest.fixture(scope="module")
def setting(tools):
    """A small perceptron in float64, binary examples, and noise of two draws."""
    model = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,), latent_dim=2)
    return model, (tools.normal(EXAMPLES, 3, 3, seed=4) > 0).double(), tools.normal(REPEATS, 2, EXAMPLES, 2, seed=2)


def differentiate_in_posterior(model, fitted, x, noise):
    """Gradients in the posterior's parameters [R, B, S], by one backward pass for each repeat."""
    q, rows = model.encoder(x), []
    for repeat in noise:
        leaves = {name: getattr(q, name).detach().requires_grad_() for name in ("mean", "log_scale")}
        live = dataclasses.replace(q, **leaves)
        parts = estimate_parts_at(fitted.variant, fitted.attach_to(model), live, x, repeat, fitted.predict(x))
        rows.append(torch.cat(torch.autograd.grad(sum(parts).sum(), list(leaves.values())), 1))
    return torch.stack(rows)


def select_layer(gradients, key):
    prefix = ".".join(filter(None, key)) + "."
    return torch.cat([g for name, g in gradients.items() if name.startswith(prefix)], 2)


def average_z(difference):
    """Each half of the repeats, projected on the mean of the other half: t-statistics, averaged."""
    halves = difference[: REPEATS - REPEATS // 2], difference[REPEATS - REPEATS // 2 :]
    projections = [(half.flatten(1) @ other.mean(0).flatten()).numpy() for half, other in (halves, halves[::-1])]
    return np.mean([stats.ttest_1samp(values, 0).statistic for values in projections])


@pytest.mark.parametrize("route", ["joint", "direct"])
def test_every_number_and_error_is_that_of_plain_loops(route, setting, monkeypatch):
    """The direct route takes the whole minibatch for one example."""
    monkeypatch.setattr("vaezoo.gradients.joint_measurement.COSINES", COSINES)
    monkeypatch.setattr("vaezoo.gradients.direct_measurement.COSINES", COSINES)
    model, x, noise = setting
    fitted = fit(BY_NAME["reinforce-vae-loo"])
    exact = FittedVariant(dataclasses.replace(fitted.variant, estimator=pathwise))
    routes = {"it": route, "exact": "joint"}
    measured = measure(model, {"it": fitted, "exact": exact}, x, lambda rows: noise[:, :, rows], routes=routes)["it"]
    gradients, exact_gradients = (loop(model, variant, x, noise) for variant in (fitted, exact))
    minibatch_gradients = {part: select_layer(gradients, (part,)).mean(1) for part in ("encoder", "decoder")}
    exact_encoder = select_layer(exact_gradients, ("encoder",)).mean(1)

    keys = [key for key in measured.moments if key[0] in ("encoder", "decoder")]
    assert len(keys) == 2 + 3 + 2
    for key in keys:
        g = select_layer(gradients, key)
        g = g if route == "joint" else g.mean(1, keepdim=True)
        sums = ((g - g.mean(0)).square().sum((1, 2)) / g.shape[1] ** 2 * REPEATS / (REPEATS - 1)).numpy()
        moments = measured.moments[key]
        assert moments.variance == pytest.approx(sums.mean(), rel=1e-6), key
        assert moments.variance_se == pytest.approx(stats.sem(sums), rel=1e-6), key
        assert moments.kurtosis == pytest.approx(stats.kurtosis(sums, fisher=False), rel=1e-5), key
        signal = g.mean((0, 1)).square().sum().item()
        assert moments.snr == pytest.approx((signal - sums.mean() / REPEATS) / sums.mean(), rel=1e-6), key

    difference = minibatch_gradients["encoder"] - exact_encoder
    if route == "joint":
        delta, delta_exact = (differentiate_in_posterior(model, variant, x, noise) for variant in (fitted, exact))
        difference = delta - delta_exact
    assert measured.bias == pytest.approx(average_z(difference), rel=1e-6)

    direction = exact_encoder[COSINES if route == "joint" else REPEATS - REPEATS // 2 :].mean(0)
    cosines = torch.nn.functional.cosine_similarity(minibatch_gradients["encoder"][:COSINES], direction, 1).numpy()
    assert (measured.cosine.value, measured.cosine.se) == pytest.approx((cosines.mean(), stats.sem(cosines)), rel=1e-6)


@pytest.fixture(scope="module")
def repetitions(tools):
    """100 measurements of an unbiased variant, each with 40 new repeats, of which 15 give the decoder's error."""
    model, x = tools.build(shape=(3,), latent_dim=2), tools.normal(EXAMPLES, 3)
    variants = {"it": FittedVariant(BY_NAME["reinforce-vae"]), "exact": FittedVariant(BY_NAME["vae"])}
    routes = dict.fromkeys(variants, "joint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vaezoo.gradients.spread.LEADING_REPEATS", 15)
        patch.setattr(joint_measurement, "COSINES", 20)
        every_noise = [tools.normal(40, 1, EXAMPLES, 2, seed=s) for s in range(100)]
        return [
            measure(model, variants, x, lambda rows, noise=noise: noise[:, :, rows], routes=routes)["it"]
            for noise in every_noise
        ]


@pytest.mark.parametrize(
    "key",
    [("encoder", ""), ("decoder", ""), ("encoder", "heads.log_scale"), ("decoder", "network.0"), ("mean", "")],
    ids=lambda key: "-".join(filter(None, key)),
)
def test_the_error_of_a_variance_is_its_spread(key, repetitions):
    moments = [measurement.moments[key] for measurement in repetitions]
    assert abs(error_z([m.variance for m in moments], [m.variance_se for m in moments])) < 5


def test_the_bias_of_an_unbiased_variant_is_standard_normal(repetitions):
    z = np.array([measurement.bias for measurement in repetitions])
    assert abs(z.mean()) < 5 / len(z) ** 0.5
    assert abs(error_z(z, np.ones(len(z)))) < 5


def test_the_error_of_a_cosine_is_its_spread(tools, repetitions):
    cosines = [measurement.cosine for measurement in repetitions]
    assert abs(error_z([c.value for c in cosines], [c.se for c in cosines])) < 5
