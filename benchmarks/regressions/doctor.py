"""How far `compare` can be believed: seeds of one and the same code, held against each other many times over.

Each split draws disjoint seeds for a baseline and for a new run from one pool, and goes through the whole comparison.
Splits of one pool depend on each other; so the limits of the rates come from pools whose seeds are resampled. A seed
that a resampled pool has several times is more likely drawn, and drawn once.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from benchmarks.errors import UserError
from benchmarks.metrics import BY_NAME
from benchmarks.regressions.comparison import COMPARED, by_seed, judged
from benchmarks.regressions.differences import POWER, difference
from benchmarks.regressions.groups import Group, Key, groups
from benchmarks.regressions.verdicts import Verdict, exit_code

BASE, NEW = 20, 10
SIZES = (5, 10, 20)
SPLITS, POOLS, SPLITS_A_POOL = 2000, 200, 100
GATING = tuple(metric for metric in COMPARED if metric.gates)
Groups = Mapping[Key, Group]


@dataclass(frozen=True)
class Effect:
    """The smallest loss seen in 95 of 100 cases, by the number of new seeds; NaN where it is often judged by ranks."""

    key: Key
    metric: str
    spread: float
    smallest: Mapping[int, float]


@dataclass(frozen=True)
class Report:
    """seeds: of the pool. alarms: splits that exit with 1. low, high: 95 % limits of their share, over resampled pools.

    reached: splits in which every variant's gating metrics reached a test. culprits: verdicts that raised an alarm.
    proposed: for each metric the tolerance within which 99 of 100 differences of equals lie, beside the present one.
    """

    seeds: int
    splits: int
    alarms: int
    low: float
    high: float
    reached: int
    culprits: Mapping[tuple[str, str], int]
    effects: Sequence[Effect]
    proposed: Mapping[str, float]


def examine(results: pd.DataFrame, alpha: float, seed: int = 0) -> Report:
    """Relabel the seeds of these results; `UserError` where they are too few."""
    pool = groups(results)
    seeds = sorted(set.intersection(*(set(group.last.seeds.tolist()) for group in pool.values())))
    if len(seeds) < 2 * (BASE + NEW):
        raise UserError(
            f"{len(seeds)} seeds are whole in every variant; to draw {BASE} and {NEW} of them again and again takes "
            f"{2 * (BASE + NEW)}, better 100: run with more --seeds"
        )
    source = np.random.default_rng(seed)
    codes, reached, culprits = [], 0, Counter[tuple[str, str]]()
    for base, new in _splits(seeds, SPLITS, source):
        found = _compared(pool, base, new, alpha)
        codes.append(exit_code(found))
        reached += all(v.word != "identical" for v in found)
        culprits.update((v.variant, v.metric) for v in found if v.word == "regressed")
    shares = []
    for _ in range(POOLS):
        resampled = source.choice(seeds, len(seeds)).tolist()
        own = [exit_code(_compared(pool, *split, alpha)) for split in _splits(resampled, SPLITS_A_POOL, source)]
        shares.append(own.count(1) / len(own))
    low, high = (float(np.quantile(shares, q)) for q in (0.025, 0.975))
    effects = list(_effects(pool, seeds, alpha, source))
    return Report(
        len(seeds), SPLITS, codes.count(1), low, high, reached, culprits, effects, _proposed(pool, seeds, source)
    )


def _splits(
    pool: Sequence[int], count: int, source: np.random.Generator, new: int = NEW
) -> Iterator[tuple[list[int], list[int]]]:
    """Disjoint seeds for either side; of a seed's copies in the pool the first that is drawn counts."""
    for _ in range(count):
        order = list(dict.fromkeys(source.permutation(pool).tolist()))
        yield order[:BASE], order[BASE : BASE + new]


def _compared(pool: Groups, base: Sequence[int], new: Sequence[int], alpha: float) -> list[Verdict]:
    before, now = _some(pool, base), _some(pool, new)
    return judged(before, now, {}, [metric.name for metric in GATING], alpha)


def _some(pool: Groups, seeds: Sequence[int]) -> dict[Key, Group]:
    """The groups with these seeds alone."""
    return {
        key: dataclasses.replace(
            group, cells=len(seeds), lost=0, failed=0, first=group.first.of(seeds), last=group.last.of(seeds)
        )
        for key, group in pool.items()
    }


def _effects(pool: Groups, seeds: Sequence[int], alpha: float, source: np.random.Generator) -> Iterator[Effect]:
    """Of each variant and gating metric, at the strictest level that Holm's rule asks of a single test."""
    asked = [(key, metric) for key, group in pool.items() for metric in GATING if by_seed(group, metric)]
    level = alpha / (len(asked) + len(pool))
    splits = {new: list(_splits(seeds, 400, source, new)) for new in SIZES}
    for key, metric in asked:
        values = by_seed(pool[key], metric)
        smallest = {}
        for new, own in splits.items():
            needed = []
            for base, other in own:
                found = difference({s: values[s] for s in base}, {s: values[s] for s in other})
                if found.test == "ranks":
                    needed.append(math.nan)
                    continue
                gain = found.value if metric.direction == "higher" else -found.value
                threshold = float(stdtrit(found.freedom, 1 - level)) * found.se
                needed.append(max(metric.tolerance, threshold) + gain)
            few_by_ranks = np.isnan(needed).mean() < (1 - POWER) / 2
            smallest[new] = float(np.nanquantile(needed, POWER)) if few_by_ranks else math.nan
        yield Effect(key, metric.name, float(np.std(list(values.values()), ddof=1)), smallest)


def _proposed(pool: Groups, seeds: Sequence[int], source: np.random.Generator) -> dict[str, float]:
    """The tolerance within which 99 of 100 differences of equals lie, of the variants that have no heavy tails."""
    distances: dict[str, list[float]] = defaultdict(list)
    for base, new in _splits(seeds, 200, source):
        for group in pool.values():
            for metric in COMPARED:
                values = by_seed(group, metric)
                if values:
                    found = difference({s: values[s] for s in base}, {s: values[s] for s in new})
                    if found.test != "ranks":
                        distances[metric.name].append(abs(found.value))
    return {name: float(np.quantile(own, 0.99)) for name, own in distances.items()}


def render(found: Report, alpha: float) -> str:
    """As a person reads it."""
    share = 100 * found.alarms / found.splits
    lines = [
        f"{found.seeds} seeds of one code; {found.splits:,} comparisons of {BASE} with {NEW} of them, alpha {alpha:g}:",
        f"false alarms: {found.alarms} = {share:.2g} % (95 % limits {100 * found.low:.2g} to {100 * found.high:.2g} %)",
        f"every gating metric reached a test in {found.reached:,} of them",
    ]
    lines += [f"  raised by {variant} {metric}: {n}" for (variant, metric), n in sorted(found.culprits.items())]
    lines += ["", "the smallest loss seen in 95 of 100 cases, by new seeds (gradient_variance as a ratio):"]
    for effect in found.effects:
        ratio = BY_NAME[effect.metric].scale == "log"
        texts = [
            f"{new}: " + ("by ranks" if math.isnan(v) else f"x {math.exp(v):.2f}" if ratio else f"{v:.2f}")
            for new, v in effect.smallest.items()
        ]
        lines.append(f"  {effect.key[1]:20} {effect.metric:18} {'  '.join(texts)}")
    lines += ["", "tolerances: present, and within which 99 of 100 differences of equals lie"]
    lines += [f"  {name:26} {BY_NAME[name].tolerance:<8g} {value:.3g}" for name, value in found.proposed.items()]
    return "\n".join(lines)
