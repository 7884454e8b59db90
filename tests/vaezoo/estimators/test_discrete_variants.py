"""`check` passes variants with discrete latents, and finds what is wrong in them."""

from dataclasses import replace

import pytest

from vaezoo import LEAVE_ONE_OUT, Variant, elbo, iwae, score_function
from vaezoo.estimators import disarm, enumerated, gumbel_softmax, rebar, reinmax, st_gumbel_softmax
from vaezoo.models import mlp_bernoulli, mlp_categorical
from vaezoo.testing import check
from vaezoo.testing.properties import count_decoder_passes

VARIANTS = [
    Variant("bernoulli-loo", mlp_bernoulli, elbo, score_function(LEAVE_ONE_OUT), draws=2),
    Variant("bernoulli-disarm", mlp_bernoulli, elbo, disarm),
    Variant("bernoulli-gumbel", mlp_bernoulli, elbo, gumbel_softmax(0.5), unbiased=False),
    Variant("bernoulli-reinmax", mlp_bernoulli, elbo, reinmax, unbiased=False),
    Variant("bernoulli-rebar", mlp_bernoulli, elbo, rebar),
    Variant("bernoulli-enumerated", mlp_bernoulli, elbo, enumerated),
    Variant("categorical-vimco", mlp_categorical, iwae, score_function(LEAVE_ONE_OUT), draws=2),
    Variant("categorical-st-gumbel", mlp_categorical, elbo, st_gumbel_softmax(0.5), unbiased=False),
]
pytestmark = pytest.mark.usefixtures("unchecked_types")  # an instance check of a posterior computes its properties
BY_NAME = {variant.name: variant for variant in VARIANTS}


def failures(variant):
    return {finding.property for finding in check(variant) if not finding.holds}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_discrete_variants_pass(variant):
    findings = list(check(variant))
    assert [f"{f.property}: {f.figure}" for f in findings if not f.holds] == []
    assert ("control variate learns by the squared gradient" in {f.property for f in findings}) == bool(
        variant.estimator.control
    )


def test_relaxed_values_that_are_not_declared_are_found():
    honest = BY_NAME["bernoulli-gumbel"]
    hidden = replace(honest, estimator=replace(honest.estimator, is_relaxed=False))
    assert {"value is the objective", "value does not depend on the estimator"} <= failures(hidden)


def test_a_bias_that_is_not_declared_is_found():
    for name in ("bernoulli-reinmax", "categorical-st-gumbel"):
        assert failures(replace(BY_NAME[name], unbiased=True)) == {"bias of the encoder's gradient"}


def test_evaluations_of_the_decoder_are_counted():
    passes = {name: count_decoder_passes(variant) for name, variant in BY_NAME.items() if "enumerated" not in name}
    assert passes == {
        "bernoulli-loo": 2,
        "bernoulli-disarm": 2,
        "bernoulli-gumbel": 1,
        "bernoulli-reinmax": 1,
        "bernoulli-rebar": 2,
        "categorical-vimco": 2,
        "categorical-st-gumbel": 1,
    }
