"""The arithmetic of `check`: what counts as a bias, and on which problems the properties are tested."""

import dataclasses
import math

import pytest

from vaezoo import VARIANTS
from vaezoo.testing.expectation import Bias
from vaezoo.testing.problems import other_draws


def test_a_bias_that_is_no_number_is_significant():
    assert Bias(math.nan, 1e-6, monte_carlo=False).significant
    assert Bias(2e-6, 1e-6, monte_carlo=False).significant
    assert not Bias(1e-6, 1e-6, monte_carlo=False).significant


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_a_variant_is_also_tested_with_other_draws_than_its_own(variant):
    for draws in range(variant.estimator.min_draws, 5):
        changed = dataclasses.replace(variant, draws=draws)
        assert draws != other_draws(changed) >= max(2, variant.estimator.min_draws)
