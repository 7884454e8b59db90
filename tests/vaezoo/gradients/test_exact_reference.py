"""Bias, variance and direction against the enumerated gradient, compared with a plain loop over all states."""

import pytest
import torch

from tests.conftest import normal
from tests.vaezoo.gradients.plain_loops import compute_errors, exact_gradient, make
from vaezoo import LEAVE_ONE_OUT, NO_BASELINE, FittedVariant, Variant, build, elbo, iwae, score_function
from vaezoo.estimators import disarm, enumerated, gumbel_softmax, reinmax, straight_through
from vaezoo.gradients import measure
from vaezoo.gradients.moments import squared_mean
from vaezoo.models import DataSpec, initialise, mlp_bernoulli

pytestmark = pytest.mark.usefixtures("unchecked_types")
EXAMPLES, LATENTS, REPEATS = 2, 3, 6000
ESTIMATORS = {  # with the number of draws; the estimate depends on the noise through the states of the draws alone
    "none": (score_function(NO_BASELINE), 1),
    "leave-one-out": (score_function(LEAVE_ONE_OUT), 2),
    "straight-through": (straight_through, 1),
    "reinmax": (reinmax, 1),
}


@pytest.fixture(scope="module")
def model():
    model = build(Variant("exact", mlp_bernoulli, elbo, enumerated), DataSpec((3, 3), "bernoulli", (5,)), LATENTS)
    initialise(model.double(), lambda name: torch.Generator().manual_seed(len(name)))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter *= 4
    return model


@pytest.fixture(scope="module")
def x():
    return (normal(EXAMPLES, 3, 3, seed=1) > 0).double()


def measure_one(model, x, estimator, draws):
    noise = normal(REPEATS, 2, EXAMPLES, LATENTS, seed=2)
    variants = {"it": make(estimator, draws), "exact": make(enumerated, 1)}
    return measure(model, variants, x, lambda rows: noise[:, :, rows])


@pytest.mark.parametrize("name", ESTIMATORS)
def test_bias_and_variance_are_those_of_a_loop_over_the_states(name, model, x):
    estimator, draws = ESTIMATORS[name]
    measured = measure_one(model, x, estimator, draws)
    squared_bias, variance = compute_errors(model, x, estimator, draws)
    result, moments = measured["it"], measured["it"].moments["encoder", ""]
    assert abs(result.squared_bias.value - squared_bias) < 4 * result.squared_bias.se
    assert abs(moments.variance - variance) < 4 * moments.variance_se
    is_biased = name in ("straight-through", "reinmax")
    assert (squared_bias > 1e-6 * exact_gradient(model, x).square().sum()) == is_biased
    assert (result.squared_bias.value > 5 * result.squared_bias.se) == is_biased
    assert (abs(result.bias) > 5) == is_biased
    assert 0 < result.cosine.value < 1
    assert measured["exact"].moments["encoder", ""].variance < 1e-20
    assert measured["exact"].squared_bias is None


def test_an_unbiased_pair_and_a_relaxation(model, x):
    """The antithetic pair has no bias; the bias of relaxed draws falls with the temperature, and the variance rises."""
    pair = measure_one(model, x, disarm, 1)["it"]
    assert abs(pair.squared_bias.value) < 4 * pair.squared_bias.se
    warm, cold = (measure_one(model, x, gumbel_softmax(temperature), 1)["it"] for temperature in (1.0, 0.1))
    assert warm.squared_bias.value > cold.squared_bias.value + 4 * cold.squared_bias.se
    assert warm.moments["encoder", ""].variance < cold.moments["encoder", ""].variance


def test_the_error_of_a_squared_mean_is_its_spread():
    """200 repetitions of 20 vectors with a known mean."""
    mean = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    vectors = mean + normal(200, 20, 3, seed=5)
    results = [squared_mean(rows @ rows.T) for rows in vectors]
    values = torch.tensor([result.value for result in results])
    errors = torch.tensor([result.se for result in results])
    assert abs(values.mean() - mean.square().sum()) < 4 * values.std() / 200**0.5
    assert errors.square().mean().sqrt().item() == pytest.approx(values.std().item(), rel=0.2)


def test_a_bound_of_several_draws_has_no_enumerated_reference(model, x):
    noise = normal(40, 2, EXAMPLES, LATENTS, seed=2)
    vimco = Variant("vimco", mlp_bernoulli, iwae, score_function(LEAVE_ONE_OUT), draws=2)
    variants = {"it": FittedVariant(vimco), "exact": FittedVariant(Variant("exact", mlp_bernoulli, iwae, enumerated))}
    result = measure(model, variants, x, lambda rows: noise[:, :, rows])["it"]
    assert (result.bias, result.cosine, result.squared_bias) == (None, None, None)


def test_variants_with_other_passes_and_other_draws_are_measured_together(model, x):
    """In several parts: those after the first one need no pass for the variant with most draws."""
    noise = normal(1500, 3, EXAMPLES, LATENTS, seed=2)
    variants = {"pair": make(disarm, 3), "it": make(straight_through, 1), "exact": make(enumerated, 1)}
    together = measure(model, variants, x, lambda rows: noise[:, :, rows])
    for name, fitted in variants.items():
        alone = measure(model, {name: fitted}, x, lambda rows: noise[:, :, rows])[name].moments["encoder", ""].variance
        assert together[name].moments["encoder", ""].variance == pytest.approx(alone, rel=1e-9, abs=1e-20)


@pytest.mark.parametrize("repeats", [3, 8, 19])
def test_few_repeats_have_a_squared_bias(repeats, model, x):
    noise = normal(repeats, 1, EXAMPLES, LATENTS, seed=2)
    variants = {"it": make(straight_through, 1), "exact": make(enumerated, 1)}
    result = measure(model, variants, x, lambda rows: noise[:, :, rows])["it"]
    assert torch.tensor(result.squared_bias.value).isfinite()
