"""Two-sample tests of the difference between two sets of seeds. Pure functions of numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
MIN_PAIRS = 5  # shared seeds that a paired test needs
MIN_VALUES_FOR_TAILS = 10  # values of both runs together that a check for heavy tails needs
TAIL_DEVIATIONS = 8.0  # robust standard deviations from the median; 1 of 10^15 normal values exceeds them
MAX_RANK_P = 1e-4  # ranks are used if their smallest possible p is below; fewer values can't reach significance
POWER = 0.95  # probability that a drop of the smallest detectable size is detected

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """New minus base, with a two-sample test. Positive means an increase, whichever direction is better.

    value: difference of the means, or the median of all differences for ranks. low, high: its 95 % interval, infinite
    if the spread is unknown. p_less, p_more: one-sided p of a decrease and of an increase. se, dof: standard error of
    the value and degrees of freedom. spread: standard deviation of one seed; n seeds per run give the standard error
    spread sqrt(2/n). smallest_p: the smallest p that the test can give. candidates: number of tests from which this
    one was chosen; p is multiplied by it. size: seeds of the smaller run, or pairs.
    """

    value: float
    low: float
    high: float
    p_less: float
    p_more: float
    test: str
    se: float
    dof: float
    spread: float
    smallest_p: float = 0.0
    candidates: int = 1
    size: int = 0


def compare_samples(base: Mapping[int, float], new: Mapping[int, float]) -> Difference:
    """Return new minus base, from values by seed.

    The test is a t-test with pooled spread. It is paired if the differences of shared seeds have the smaller standard
    error. If both were possible, p is doubled, because the choice depends on the values. With heavy tails and enough
    values, it is a rank test.
    """
    new_values, base_values = np.array(list(new.values())), np.array(list(base.values()))
    count = len(new) + len(base)
    smallest_p = 1 / math.comb(count, len(new))  # of ranks, if all values of one sample are below those of the other
    if count >= MIN_VALUES_FOR_TAILS and smallest_p <= MAX_RANK_P and has_heavy_tails(new_values, base_values):
        return _test_ranks(new_values, base_values, smallest_p)
    pooled = _test_pooled(new_values, base_values)
    shared = sorted({*base} & {*new})
    if len(shared) < MIN_PAIRS:
        return pooled
    paired = _test_paired(np.array([new[seed] - base[seed] for seed in shared]))
    chosen = paired if paired.se < pooled.se else pooled
    return dataclasses.replace(
        chosen, p_less=min(1.0, 2 * chosen.p_less), p_more=min(1.0, 2 * chosen.p_more), candidates=2
    )


def count_far_off(base: Values, new: Values) -> tuple[int, int]:
    """Count the values of base and of new that are far below base's median; (0, 0) without heavy tails."""
    if not (len(base) and len(new)) or len(base) + len(new) < MIN_VALUES_FOR_TAILS or not has_heavy_tails(new, base):
        return 0, 0
    centre = np.median(base)
    distance = TAIL_DEVIATIONS * 1.4826 * np.median(np.abs(np.concatenate([base, new]) - centre))
    base_count, new_count = (int((values < centre - distance).sum()) for values in (base, new))
    return base_count, new_count


def has_heavy_tails(*samples: Values) -> bool:
    """Return whether a value is so far from the median of its sample that means are not informative."""
    distances = np.abs(np.concatenate([values - np.median(values) for values in samples]))
    return bool(distances.max() > TAIL_DEVIATIONS * 1.4826 * np.median(distances))


def _test_pooled(new: Values, base: Values) -> Difference:
    dof = len(new) + len(base) - 2
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in (new, base))
    spread = math.sqrt(squares / dof) if dof else math.nan
    se = spread * math.sqrt(1 / len(new) + 1 / len(base))
    return _test_t(float(new.mean() - base.mean()), se, dof, spread, "pooled t", min(len(new), len(base)))


def _test_paired(differences: Values) -> Difference:
    n = len(differences)
    deviation = float(np.std(differences, ddof=1))
    return _test_t(float(differences.mean()), deviation / math.sqrt(n), n - 1, deviation / math.sqrt(2), "paired t", n)


def _test_t(value: float, se: float, dof: float, spread: float, test: str, size: int) -> Difference:
    if math.isnan(se):
        return Difference(value, -math.inf, math.inf, 1.0, 1.0, "none: one seed per run", se, 0, spread)
    if se == 0:
        return Difference(value, value, value, float(value >= 0), float(value <= 0), "no spread", 0.0, dof, 0.0)
    half_width = _t_quantile(0.5 + CONFIDENCE / 2, dof) * se
    p_less, p_more = float(stdtr(dof, value / se)), float(stdtr(dof, -value / se))
    return Difference(value, value - half_width, value + half_width, p_less, p_more, test, se, dof, spread, size=size)


def _test_ranks(new: Values, base: Values, smallest_p: float) -> Difference:
    """Return the Mann-Whitney test, and the Hodges-Lehmann shift with its interval."""
    from scipy.stats import mannwhitneyu  # the import takes a second, and few comparisons need it

    values = np.concatenate([new, base])
    method = "exact" if len(np.unique(values)) == len(values) else "asymptotic"  # the exact test needs distinct values
    p_less, p_more = (mannwhitneyu(new, base, alternative=side, method=method).pvalue for side in ("less", "greater"))
    shifts = np.sort(np.subtract.outer(new, base).ravel())
    count = len(shifts)
    sigma = math.sqrt(count * (len(new) + len(base) + 1) / 12)
    cut = max(0, math.floor(count / 2 - 1.96 * sigma))
    low, high = (float(shifts[cut]), float(shifts[-1 - cut])) if cut or count > 40 else (-math.inf, math.inf)
    se = (high - low) / (2 * 1.96)
    value = float(np.median(shifts))
    return Difference(value, low, high, float(p_less), float(p_more), "ranks", se, math.inf, math.nan, smallest_p)


def adjust_by_holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that all tests together give a false alarm as rarely as one test (Holm 1979)."""
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def compute_smallest_effect(difference: Difference, tolerance: float, level: float) -> float:
    """Return the smallest drop that this comparison detects in 95 of 100 cases, if its test has that level."""
    if not math.isfinite(difference.se) or difference.smallest_p >= level:
        return math.inf
    margin = _t_quantile(POWER, difference.dof) * difference.se
    threshold = _t_quantile(1 - level / difference.candidates, difference.dof) * difference.se
    return max(threshold, tolerance) + margin


def compute_seeds_needed(difference: Difference, tolerance: float, level: float) -> int | None:
    """Return the seeds per run that give a clear verdict in 95 of 100 cases.

    Clear means: equal runs are "unchanged", and a drop of twice the tolerance is "regressed". None if more seeds don't
    help: the spread is unknown, this number is reached already, or the interval excludes 0.
    """
    if not math.isfinite(difference.spread) or tolerance <= 0 or not difference.low <= 0 <= difference.high:
        return None
    dof_per_seed = 1 if difference.test == "paired t" else 2

    def is_enough(n: int) -> bool:
        dof = dof_per_seed * (n - 1)
        unchanged = 2 * _t_quantile(0.5 + CONFIDENCE / 2, dof)  # half-width, plus the scatter of the mean
        drop = (_t_quantile(1 - level / difference.candidates, dof) + _t_quantile(POWER, dof)) / 2
        return max(unchanged, drop) * difference.spread * math.sqrt(2 / n) <= tolerance

    low, high = 1, 2
    while not is_enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high if high > difference.size else None


def _t_quantile(probability: float, dof: float) -> float:
    """Return the quantile of Student's t; infinite degrees of freedom mean the normal distribution."""
    return float(stdtrit(min(dof, 1e9), probability))


def compute_fisher_p(lost_base: int, base: int, lost_new: int, new: int) -> float:
    """Return Fisher's exact one-sided p that new loses a larger share of its cells than base."""
    lost, total = lost_base + lost_new, base + new
    ways = sum(math.comb(lost, k) * math.comb(total - lost, new - k) for k in range(lost_new, min(lost, new) + 1))
    return ways / math.comb(total, new)
