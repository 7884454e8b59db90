"""Two runs side by side: what can be compared of them, and what is asked of each data set, variant and metric."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks import tables
from benchmarks.metrics import METRICS, Metric
from benchmarks.regressions import speed
from benchmarks.regressions.differences import difference, more_often
from benchmarks.regressions.groups import Group, Key, groups
from benchmarks.regressions.verdicts import SEEDS, Asked, Count, Question, Verdict, answered

ALPHA = 0.01
TINY = 1e-300  # the logarithm of 0 is that of this
COMPARED = tuple(metric for metric in METRICS if metric.tolerance > 0)
NAMES = tuple(metric.name for metric in (*COMPARED, *speed.METRICS))
PLACES = (SEEDS, *NAMES)


def compare(
    base: pd.DataFrame, new: pd.DataFrame, names: Collection[str] = NAMES, alpha: float = ALPHA
) -> list[Verdict]:
    """A verdict for each data set, variant and metric of either run."""
    return judged(groups(base), groups(new), _faults(base, "base") | _faults(new, "new"), names, alpha)


def judged(
    before: Mapping[Key, Group],
    now: Mapping[Key, Group],
    faults: Mapping[Key, str],
    names: Collection[str],
    alpha: float,
) -> list[Verdict]:
    """The same of runs by data set and variant. faults: where rows contradict each other."""
    keys = list(dict.fromkeys([*before, *now]))
    asked: list[Asked] = []
    for key in keys:
        asked += _pair(key, before, now, faults.get(key), names)
    found = answered(asked, alpha)
    order = {key: i for i, key in enumerate(keys)}
    return sorted(found, key=lambda v: (order[v.dataset, v.variant], PLACES.index(v.metric)))


def _pair(
    key: Key, before: Mapping[Key, Group], now: Mapping[Key, Group], fault: str | None, names: Collection[str]
) -> list[Asked]:
    """What is asked of one data set and variant, or settled at once."""
    (dataset, variant), old, own = key, before.get(key), now.get(key)
    if fault:
        return [Verdict(dataset, variant, SEEDS, "failed", note=fault)]
    if old is None or own is None:
        elsewhere = before if old is None else now
        return [_absent(dataset, variant, sorted(data for data, known in elsewhere if known == variant), old is None)]
    if old.protocols != own.protocols:
        return [Verdict(dataset, variant, SEEDS, "incomparable", note=_what_differs(old, own))]
    asked = [_ask(dataset, variant, metric, old, own) for metric in COMPARED if metric.name in names]
    timed = speed.questions(dataset, variant, old.last, own.last, names)
    return [_count(dataset, variant, old, own), *(one for one in asked if one is not None), *timed]


def _faults(results: pd.DataFrame, side: str) -> dict[Key, str]:
    """Of each data set and variant the first row that can't be true."""
    found: dict[Key, str] = {}
    for row, reason in tables.contradictions(results):
        where = f"{side}, seed {row['seed']}, epoch {row['epoch']:.0f}"
        found.setdefault((str(row["dataset"]), str(row["variant"])), f"{where}: {reason}")
    return found


def _absent(dataset: str, variant: str, there: Sequence[str], is_new: bool) -> Verdict:
    """A variant that one side has not, or has on other data alone."""
    side = "base" if is_new else "new"
    if there:
        other = f"{side} has it on {', '.join(there)}, not on {dataset}"
        return Verdict(dataset, variant, SEEDS, "incomparable", note=other)
    return Verdict(dataset, variant, SEEDS, "new" if is_new else "missing", note=f"{side} has it not")


def _what_differs(old: Group, own: Group) -> str:
    changed = [
        f"{name} is {own.settings[name]} and was {old.settings[name]}"
        for name in own.settings
        if own.settings[name] != old.settings[name] and own.settings[name] == own.settings[name]
    ]
    return "; ".join(changed) or "another protocol, or another definition of the variant, under the same settings"


def _count(dataset: str, variant: str, old: Group, own: Group) -> Count:
    """Whether seeds are lost more often than before."""
    before, now = old.lost + old.failed, own.lost + own.failed
    lost = f"{now} of {own.cells} lost, {before} of {old.cells} before" if now or before else ""
    failed = f"; {own.failed} failed: run them again" if own.failed else ""
    asked = Verdict(
        dataset, variant, SEEDS, "failed" if own.failed else "unchanged", old.cells - before, own.cells - now,
        test="Fisher", note=lost + failed,
    )  # fmt: skip
    return Count(asked, more_often(before, old.cells, now, own.cells), all_lost=now == own.cells and not before)


def _ask(dataset: str, variant: str, metric: Metric, old: Group, own: Group) -> Question | Verdict | None:
    """A question, or its answer where no statistics are needed; None where neither side has the metric."""
    base, new = (by_seed(side, metric) for side in (old, own))
    if not base or not new:
        if not base and not new:
            return None
        if not (len(old.last.seeds) and len(own.last.seeds)):
            return None  # all seeds are lost, and their count says so
        side = "base" if not base else "new"
        return Verdict(dataset, variant, metric.name, "incomparable", note=f"{side} has no values of it")
    asked = Verdict(
        dataset, variant, metric.name, "unchanged", _centre(metric, base), _centre(metric, new),
        tolerance=metric.tolerance_on(dataset), advice=not metric.gates,
    )  # fmt: skip
    shared = {seed: new[seed] for seed in base if seed in new}
    if shared in (base, new) and all(base[seed] == value for seed, value in shared.items()):
        both = _centre(metric, shared)
        note = "" if base == new else f"by the {len(shared)} seeds that both have"
        return dataclasses.replace(asked, word="identical", base=both, new=both, note=note)
    return Question(asked, difference(base, new), metric)


def by_seed(group: Group, metric: Metric) -> dict[int, float]:
    """By seed, as differences are taken."""
    rows = group.first if metric.checkpoint == "first" else group.last
    values = rows.get(metric.name)
    if metric.scale == "log":
        values = np.log(np.maximum(values, TINY))
    known = np.isfinite(values)
    return dict(zip(rows.seeds[known].tolist(), values[known].tolist(), strict=True))


def _centre(metric: Metric, values: Mapping[int, float]) -> float:
    """The median over seeds, in the metric's unit."""
    value = statistics.median(values.values())
    if metric.scale == "log":
        return 0.0 if value <= math.log(TINY) else math.exp(value)
    return value
