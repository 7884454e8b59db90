"""Whether the same work takes longer: only measurements that alternated on one machine can say so."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection
from itertools import groupby

import numpy as np

from benchmarks.metrics import BY_NAME, Metric
from benchmarks.regressions.differences import difference
from benchmarks.regressions.groups import Rows
from benchmarks.regressions.verdicts import Question, Verdict

ALTERNATIONS = 3  # blocks a side that ran in turns, from which on a loss of speed is more than advice
MARGIN = 0.05  # of the logarithm of the ratio: what is slower by less is not called slower
METRICS = (
    BY_NAME["processor_throughput"],
    BY_NAME["machine_fraction"],
    BY_NAME["throughput"],
    Metric("processor_seconds", "s", "lower", "processor time of the whole cell", "processor time"),
    Metric("peak_memory_mib", "MiB", "lower", "largest resident memory of the cell's process", "memory"),
)
GATING = METRICS[:3]  # the first that both sides have


def questions(dataset: str, variant: str, base: Rows, new: Rows, names: Collection[str]) -> list[Question | Verdict]:
    """Of the last rows of either side's whole cells: the first measure of speed that both have, and the advice."""
    kept = [
        metric
        for metric in METRICS
        if metric.name in names and all((side.get(metric.name) > 0).any() for side in (base, new))
    ]
    speeds = [metric for metric in kept if metric in GATING][:1]
    others = [metric for metric in kept if metric not in GATING]
    return [ask(dataset, variant, metric, base, new, metric in speeds) for metric in (*speeds, *others)]


def ask(dataset: str, variant: str, metric: Metric, base: Rows, new: Rows, gates: bool) -> Question | Verdict:
    """Of one metric, in logarithms. gates: whether it may fail the comparison, where both sides ran in turns."""
    old, own = (float(np.nanmedian(side.get(metric.name))) for side in (base, new))
    for what in ("processors", "modes"):
        before, now = getattr(base, what), getattr(new, what)
        if len(before | now) > 1:
            note = f"{what} differ: {_list(now)}, and {_list(before)} before"
            return Verdict(dataset, variant, metric.name, "incomparable", old, own, advice=True, note=note)
    sides = in_turns(base, new, metric.name)
    decides = gates and min(map(len, sides)) >= ALTERNATIONS
    note = "did not run in turns, so advice alone" if gates and not decides else ""
    asked = Verdict(
        dataset, variant, metric.name, "unchanged", old, own, tolerance=MARGIN, advice=not decides, note=note
    )
    if decides:  # a turn of either side is a pair
        return Question(asked, difference(*(dict(enumerate(side)) for side in sides)), metric)
    before, now = (np.log(values[values > 0]).tolist() for values in (side.get(metric.name) for side in (base, new)))
    return Question(asked, difference(dict(enumerate(before)), dict(enumerate(now, len(before)))), metric)


def _list(names: Collection[str]) -> str:
    return ", ".join(name or "unknown" for name in sorted(names))


def in_turns(base: Rows, new: Rows, name: str) -> list[list[float]]:
    """The logarithms of the medians of the blocks that each side ran before it was the other's turn, in time.

    None where a block began before the one before it had ended: what ran at the same time had no turns.
    """
    cells = sorted(
        (start, end or start, side, value)
        for side, rows in enumerate((base, new))
        for start, end, value in zip(
            *(column.tolist() for column in (rows.started, rows.ended, rows.get(name))), strict=True
        )
        if value > 0
    )
    sides: list[list[float]] = [[], []]
    before = ""
    for side, block in groupby(cells, key=lambda cell: cell[2]):
        starts, ends, _, values = zip(*block, strict=True)
        if min(starts) < before:
            return [[], []]
        before = max(ends)
        sides[side].append(math.log(statistics.median(values)))
    return sides
