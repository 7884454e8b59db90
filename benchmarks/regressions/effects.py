"""The smallest loss that a comparison of so many seeds sees: what each pair of seed sets would have called one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from benchmarks.metrics import Metric
from benchmarks.regressions.comparison import by_seed, gates
from benchmarks.regressions.differences import POWER, difference
from benchmarks.regressions.groups import Key
from benchmarks.regressions.resampling import GATING, Effort, Groups, Rate, Split, rates, splits

SIZES = (5, 10, 20)
EFFORT = Effort(400, 100, 20)  # for each variant and metric


@dataclass(frozen=True)
class Effect:
    """What is seen of one variant's metric.

    smallest: by the number of new seeds, the loss that is seen in 95 of 100 cases. twice: how often a loss of twice the
    tolerance is seen with `NEW`.
    """

    key: Key
    metric: Metric
    smallest: Mapping[int, float]
    twice: Rate


def effects(groups: Groups, seeds: Sequence[int], alpha: float, source: np.random.Generator) -> Iterator[Effect]:
    """Of each variant and gating metric, at the strictest level that Holm's rule asks of a single test."""
    asked = [
        (key, metric)
        for key, group in groups.items()
        for metric in GATING
        if by_seed(group, metric) and gates(metric, group)
    ]
    level = alpha / len(asked)
    for key, metric in asked:
        values, tolerance = by_seed(groups[key], metric), metric.tolerance_on(key[0])
        yield _effect(key, metric, functools.partial(_needed, values, metric, tolerance, level), seeds, source)


def _effect(
    key: Key, metric: Metric, needed: Callable[[Split], float], seeds: Sequence[int], source: np.random.Generator
) -> Effect:
    smallest = {
        new: float(np.quantile([needed(split) for split in splits(seeds, seeds, EFFORT.splits, source, new)], POWER))
        for new in SIZES
    }
    twice = 2 * metric.tolerance_on(key[0])
    seen = rates(lambda split: {"seen": needed(split) < twice}, seeds, seeds, source, EFFORT)["seen"]
    return Effect(key, metric, smallest, seen)


def _needed(values: Mapping[int, float], metric: Metric, tolerance: float, level: float, split: Split) -> float:
    """The loss that, taken from each new value, makes a regression of this comparison of equals."""
    base, new = ({seed: values[seed] for seed in seeds} for seeds in split)
    found = difference(base, new)
    sign = 1 if metric.direction == "higher" else -1
    gain = sign * found.value
    if found.test != "ranks":
        return gain + max(tolerance, float(stdtrit(found.freedom, 1 - level)) * found.se)
    shifts = np.sort(sign * np.subtract.outer(list(new.values()), list(base.values())).ravel())
    wins = most_wins(len(new), len(base), level / 2)  # half goes to the count of seeds far off
    return max(gain + tolerance, float(shifts[-1 - wins]) if wins >= 0 else math.inf)


@functools.cache
def most_wins(ours: int, theirs: int, level: float) -> int:
    """In how many pairs ours may be above theirs while Mann and Whitney's test says less; -1: it never does."""
    from scipy.stats import mannwhitneyu  # it takes a second to import, and few comparisons need it

    def p(wins: int) -> float:
        full, rest = divmod(wins, theirs)
        own = [theirs] * full + ([rest] if full < ours else []) + [0] * (ours - full - 1)
        apart = np.array(own) + np.arange(ours) / (2 * ours)
        return float(mannwhitneyu(apart, np.arange(theirs) + 0.75, alternative="less", method="exact").pvalue)

    low, high = -1, ours * theirs
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if p(middle) < level else (low, middle)
    return low
