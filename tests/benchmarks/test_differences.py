"""Tests of a difference: each against the library that everybody trusts, and against its own promises."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.regressions.differences import (
    difference,
    heavy_tailed,
    holm,
    more_often,
    seeds_needed,
    smallest_effect,
)


def normal(n, seed, mean=0.0, spread=1.0, first=0):
    values = np.random.default_rng(seed).normal(mean, spread, n)
    return dict(enumerate(values.tolist(), start=first))


def test_other_seeds_are_compared_by_the_pooled_t():
    base, new = normal(20, 1), normal(7, 2, mean=-0.5, first=100)
    found = difference(base, new)
    ours, theirs = list(new.values()), list(base.values())
    assert found.test == "pooled t"
    assert found.p_less == pytest.approx(stats.ttest_ind(ours, theirs, alternative="less").pvalue, rel=1e-9)
    assert found.p_more == pytest.approx(1 - found.p_less)
    low, high = stats.ttest_ind(ours, theirs).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)


def test_equal_seeds_are_paired_where_that_tells_more():
    base = normal(8, 1, spread=3.0)
    shift = normal(8, 2, mean=0.2, spread=0.1)
    new = {seed: base[seed] + shift[seed] for seed in base}
    found = difference(base, new)
    assert found.test == "paired t"
    expected = stats.ttest_rel(list(new.values()), list(base.values()), alternative="greater").pvalue
    assert found.p_more == pytest.approx(2 * expected, rel=1e-9)  # the other test could have been taken
    assert difference(base, normal(8, 5, spread=3.0)).test == "pooled t"
    assert difference({k: base[k] for k in range(4)}, {k: new[k] for k in range(4)}).test == "pooled t"


def test_heavy_tails_are_judged_by_ranks():
    base, new = normal(20, 1), normal(10, 2, first=50)
    base[3] = -1e9
    found = difference(base, new)
    assert found.test == "ranks"
    expected = stats.mannwhitneyu(list(new.values()), list(base.values()), alternative="less").pvalue
    assert found.p_less == pytest.approx(expected, rel=0.05)
    assert abs(found.value) < 1
    assert found.low < found.value < found.high
    worse = difference(base, {seed: value - 4 for seed, value in new.items()})
    assert worse.p_less < 1e-5


def test_normal_values_have_no_heavy_tails():
    draws = np.random.default_rng(0).normal(size=(2000, 30))
    assert not any(heavy_tailed(row[:20], row[20:]) for row in draws)


def test_no_spread_and_one_seed():
    same = difference(dict.fromkeys(range(3), 2.0), dict.fromkeys(range(5, 8), 1.0))
    assert (same.test, same.value, same.p_less, same.p_more) == ("no spread", -1.0, 0.0, 1.0)
    alone = difference({0: 1.0}, {0: 0.0})
    assert (alone.p_less, alone.p_more, alone.low) == (1.0, 1.0, -math.inf)


@pytest.mark.parametrize("counts", [(0, 20, 3, 10), (2, 20, 2, 10), (0, 5, 5, 5), (1, 1, 0, 1), (0, 20, 0, 10)])
def test_lost_seeds_by_fisher(counts):
    lost_base, base, lost_new, new = counts
    table = [[lost_new, new - lost_new], [lost_base, base - lost_base]]
    assert more_often(*counts) == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-9)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_smallest_effect_is_seen_as_often_as_is_said():
    """A loss of that size, many times over: 95 % of them exceed tolerance and test. Without any: few do."""
    tolerance, level, source = 0.5, 0.001, np.random.default_rng(0)
    example = difference(normal(20, 1), normal(10, 2, first=50))
    scale = 1 / example.spread  # as if the spread were known to be 1
    smallest = smallest_effect(example, tolerance, level) * scale
    seen = {smallest: 0, 0.0: 0}
    for loss in seen:
        for _ in range(2000):
            values = source.normal(size=30)
            found = difference(dict(enumerate(values[:20])), dict(enumerate(values[20:] - loss, start=50)))
            seen[loss] += found.value < -tolerance and found.p_less < level
    assert seen[smallest] / 2000 == pytest.approx(0.95, abs=0.02)
    assert seen[0.0] / 2000 < 0.005


def test_as_many_seeds_as_are_said_make_the_interval_fit():
    example = dataclasses.replace(difference(normal(20, 1), normal(20, 2, first=50)), spread=1.0)
    needed = seeds_needed(example, 0.3, 0.001)
    assert needed > 40
    enough = difference(normal(needed, 3), normal(needed, 4, first=1000))
    assert (enough.high - enough.low) / 2 < 0.3 * enough.spread
    assert seeds_needed(example, 0.0, 0.001) is None
