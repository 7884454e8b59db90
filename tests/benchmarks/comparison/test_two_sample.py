"""Two-sample tests, checked against scipy and by simulation."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.comparison.two_sample import (
    _test_ranks,
    adjust_by_holm,
    compare_samples,
    compute_fisher_p,
    compute_seeds_needed,
    compute_smallest_effect,
    count_far_off,
    has_heavy_tails,
)


def normal(n, seed, mean=0.0, spread=1.0, first=0):
    values = np.random.default_rng(seed).normal(mean, spread, n)
    return dict(enumerate(values.tolist(), start=first))


def test_different_seeds_use_the_pooled_t_test():
    base, new = normal(20, 1), normal(7, 2, mean=-0.5, first=100)
    difference = compare_samples(base, new)
    new_values, base_values = list(new.values()), list(base.values())
    assert difference.test == "pooled t"
    assert difference.p_less == pytest.approx(
        stats.ttest_ind(new_values, base_values, alternative="less").pvalue, rel=1e-9
    )
    assert difference.p_more == pytest.approx(1 - difference.p_less)
    low, high = stats.ttest_ind(new_values, base_values).confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx((low, high), rel=1e-9)


def test_equal_seeds_are_paired_if_that_has_the_smaller_error():
    base = normal(8, 1, spread=3.0)
    shift = normal(8, 2, mean=0.2, spread=0.1)
    new = {seed: base[seed] + shift[seed] for seed in base}
    difference = compare_samples(base, new)
    assert difference.test == "paired t"
    expected = stats.ttest_rel(list(new.values()), list(base.values()), alternative="greater").pvalue
    assert difference.p_more == pytest.approx(2 * expected, rel=1e-9)  # doubled, because either test was possible
    interval = stats.ttest_rel(list(new.values()), list(base.values())).confidence_interval(0.95)
    assert (difference.low, difference.high) == pytest.approx(tuple(interval), rel=1e-9)
    assert compare_samples(base, normal(8, 5, spread=3.0)).test == "pooled t"
    assert compare_samples({k: base[k] for k in range(4)}, {k: new[k] for k in range(4)}).test == "pooled t"


def test_the_interval_of_ranks_contains_the_shift_in_95_of_100_cases():
    source = np.random.default_rng(0)
    samples = [(source.standard_normal(10), source.standard_normal(12)) for _ in range(1000)]
    differences = [_test_ranks(new, base, 0.0) for new, base in samples]
    covered = np.mean([difference.low <= 0 <= difference.high for difference in differences])
    assert abs(covered - 0.95) < 4 * (0.95 * 0.05 / 1000) ** 0.5


def test_error_and_spread_are_those_of_the_differences():
    """`spread` is that of one seed: n seeds per run give the standard error spread sqrt(2 / n)."""
    base, shift = normal(9, 1, spread=3.0), normal(9, 2, mean=0.2, spread=0.1)
    paired = compare_samples(base, {seed: base[seed] + shift[seed] for seed in base})
    assert paired.se == pytest.approx(stats.sem(list(shift.values())))
    assert paired.spread * (2 / 9) ** 0.5 == pytest.approx(paired.se)
    pooled = compare_samples(base, normal(4, 5, spread=2.0, first=50))
    squares = 8 * np.var(list(base.values()), ddof=1) + 3 * np.var(list(normal(4, 5, spread=2.0).values()), ddof=1)
    assert pooled.spread == pytest.approx((squares / 11) ** 0.5)
    assert (pooled.se, pooled.dof) == pytest.approx((pooled.spread * (1 / 9 + 1 / 4) ** 0.5, 11))


def test_the_interval_of_a_shift_by_ranks_has_95_percent_coverage():
    """Of values with heavy tails; its error is the half-width divided by 1.96."""
    source, covered = np.random.default_rng(0), []
    for _ in range(400):
        base, new = (dict(enumerate(source.standard_cauchy(12), first)) for first in (0, 100))
        difference = compare_samples(base, {seed: value + 3 for seed, value in new.items()})
        if difference.test == "ranks":
            covered.append(difference.low <= 3 <= difference.high)
            assert difference.se == pytest.approx(
                (difference.high - difference.low) / 2 / stats.norm.ppf(0.975), rel=1e-4
            )
    assert len(covered) > 100
    assert abs(np.mean(covered) - 0.95) < 5 * (0.95 * 0.05 / len(covered)) ** 0.5


def test_heavy_tails_use_ranks():
    base, new = normal(20, 1), normal(10, 2, first=50)
    base[3] = -1e9
    difference = compare_samples(base, new)
    assert difference.test == "ranks"
    expected = stats.mannwhitneyu(list(new.values()), list(base.values()), alternative="less").pvalue
    assert difference.p_less == pytest.approx(expected, rel=0.05)
    assert abs(difference.value) < 1
    assert difference.low < difference.value < difference.high
    worse = compare_samples(base, {seed: value - 4 for seed, value in new.items()})
    assert worse.p_less < 1e-5


def test_normal_values_have_no_heavy_tails():
    draws = np.random.default_rng(0).normal(size=(2000, 30))
    assert not any(has_heavy_tails(row[:20], row[20:]) for row in draws)


def test_zero_spread_and_single_seed():
    same = compare_samples(dict.fromkeys(range(3), 2.0), dict.fromkeys(range(5, 8), 1.0))
    assert (same.test, same.value, same.p_less, same.p_more) == ("no spread", -1.0, 0.0, 1.0)
    alone = compare_samples({0: 1.0}, {0: 0.0})
    assert (alone.p_less, alone.p_more, alone.low) == (1.0, 1.0, -math.inf)


@pytest.mark.parametrize("counts", [(0, 20, 3, 10), (2, 20, 2, 10), (0, 5, 5, 5), (1, 1, 0, 1), (0, 20, 0, 10)])
def test_fisher_p_agrees_with_scipy(counts):
    lost_base, base, lost_new, new = counts
    table = [[lost_new, new - lost_new], [lost_base, base - lost_base]]
    assert compute_fisher_p(*counts) == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, rel=1e-9)


def test_adjust_by_holm():
    assert adjust_by_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_by_holm([]) == []
    assert adjust_by_holm([0.9, 0.8]) == [1.0, 1.0]


def test_smallest_effect_is_detected_in_95_of_100_cases():
    """Of many drops of that size 95 % are detected; of comparisons without a drop, few."""
    tolerance, level, source = 0.5, 0.001, np.random.default_rng(0)
    example = compare_samples(normal(20, 1), normal(10, 2, first=50))
    scale = 1 / example.spread  # for a known spread of 1
    smallest = compute_smallest_effect(example, tolerance, level) * scale
    seen = {smallest: 0, 0.0: 0}
    for loss in seen:
        for _ in range(2000):
            values = source.normal(size=30)
            difference = compare_samples(dict(enumerate(values[:20])), dict(enumerate(values[20:] - loss, start=50)))
            seen[loss] += difference.value < -tolerance and difference.p_less < level
    assert seen[smallest] / 2000 == pytest.approx(0.95, abs=0.02)
    assert seen[0.0] / 2000 < 0.005


def test_seeds_needed_make_the_interval_narrow_enough():
    example = dataclasses.replace(compare_samples(normal(20, 1), normal(20, 2, first=50)), spread=1.0)
    needed = compute_seeds_needed(example, 0.3, 0.001)
    assert needed > 40
    enough = compare_samples(normal(needed, 3), normal(needed, 4, first=1000))
    assert (enough.high - enough.low) / 2 < 0.3 * enough.spread
    assert compute_seeds_needed(example, 0.0, 0.001) is None


def test_only_far_worse_values_with_heavy_tails_are_far_off():
    source = np.random.default_rng(0)
    base, new_rows = source.normal(0, 1, 20), source.normal(0, 1, 10)
    assert count_far_off(base, new_rows) == (0, 0)
    assert count_far_off(base, new_rows - 100) == (0, 0)  # all of them: a difference, and no tail
    assert count_far_off(base, np.append(new_rows, -1e6)) == (0, 1)
    assert count_far_off(base, np.append(new_rows, 1e6)) == (0, 0)
    assert count_far_off(base, np.array([])) == (0, 0)


def test_ranks_are_used_only_if_they_can_be_significant():
    base = {i: float(v) for i, v in enumerate(np.random.default_rng(0).normal(0, 0.1, 20))} | {0: -1e3}
    assert compare_samples(base, dict.fromkeys((50, 51, 52), -10.0)).test == "pooled t"
    ranks = compare_samples(base, {50 + i: v for i, v in base.items()})
    assert ranks.test == "ranks"
    assert np.isfinite(compute_smallest_effect(ranks, 0.5, 1e-3))
    assert compute_smallest_effect(ranks, 0.5, 1e-12) == np.inf


def test_choice_of_the_smaller_spread_gives_no_more_false_alarms():
    """Equal seeds with independent values, so that either test may have the smaller error."""
    source = np.random.default_rng(0)
    draws = [compare_samples(*(dict(enumerate(source.normal(size=5))) for _ in range(2))) for _ in range(20_000)]
    assert {"pooled t", "paired t"} == {draw.test for draw in draws}
    share = np.mean([draw.p_less < 0.01 for draw in draws])
    assert 0.005 < share < 0.01 + 3 * np.sqrt(0.01 * 0.99 / len(draws))


def test_seeds_needed_are_sufficient():
    """With a known spread, equal runs are unchanged in 95 of 100 cases, and twice the tolerance is detected."""
    source = np.random.default_rng(0)
    known = dataclasses.replace(compare_samples({0: 0.0, 1: 1.0}, {2: 0.0, 3: 1.0}), spread=1.0)
    level, tolerance = 1e-4, 0.5
    needed = compute_seeds_needed(known, tolerance, level)
    unchanged = seen = 0
    for _ in range(200):
        base, new_rows = (dict(enumerate(source.normal(size=needed), first)) for first in (0, 5000))
        difference = compare_samples(base, new_rows)
        unchanged += -tolerance <= difference.low and difference.high <= tolerance
        loss = compare_samples(base, {seed: value - 2 * tolerance for seed, value in new_rows.items()})
        seen += loss.value < -tolerance and loss.p_less < level
    assert unchanged >= 180
    assert seen >= 180
