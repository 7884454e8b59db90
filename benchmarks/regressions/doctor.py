"""How far `compare` can be believed: seeds of one and the same code, held against each other many times over.

Each time disjoint seeds for a baseline and for a new run go through the whole comparison.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.errors import UserError
from benchmarks.regressions.comparison import COMPARED, by_seed
from benchmarks.regressions.differences import difference
from benchmarks.regressions.effects import Effect, effects
from benchmarks.regressions.groups import groups
from benchmarks.regressions.resampling import (
    BASE,
    GATING,
    NEW,
    Effort,
    Groups,
    Outcome,
    Rate,
    Split,
    compared,
    rates,
    splits,
    whole_seeds,
)
from benchmarks.regressions.verdicts import SEEDS, Verdict, exit_code

CODE = "exit code 1"


@dataclass(frozen=True)
class Report:
    """seeds: of the pool. alarms: how often a comparison of equals ends with exit code 1, and how often by each metric.

    reached: the share of comparisons in which every variant's gating metrics reached a test. culprits: which verdicts
    raised an alarm, and how often, in all comparisons that were made. proposed: for each data set and metric the
    tolerance within which 99 of 100 differences of equals lie.
    """

    seeds: int
    alarms: Mapping[str, Rate]
    reached: float
    culprits: Mapping[tuple[str, str], int]
    effects: Sequence[Effect]
    proposed: Mapping[tuple[str, str], float]


def examine(results: pd.DataFrame, alpha: float, effort: Effort, seed: int = 0) -> Report:
    """Relabel the seeds of these results; `UserError` where they are too few."""
    pool = groups(results)
    seeds = whole_seeds(pool)
    _enough(seeds, 2 * (BASE + NEW), "")
    _comparable(pool, pool, (seeds, seeds), alpha)
    source = np.random.default_rng(seed)
    reached, culprits = list[bool](), Counter[tuple[str, str]]()

    def outcome(split: Split) -> Outcome:
        found = compared(pool, pool, split, alpha)
        reached.append(all(v.word != "identical" for v in found))
        culprits.update((v.variant, v.metric) for v in found if v.word == "regressed" and not v.advice)
        return _outcome(found)

    alarms = rates(outcome, seeds, seeds, source, effort)
    found = list(effects(pool, seeds, alpha, source))
    return Report(len(seeds), alarms, float(np.mean(reached)), culprits, found, _proposed(pool, seeds, source))


def detected(
    results: pd.DataFrame, worse: pd.DataFrame, alpha: float, effort: Effort, seed: int = 0
) -> dict[str, Rate]:
    """How often a new run of the second code against a baseline of the first is called worse, and by which metric."""
    before, now = groups(results), groups(worse)
    ours = whole_seeds(before)
    theirs = [seed for seed in whole_seeds(now) if seed not in ours]
    _enough(ours, 2 * BASE, " of the first run")
    _enough(theirs, 2 * NEW, " of the second run, and not in the first,")
    _comparable(before, now, (ours, theirs), alpha)
    source = np.random.default_rng(seed)
    return rates(lambda split: _outcome(compared(before, now, split, alpha)), ours, theirs, source, effort)


def _comparable(before: Groups, now: Groups, split: Split, alpha: float) -> None:
    """Refuse what no comparison is made of."""
    found = compared(before, now, split, alpha)
    for verdict in found:
        if verdict.word in ("incomparable", "missing", "new", "failed"):
            raise UserError(f"{verdict.variant} on {verdict.dataset}: {verdict.word} ({verdict.note}); run both alike")
    if not any(not v.advice and v.metric != SEEDS for v in found):
        raise UserError("no variant of it has a metric that decides, so there is nothing to examine; run others too")


def _enough(seeds: Sequence[int], needed: int, whose: str) -> None:
    if len(seeds) < needed:
        raise UserError(
            f"{len(seeds)} seeds{whose} are whole in every variant; to draw {BASE} for a baseline and {NEW} new ones "
            f"again and again takes {needed}, better more: run with more --seeds"
        )


def _outcome(found: Sequence[Verdict]) -> dict[str, bool]:
    """Whether it ends with exit code 1, and whether by each metric."""
    regressed = {v.metric for v in found if v.word == "regressed" and not v.advice}
    return {CODE: exit_code(found) == 1, **{metric.name: metric.name in regressed for metric in GATING}}


def _proposed(pool: Groups, seeds: Sequence[int], source: np.random.Generator) -> dict[tuple[str, str], float]:
    """The tolerance within which 99 of 100 differences of equals lie, of the variants that have no heavy tails."""
    distances: dict[tuple[str, str], list[float]] = defaultdict(list)
    for base, new in splits(seeds, seeds, 200, source):
        for (dataset, _), group in pool.items():
            for metric in COMPARED:
                values = by_seed(group, metric)
                if values:
                    found = difference({s: values[s] for s in base}, {s: values[s] for s in new})
                    if found.test != "ranks":
                        distances[dataset, metric.name].append(abs(found.value))
    return {key: float(np.quantile(own, 0.99)) for key, own in distances.items()}
