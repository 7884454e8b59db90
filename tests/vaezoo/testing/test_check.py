"""`check`: it passes what is right, and finds the broken property of what is wrong."""

import math

import pytest

from tests.vaezoo.testing import wrong_draws, wrong_estimators, wrong_models  # noqa: F401  (they fill the corpus)
from tests.vaezoo.testing.corpus import WRONG
from tests.vaezoo.testing.right_variants import VARIANTS as RIGHT
from vaezoo import VARIANTS, mlp_bernoulli, mlp_categorical
from vaezoo.testing import check
from vaezoo.testing.findings import find_worst
from vaezoo.testing.properties import PROPERTIES

pytestmark = pytest.mark.usefixtures("unchecked_types")  # as users run it: a wrong shape is a finding, not an error


def holds(variant, property_):
    """Whether the property holds; None if it is not tested."""
    name = next(name for name in PROPERTIES if property_.startswith(name))
    return {finding.property: finding.holds for finding in PROPERTIES[name](variant)}.get(property_)


DISCRETE = {v.name for v in VARIANTS if v.architecture in (mlp_bernoulli, mlp_categorical)}
SLOW = DISCRETE - {"bernoulli-disarm", "bernoulli-relax", "bernoulli-gumbel", "categorical-loo"}  # 1 to 15 s each
CHECKED = [pytest.param(v, id=v.name, marks=[pytest.mark.slow] * (v.name in SLOW)) for v in [*VARIANTS, *RIGHT]]


@pytest.mark.parametrize("variant", CHECKED)
def test_right_variants_pass(variant):
    findings = list(check(variant))
    assert [f"{f.property}: {f.figure}" for f in findings if not f.holds] == []
    bias = [f.figure for f in findings if f.property.startswith("bias")]
    assert all("a bias of" in figure and "would show" in figure for figure in bias)


@pytest.mark.parametrize(("variant", "property_"), WRONG, ids=[variant.name for variant, _ in WRONG])
def test_wrong_variants_fail(variant, property_):
    if variant.name == "an-error":  # raised within the test of the property
        with pytest.raises(KeyError):
            holds(variant, property_)
    else:
        assert holds(variant, property_) is False


def test_nan_is_the_worst_error():
    assert find_worst({"a": 1.0, "b": math.nan, "c": 2.0}) == ("b", math.inf)
    assert find_worst({"a": 1.0, "c": 2.0}) == ("c", 2.0)


def test_the_corpora_are_large():
    assert len(WRONG) >= 40
    assert len(RIGHT) >= 15
    assert len({variant.name for variant, _ in WRONG}) == len(WRONG)
