"""Rates of verdicts over many random splits of seeds, with intervals from resampled pools.

Splits of one pool depend on each other, so the intervals come from pools whose seeds are resampled with replacement. A
seed that a pool contains several times is drawn with a higher probability, but at most once per split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison.run_comparison import COMPARED_METRICS, compare_groups
from benchmarks.comparison.run_groups import Group, Groups, Key
from benchmarks.comparison.verdicts import Verdict

BASE_SEEDS, NEW_SEEDS = 20, 10
GATING_METRICS = tuple(metric for metric in COMPARED_METRICS if metric.gates or metric.instead_of)
Split = tuple[list[int], list[int]]  # seeds of base, seeds of new
Outcome = Mapping[str, bool]


@dataclass(frozen=True)
class Effort:
    """Number of splits for a rate, and number of resampled pools, with splits for each, for its interval."""

    splits: int = 2000
    pools: int = 200
    splits_a_pool: int = 200


@dataclass(frozen=True)
class Rate:
    """A fraction of comparisons with its 95 % interval."""

    share: float
    low: float
    high: float


def find_complete_seeds(groups: Groups) -> list[int]:
    """Return the seeds that all variants completed."""
    return sorted(set.intersection(*(set(group.last.seeds.tolist()) for group in groups.values())))


def draw_splits(
    base_pool: Sequence[int], new_pool: Sequence[int], count: int, source: np.random.Generator, n_new: int = NEW_SEEDS
) -> Iterator[Split]:
    """Yield random splits: seeds for base from one pool, and other seeds for new from the second pool."""
    for _ in range(count):
        base = _exclude(source.permutation(base_pool), ())[:BASE_SEEDS]
        yield base, _exclude(source.permutation(new_pool), base)[:n_new]


def _exclude(seeds: np.ndarray[tuple[int], np.dtype[np.int64]], excluded: Sequence[int]) -> list[int]:
    return [seed for seed in dict.fromkeys(seeds.tolist()) if seed not in excluded]


def compare_split(base: Groups, new: Groups, split: Split, alpha: float) -> list[Verdict]:
    """Compare these seeds of two runs by all metrics that may affect the exit code."""
    base_seeds, new_seeds = split
    names = [metric.name for metric in GATING_METRICS]
    return compare_groups(_select(base, base_seeds), _select(new, new_seeds), {}, names, alpha)


def _select(groups: Groups, seeds: Sequence[int]) -> dict[Key, Group]:
    return {
        key: dataclasses.replace(
            group,
            cells=len(seeds),
            diverged=0,
            failed=0,
            first=group.first.select(seeds),
            last=group.last.select(seeds),
        )
        for key, group in groups.items()
    }


def estimate_rates(
    find_outcome: Callable[[Split], Outcome],
    base_pool: Sequence[int],
    new_pool: Sequence[int],
    source: np.random.Generator,
    effort: Effort,
) -> dict[str, Rate]:
    """Return how often each outcome is true. If both pools are the same object, both use the same resampled pool."""
    shares = _compute_shares(find_outcome, draw_splits(base_pool, new_pool, effort.splits, source))
    resampled = []
    for _ in range(effort.pools):
        base = source.choice(base_pool, len(base_pool)).tolist()
        new = base if new_pool is base_pool else source.choice(new_pool, len(new_pool)).tolist()
        resampled.append(_compute_shares(find_outcome, draw_splits(base, new, effort.splits_a_pool, source)))
    return {
        name: Rate(share, *(float(np.quantile([pool[name] for pool in resampled], q)) for q in (0.025, 0.975)))
        for name, share in shares.items()
    }


def _compute_shares(find_outcome: Callable[[Split], Outcome], splits: Iterator[Split]) -> dict[str, float]:
    outcomes = [find_outcome(split) for split in splits]
    return {name: float(np.mean([outcome[name] for outcome in outcomes])) for name in outcomes[0]}
