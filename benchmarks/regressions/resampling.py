"""Seeds drawn for two sides of a comparison, again and again, and how well the rates that come of it are known.

Draws from one pool depend on each other; so the limits come from pools whose seeds are resampled. A seed that such a
pool has several times is more likely drawn, and drawn once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.regressions.comparison import COMPARED, judged
from benchmarks.regressions.groups import Group, Key
from benchmarks.regressions.verdicts import Verdict

BASE, NEW = 20, 10
GATING = tuple(metric for metric in COMPARED if metric.gates or metric.instead_of)
Groups = Mapping[Key, Group]
Split = tuple[list[int], list[int]]
Outcome = Mapping[str, bool]


@dataclass(frozen=True)
class Effort:
    """How many comparisons are behind a share, and how many resampled pools, of how many each, behind its limits."""

    splits: int = 2000
    pools: int = 200
    splits_a_pool: int = 200


@dataclass(frozen=True)
class Rate:
    """A share of comparisons, with its 95 % limits over resampled pools."""

    share: float
    low: float
    high: float


def whole_seeds(groups: Groups) -> list[int]:
    """Those that every variant ended with."""
    return sorted(set.intersection(*(set(group.last.seeds.tolist()) for group in groups.values())))


def splits(
    ours: Sequence[int], theirs: Sequence[int], count: int, source: np.random.Generator, new: int = NEW
) -> Iterator[Split]:
    """Seeds for a baseline from ours, and others for a new run from theirs."""
    for _ in range(count):
        base = _unlike(source.permutation(ours), ())[:BASE]
        yield base, _unlike(source.permutation(theirs), base)[:new]


def _unlike(seeds: np.ndarray[tuple[int], np.dtype[np.int64]], taken: Sequence[int]) -> list[int]:
    """Each once, but for those that are taken."""
    return [seed for seed in dict.fromkeys(seeds.tolist()) if seed not in taken]


def compared(before: Groups, now: Groups, split: Split, alpha: float) -> list[Verdict]:
    """The whole comparison of these seeds, on the metrics that gate."""
    base, new = split
    return judged(_some(before, base), _some(now, new), {}, [metric.name for metric in GATING], alpha)


def _some(groups: Groups, seeds: Sequence[int]) -> dict[Key, Group]:
    """The groups with these seeds alone."""
    return {
        key: dataclasses.replace(
            group, cells=len(seeds), lost=0, failed=0, first=group.first.of(seeds), last=group.last.of(seeds)
        )
        for key, group in groups.items()
    }


def rates(
    outcome: Callable[[Split], Outcome],
    ours: Sequence[int],
    theirs: Sequence[int],
    source: np.random.Generator,
    effort: Effort,
) -> dict[str, Rate]:
    """How often each outcome is true. Where both sides draw from one pool, the same pool is resampled for both."""
    shares = _shares(outcome, splits(ours, theirs, effort.splits, source))
    resampled = []
    for _ in range(effort.pools):
        own = source.choice(ours, len(ours)).tolist()
        other = own if theirs is ours else source.choice(theirs, len(theirs)).tolist()
        resampled.append(_shares(outcome, splits(own, other, effort.splits_a_pool, source)))
    return {
        name: Rate(share, *(float(np.quantile([one[name] for one in resampled], q)) for q in (0.025, 0.975)))
        for name, share in shares.items()
    }


def _shares(outcome: Callable[[Split], Outcome], drawn: Iterator[Split]) -> dict[str, float]:
    found = [outcome(split) for split in drawn]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}
