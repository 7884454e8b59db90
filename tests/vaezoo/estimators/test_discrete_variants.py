"""`check` passes variants with discrete latents that are not registered, and finds what is wrong in others."""

from dataclasses import replace

import pytest

from vaezoo import LEAVE_ONE_OUT, VARIANTS, Variant, elbo, iwae, score_function
from vaezoo.estimators import enumerated
from vaezoo.models import mlp_bernoulli, mlp_categorical
from vaezoo.testing import check

OTHERS = [
    Variant("bernoulli-enumerated", mlp_bernoulli, elbo, enumerated),
    Variant("categorical-vimco", mlp_categorical, iwae, score_function(LEAVE_ONE_OUT), draws=2),
]
pytestmark = pytest.mark.usefixtures("unchecked_types")  # an instance check of a posterior computes its properties
BY_NAME = {variant.name: variant for variant in VARIANTS}


def failures(variant):
    return {finding.property for finding in check(variant) if not finding.holds}


@pytest.mark.parametrize("variant", OTHERS, ids=lambda v: v.name)
def test_discrete_variants_pass(variant):
    assert [f"{f.property}: {f.figure}" for f in check(variant) if not f.holds] == []


@pytest.mark.parametrize("name", ["bernoulli-rebar", "bernoulli-loo"])
def test_only_control_variates_are_checked_for_their_learning(name):
    tested = "control variate learns by the squared gradient" in {finding.property for finding in check(BY_NAME[name])}
    assert tested == bool(BY_NAME[name].estimator.control)


def test_relaxed_values_that_are_not_declared_are_found():
    honest = BY_NAME["bernoulli-gumbel"]
    hidden = replace(honest, estimator=replace(honest.estimator, is_relaxed=False))
    assert {"value is the objective", "value does not depend on the estimator"} <= failures(hidden)


def test_a_bias_that_is_not_declared_is_found():
    for name in ("bernoulli-reinmax", "categorical-st-gumbel"):
        assert failures(replace(BY_NAME[name], unbiased=True)) == {"bias of the encoder's gradient"}
