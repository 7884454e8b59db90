"""The difference between two sets of seeds, with the test that suits them: pure functions of numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

CONFIDENCE = 0.95
PAIRS = 5  # seeds in common from which differences of pairs may be tested
ENOUGH = 10  # values in all from which tails are judged
TAIL = 8.0  # robust standard deviations from a side's median: one in 10^15 normal values is further out
LEAST = 1e-4  # ranks are used where they can give a smaller p; of fewer values no order is sure enough
POWER = 0.95  # with which the smallest effect that can be seen is seen

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """New minus old. A positive value is an increase, whichever way is better.

    value: of the means, or the median of all differences where tails are heavy. low, high: its 95 % interval (infinite
    where nothing is known of the spread). p_less, p_more: one-sided, for a decrease and an increase. test: which test.
    se, freedom: standard error of the value, and the degrees of freedom behind it. spread: of a seed, so that n seeds a
    side give a standard error of spread sqrt(2/n). least: the smallest p that the test can give. choices: from how many
    tests it was chosen, by which p is multiplied. size: seeds of the smaller side, or pairs.
    """

    value: float
    low: float
    high: float
    p_less: float
    p_more: float
    test: str
    se: float
    freedom: float
    spread: float
    least: float = 0.0
    choices: int = 1
    size: int = 0


def difference(base: Mapping[int, float], new: Mapping[int, float]) -> Difference:
    """By seed. The spread over seeds is taken from both sides, or from pairs of equal seeds where those spread less.

    Where either could have been taken, p counts twice: that the smaller spread was chosen must not make it surer.
    """
    ours, theirs = np.array(list(new.values())), np.array(list(base.values()))
    if len(ours) + len(theirs) >= ENOUGH and _least(ours, theirs) <= LEAST and heavy_tailed(ours, theirs):
        return _by_ranks(ours, theirs)
    pooled = _pooled(ours, theirs)
    shared = sorted({*base} & {*new})
    if len(shared) < PAIRS:
        return pooled
    paired = _paired(np.array([new[seed] - base[seed] for seed in shared]))
    chosen = paired if paired.se < pooled.se else pooled
    return dataclasses.replace(
        chosen, p_less=min(1.0, 2 * chosen.p_less), p_more=min(1.0, 2 * chosen.p_more), choices=2
    )


def far_off(base: Values, new: Values) -> tuple[int, int]:
    """How many of either side end so far below base's median that, where tails are heavy, they count as lost."""
    if not (len(base) and len(new)) or len(base) + len(new) < ENOUGH or not heavy_tailed(new, base):
        return 0, 0
    centre = np.median(base)
    reach = TAIL * 1.4826 * np.median(np.abs(np.concatenate([base, new]) - centre))
    before, now = (int((side < centre - reach).sum()) for side in (base, new))
    return before, now


def _least(ours: Values, theirs: Values) -> float:
    """The smallest p that an order of these values can have: that of all of one side below all of the other."""
    return 1 / math.comb(len(ours) + len(theirs), len(ours))


def heavy_tailed(*sides: Values) -> bool:
    """Whether a value lies so far from the median of its side that means say little."""
    distances = np.abs(np.concatenate([side - np.median(side) for side in sides]))
    return bool(distances.max() > TAIL * 1.4826 * np.median(distances))


def _pooled(ours: Values, theirs: Values) -> Difference:
    freedom = len(ours) + len(theirs) - 2
    if freedom < 1:
        spread = math.nan
    else:
        squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (ours, theirs))
        spread = math.sqrt(squares / freedom)
    se = spread * math.sqrt(1 / len(ours) + 1 / len(theirs))
    return _by_t(float(ours.mean() - theirs.mean()), se, freedom, spread, "pooled t", min(len(ours), len(theirs)))


def _paired(differences: Values) -> Difference:
    n = len(differences)
    deviation = float(np.std(differences, ddof=1))
    return _by_t(float(differences.mean()), deviation / math.sqrt(n), n - 1, deviation / math.sqrt(2), "paired t", n)


def _by_t(value: float, se: float, freedom: float, spread: float, test: str, size: int) -> Difference:
    if math.isnan(se):
        return Difference(value, -math.inf, math.inf, 1.0, 1.0, "none: one seed a side", se, 0, spread)
    if se == 0:
        return Difference(value, value, value, float(value >= 0), float(value <= 0), "no spread", 0.0, freedom, 0.0)
    half = _quantile(0.5 + CONFIDENCE / 2, freedom) * se
    below = float(stdtr(freedom, value / se))
    above = float(stdtr(freedom, -value / se))
    return Difference(value, value - half, value + half, below, above, test, se, freedom, spread, size=size)


def _by_ranks(ours: Values, theirs: Values) -> Difference:
    """Mann and Whitney's test, and the shift of Hodges and Lehmann with the interval that belongs to it."""
    from scipy.stats import mannwhitneyu  # it takes a second to import, and few comparisons need it

    values = np.concatenate([ours, theirs])
    method = "exact" if len(np.unique(values)) == len(values) else "asymptotic"  # ties have no exact table
    less, more = (mannwhitneyu(ours, theirs, alternative=way, method=method).pvalue for way in ("less", "greater"))
    shifts = np.sort(np.subtract.outer(ours, theirs).ravel())
    count = len(shifts)
    sigma = math.sqrt(count * (len(ours) + len(theirs) + 1) / 12)
    cut = max(0, math.floor(count / 2 - 1.96 * sigma))
    low, high = (float(shifts[cut]), float(shifts[-1 - cut])) if cut or count > 40 else (-math.inf, math.inf)
    se = (high - low) / (2 * 1.96)
    value, least = float(np.median(shifts)), _least(ours, theirs)
    return Difference(value, low, high, float(less), float(more), "ranks", se, math.inf, math.nan, least)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted so that all of them together raise a false alarm with the chance that one alone would (Holm 1979)."""
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def smallest_effect(found: Difference, tolerance: float, level: float) -> float:
    """The smallest loss that this comparison would have called one in 95 of 100 cases, at that level of its test."""
    if not math.isfinite(found.se) or found.least >= level:
        return math.inf
    sure = _quantile(POWER, found.freedom) * found.se
    return max(_quantile(1 - level / found.choices, found.freedom) * found.se, tolerance) + sure


def seeds_needed(found: Difference, tolerance: float, level: float) -> int | None:
    """Seeds a side that tell in 95 of 100 cases: equals to be unchanged, and twice the tolerance to be a loss.

    The interval and its own scatter have to lie within the tolerance. None where the spread is unknown, and where there
    are as many already, or a difference is sure: then it is its size that is in doubt.
    """
    if not math.isfinite(found.spread) or tolerance <= 0 or not found.low <= 0 <= found.high:
        return None
    a_pair = 1 if found.test == "paired t" else 2

    def enough(n: int) -> bool:
        freedom = a_pair * (n - 1)
        unchanged = 2 * _quantile(0.5 + CONFIDENCE / 2, freedom)
        loss = (_quantile(1 - level / found.choices, freedom) + _quantile(POWER, freedom)) / 2
        return max(unchanged, loss) * found.spread * math.sqrt(2 / n) <= tolerance

    low, high = 1, 2
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high if high > found.size else None


def _quantile(share: float, freedom: float) -> float:
    """Of Student's t; of the normal distribution where nothing limits the freedom."""
    return float(stdtrit(min(freedom, 1e9), share))


def more_often(lost_base: int, base: int, lost_new: int, new: int) -> float:
    """Fisher's exact one-sided p that cells are lost more often than before."""
    lost, total = lost_base + lost_new, base + new
    ways = sum(math.comb(lost, k) * math.comb(total - lost, new - k) for k in range(lost_new, min(lost, new) + 1))
    return ways / math.comb(total, new)
