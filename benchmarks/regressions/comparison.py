"""Two runs side by side: what can be compared of them, and what is asked of each data set, variant and metric."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd

from benchmarks import tables
from benchmarks.metrics import BY_NAME, METRICS, Metric
from benchmarks.regressions import speed
from benchmarks.regressions.differences import difference, far_off, more_often
from benchmarks.regressions.groups import Group, Key, Rows, groups
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
        return [_absent(dataset, variant, before, now)]
    if reason := _incomparable(old, own):
        return [Verdict(dataset, variant, SEEDS, "incomparable", note=reason)]
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


def _absent(dataset: str, variant: str, before: Mapping[Key, Group], now: Mapping[Key, Group]) -> Verdict:
    """A variant that one side has not, or has on other data alone."""
    there, here = ({data for data, known in side if known == variant} for side in (before, now))
    is_new = dataset in here
    side = "base" if is_new else "new"
    if there and here and not there & here:
        other = f"{side} has it on {', '.join(sorted(there if is_new else here))}, not on {dataset}"
        return Verdict(dataset, variant, SEEDS, "incomparable", note=other)
    return Verdict(dataset, variant, SEEDS, "new" if is_new else "missing", note=f"{side} has it not")


def _incomparable(old: Group, own: Group) -> str:
    """Why the two are not of the same protocol, or base is none to hold anything against; else nothing."""
    for side, group in (("base", old), ("new", own)):
        if len(group.protocols) > 1:
            return f"{side} mixes {len(group.protocols)} protocols; compare them one by one"
    if old.protocols != own.protocols:
        return (
            _what_differs(old, own) or "another protocol, or another definition of the variant, under the same settings"
        )
    if len(old.last.seeds) and len(own.last.seeds) and old.settings["epochs"] != own.settings["epochs"]:
        return f"{_what_differs(old, own)}, by an equal protocol: one of them is cut"
    if old.failed == old.cells:
        return f"base has no result of it: {old.failed} of {old.cells} failed"
    return ""


def _what_differs(old: Group, own: Group) -> str:
    changed = [
        f"{name} is {own.settings[name]} and was {old.settings[name]}"
        for name in own.settings
        if own.settings[name] != old.settings[name] and own.settings[name] == own.settings[name]
    ]
    return "; ".join(changed)


def _count(dataset: str, variant: str, old: Group, own: Group) -> Count:
    """Whether seeds are lost more often than before: diverged, without a result, or far off where tails are heavy."""
    elbo = BY_NAME["elbo"]
    far = far_off(*(np.array(list(measured(side, elbo).values())) for side in (old, own)))
    ended = old.cells - old.failed  # of those before that failed nothing is known
    before, now = old.lost + far[0], own.lost + own.failed + far[1]
    what = "lost or far off" if any(far) else "lost"
    notes = [f"{now} of {own.cells} {what}, {before} of {ended} before"] if now or before else []
    notes += [f"{own.failed} failed: run them again"] if own.failed else []
    notes += [f"base: {old.failed} of {old.cells} failed"] if old.failed else []
    asked = Verdict(
        dataset, variant, SEEDS, "failed" if own.failed else "unchanged", ended - before, own.cells - now,
        test="Fisher", note="; ".join(notes),
    )  # fmt: skip
    return Count(
        asked,
        worse=more_often(before, ended, now, own.cells),
        better=more_often(now, own.cells, before, ended),
        all_lost=now == own.cells and not before,
        more=now * ended > before * own.cells,
        some=bool(now or before),
    )


def _ask(dataset: str, variant: str, metric: Metric, old: Group, own: Group) -> Question | Verdict | None:
    """A question, or its answer where no statistics are needed; None where neither side has the metric."""
    base, new = (measured(side, metric) for side in (old, own))
    advice = not gates(metric, old, own)
    if not base or not new:
        if not base and not new:
            return None
        if not (len(old.last.seeds) and len(own.last.seeds)):
            return None  # all seeds are lost, and their count says so
        side = "base" if not base else "new"
        note = f"{side} has no values of it"
        return Verdict(dataset, variant, metric.name, "incomparable", advice=advice, note=note)
    if reason := _unlikely(metric, old, own, base, new):
        return Verdict(dataset, variant, metric.name, "failed", _centre(base), _centre(new), advice=advice, note=reason)
    asked = Verdict(
        dataset, variant, metric.name, "unchanged", _centre(base), _centre(new),
        tolerance=metric.tolerance_on(dataset), advice=advice,
    )  # fmt: skip
    shared = {seed: new[seed] for seed in base if seed in new}
    if shared in (base, new) and all(base[seed] == value for seed, value in shared.items()):
        both = _centre(shared)
        note = "" if base == new else f"by the {len(shared)} seeds that both have"
        return dataclasses.replace(asked, word="identical", base=both, new=both, note=note)
    return Question(asked, difference(by_seed(old, metric), by_seed(own, metric)), metric)


def _unlikely(metric: Metric, old: Group, own: Group, base: Mapping[int, float], new: Mapping[int, float]) -> str:
    """Why these numbers are none to judge by; nothing where they may be right."""
    for side, group, values in (("base", old, base), ("new", own, new)):
        cells = len(_rows(group, metric).seeds)
        if len(values) < cells:
            return f"{side} has it in {len(values)} of {cells} cells alone"
    zeros = sum(value == 0 for value in new.values())
    if metric.scale == "log" and zeros and all(base.values()):
        return f"0 in {zeros} of {len(new)} seeds, which no noise leaves"
    return ""


def _rows(group: Group, metric: Metric) -> Rows:
    return group.first if metric.checkpoint == "first" else group.last


def gates(metric: Metric, *groups: Group) -> bool:
    """Whether the metric decides of these: it does, or stands in for one that none of them has."""
    if metric.instead_of:
        return not any(measured(group, BY_NAME[metric.instead_of]) for group in groups)
    return metric.gates


def measured(group: Group, metric: Metric) -> dict[int, float]:
    """By seed, of the cells that are whole."""
    rows = _rows(group, metric)
    values = rows.get(metric.name)
    known = np.isfinite(values)
    return dict(zip(rows.seeds[known].tolist(), values[known].tolist(), strict=True))


def by_seed(group: Group, metric: Metric) -> dict[int, float]:
    """The same as differences are taken: logarithms where the metric's scale is one."""
    values = measured(group, metric)
    if metric.scale == "log":
        return {seed: math.log(max(value, TINY)) for seed, value in values.items()}
    return values


def _centre(values: Mapping[int, float]) -> float:
    return statistics.median(values.values())
