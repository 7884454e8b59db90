"""The smallest drop that a comparison with a given number of seeds detects, from splits of equal code."""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from benchmarks.comparison.power.resampling import GATING_METRICS, Effort, Rate, Split, draw_splits, estimate_rates
from benchmarks.comparison.run_comparison import get_scaled_values, is_gating
from benchmarks.comparison.run_groups import Group, Groups, Key
from benchmarks.comparison.two_sample import POWER, compare_samples
from benchmarks.reporting.metrics import Metric

SEED_COUNTS = (5, 10, 20)  # of the new run
EFFORT = Effort(400, 100, 20)  # for each variant and metric


@dataclass(frozen=True)
class DetectableEffect:
    """The power for one metric of one variant.

    smallest: by number of new seeds, the drop that is detected in 95 of 100 cases. twice: how often `NEW_SEEDS` new
    seeds detect a drop of twice the tolerance.
    """

    key: Key
    metric: Metric
    smallest: Mapping[int, float]
    twice: Rate


def measure_effects(
    groups: Groups, seeds: Sequence[int], alpha: float, source: np.random.Generator
) -> list[DetectableEffect]:
    """Return the effect for each variant and gating metric, at the strictest level that Holm's rule uses."""
    tested = [
        (key, metric)
        for key, group in groups.items()
        for metric in GATING_METRICS
        if get_scaled_values(group, metric) and is_gating(metric, group)
    ]
    level = alpha / len(tested)
    return [_measure_effect(key, metric, groups[key], seeds, level, source) for key, metric in tested]


def _measure_effect(
    key: Key, metric: Metric, group: Group, seeds: Sequence[int], level: float, source: np.random.Generator
) -> DetectableEffect:
    tolerance = group.tolerance(metric, key[0])
    find_drop = functools.partial(_find_drop, get_scaled_values(group, metric), metric, tolerance, level)
    smallest = {}
    for n_new in SEED_COUNTS:
        drops = [find_drop(split) for split in draw_splits(seeds, seeds, EFFORT.splits, source, n_new)]
        smallest[n_new] = float(np.quantile(drops, POWER))
    rates = estimate_rates(lambda split: {"detected": find_drop(split) < 2 * tolerance}, seeds, seeds, source, EFFORT)
    return DetectableEffect(key, metric, smallest, rates["detected"])


def _find_drop(values: Mapping[int, float], metric: Metric, tolerance: float, level: float, split: Split) -> float:
    """Return the drop that has to be applied to all new values before this comparison says "regressed"."""
    base, new = ({seed: values[seed] for seed in seeds} for seeds in split)
    difference = compare_samples(base, new)
    sign = 1 if metric.direction == "higher" else -1
    gain = sign * difference.value
    if difference.test != "ranks":
        return gain + max(tolerance, float(stdtrit(difference.dof, 1 - level)) * difference.se)
    shifts = np.sort(sign * np.subtract.outer(list(new.values()), list(base.values())).ravel())
    wins = compute_max_wins(len(new), len(base), level / 2)  # the other half is for the test of lost seeds
    return max(gain + tolerance, float(shifts[-1 - wins]) if wins >= 0 else math.inf)


@functools.cache
def compute_max_wins(n_new: int, n_base: int, level: float) -> int:
    """Return in how many pairs new may exceed base while the Mann-Whitney test says "less".

    -1 if the test never says so at this level.
    """
    from scipy.stats import mannwhitneyu  # the import takes a second, and few comparisons need it

    def compute_p(wins: int) -> float:
        full, rest = divmod(wins, n_base)
        ranks = [n_base] * full + ([rest] if full < n_new else []) + [0] * (n_new - full - 1)
        distinct = np.array(ranks) + np.arange(n_new) / (2 * n_new)
        return float(mannwhitneyu(distinct, np.arange(n_base) + 0.75, alternative="less", method="exact").pvalue)

    return bisect.bisect_left(range(n_new * n_base), level, key=compute_p) - 1
