"""`check`: it passes what is right, and finds the broken property of what is wrong."""

import pytest

from tests.vaezoo.testing.right_variants import VARIANTS as RIGHT
from tests.vaezoo.testing.wrong_variants import WRONG
from vaezoo import VARIANTS
from vaezoo.testing import check
from vaezoo.testing.properties import PROPERTIES


def holds(variant, property_):
    """Whether the property holds, by the same rule for errors as in `check`."""
    name = "bias" if property_.startswith("bias") else property_
    try:
        return {finding.property: finding.holds for finding in PROPERTIES[name](variant)}.get(property_)
    except Exception:
        return False


@pytest.mark.parametrize("variant", [*VARIANTS, *RIGHT], ids=lambda v: v.name)
def test_right_variants_pass(variant):
    findings = list(check(variant))
    assert [f"{f.property}: {f.figure}" for f in findings if not f.holds] == []
    bias = [f.figure for f in findings if f.property.startswith("bias")]
    assert all("a bias of" in figure and "would show" in figure for figure in bias)


@pytest.mark.parametrize(("variant", "property_"), WRONG, ids=[variant.name for variant, _ in WRONG])
def test_wrong_variants_fail(variant, property_):
    assert holds(variant, property_) is False


def test_the_corpora_are_large():
    assert len(WRONG) >= 40
    assert len(RIGHT) >= 15
    assert len({variant.name for variant, _ in WRONG}) == len(WRONG)
