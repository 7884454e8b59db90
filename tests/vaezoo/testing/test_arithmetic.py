"""The arithmetic of `check`: what counts as a bias, and on which problems the properties are tested."""

import dataclasses
import math

import pytest
import torch

from vaezoo import VARIANTS
from vaezoo.testing import expectation
from vaezoo.testing.expectation import Bias
from vaezoo.testing.problems import EXAMPLES, linear_problems, other_draws


def test_a_bias_that_is_no_number_is_significant():
    assert Bias(math.nan, 1e-6, monte_carlo=False).significant
    assert Bias(2e-6, 1e-6, monte_carlo=False).significant
    assert not Bias(1e-6, 1e-6, monte_carlo=False).significant


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_a_variant_is_also_tested_with_other_draws_than_its_own(variant):
    for draws in range(variant.estimator.min_draws, 5):
        changed = dataclasses.replace(variant, draws=draws)
        assert draws != other_draws(changed) >= max(2, variant.estimator.min_draws)


def test_a_bias_by_draws_has_the_error_of_a_mean_over_batches(monkeypatch):
    """In the first direction the batches are 3 and 5 in turns instead of 3; in the second they are exact."""
    problem = linear_problems(VARIANTS[1])[0]
    batches = iter([torch.tensor([3.0 + 2 * (i % 2), 1.5], dtype=torch.float64) for i in range(8)])
    monkeypatch.setattr(expectation, "BATCHES", 8)
    monkeypatch.setattr(expectation, "BATCH_SIZE", EXAMPLES)
    monkeypatch.setattr(expectation, "flat_gradient", lambda *_: next(batches))
    expected = torch.tensor([3.0, 1.5], dtype=torch.float64)
    bias = expectation._measure_by_draws(problem, "encoder", torch.eye(2, dtype=torch.float64), expected, 0.1)
    size, se = math.hypot(3, 1.5), math.sqrt(8 / 7) / math.sqrt(8)
    assert bias.relative == pytest.approx(1 / size)
    assert bias.resolution == pytest.approx((5 * se + 3 * 0.1) / size)
    assert bias.monte_carlo
