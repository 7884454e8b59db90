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
from benchmarks.comparison.run_groups import Group, Groups, Key, select_rows
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


def draw_splits(
    base_pool: Sequence[int], new_pool: Sequence[int], count: int, source: np.random.Generator, n_new: int = NEW_SEEDS
) -> Iterator[Split]:
    """Yield random splits: seeds for base from one pool, and other seeds for new from the second pool."""
    for _ in range(count):
        base, new = (dict.fromkeys(source.permutation(pool).tolist()) for pool in (base_pool, new_pool))
        base_seeds = list(base)[:BASE_SEEDS]
        yield base_seeds, [seed for seed in new if seed not in base_seeds][:n_new]


def compare_split(base: Groups, new: Groups, split: Split, alpha: float) -> list[Verdict]:
    """Compare these seeds of two runs by all metrics that may affect the exit code."""
    base_seeds, new_seeds = split
    names = [metric.name for metric in GATING_METRICS]
    return compare_groups(_select(base, base_seeds), _select(new, new_seeds), {}, names, alpha)


def _select(groups: Groups, seeds: Sequence[int]) -> dict[Key, Group]:
    selected = {}
    for key, group in groups.items():
        rows = {name: select_rows(rows, np.isin(rows["seed"], seeds)) for name, rows in group.rows.items()}
        selected[key] = dataclasses.replace(group, cells=len(seeds), diverged=0, failed=0, rows=rows)
    return selected


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
        name: Rate(share, *np.quantile([pool[name] for pool in resampled], (0.025, 0.975)).tolist())
        for name, share in shares.items()
    }


def _compute_shares(find_outcome: Callable[[Split], Outcome], splits: Iterator[Split]) -> dict[str, float]:
    outcomes = [find_outcome(split) for split in splits]
    return {name: float(np.mean([outcome[name] for outcome in outcomes])) for name in outcomes[0]}
