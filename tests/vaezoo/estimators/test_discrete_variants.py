"""`check` passes variants with discrete latents that are not registered, and finds what is wrong in others."""

from dataclasses import replace

import pytest

from vaezoo import LEAVE_ONE_OUT, VARIANTS, Variant, elbo, iwae, score_function
from vaezoo.estimators import enumerated
from vaezoo.models import mlp_bernoulli, mlp_categorical
from vaezoo.testing import check
from vaezoo.testing.claims import check_bias
from vaezoo.testing.estimate_properties import check_control, check_same_value, check_value

OTHERS = [
    Variant("bernoulli-enumerated", mlp_bernoulli, elbo, enumerated),
    Variant("categorical-vimco", mlp_categorical, iwae, score_function(LEAVE_ONE_OUT), draws=2),
]
pytestmark = pytest.mark.usefixtures("unchecked_types")  # an instance check of a posterior computes its properties
BY_NAME = {variant.name: variant for variant in VARIANTS}


@pytest.mark.parametrize("variant", OTHERS, ids=lambda v: v.name)
def test_discrete_variants_pass(variant):
    assert [f"{f.property}: {f.figure}" for f in check(variant) if not f.holds] == []


def test_only_control_variates_are_checked_for_their_learning():
    assert not list(check_control(BY_NAME["bernoulli-loo"]))
    (finding,) = check_control(BY_NAME["bernoulli-rebar"])
    assert finding.holds


def test_relaxed_values_that_are_not_declared_are_found():
    honest = BY_NAME["bernoulli-gumbel"]
    hidden = replace(honest, estimator=replace(honest.estimator, is_relaxed=False))
    assert [list(f(honest)) for f in (check_value, check_same_value)] == [[], []]
    assert [finding.holds for f in (check_value, check_same_value) for finding in f(hidden)] == [False, False]


@pytest.mark.parametrize("name", ["bernoulli-reinmax", "categorical-st-gumbel"])
def test_a_bias_that_is_not_declared_is_found(name):
    assert [finding.holds for finding in check_bias(replace(BY_NAME[name], unbiased=True))] == [False, True]
