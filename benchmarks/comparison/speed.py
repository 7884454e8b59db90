"""Comparison of speed and memory. Only runs that took turns on one machine can decide."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection
from itertools import groupby

import numpy as np

from benchmarks.comparison.run_groups import Columns, Key
from benchmarks.comparison.verdicts import Pending, Verdict, make_metric_test
from benchmarks.reporting.metrics import METRIC_BY_NAME, Metric

MIN_TURNS = 3  # turns per run; with fewer, speed is only advice
SPEED_TOLERANCE = 0.05  # of the logarithm of the ratio: smaller slowdowns are not reported
SPEED_METRICS = (
    METRIC_BY_NAME["processor_throughput"],
    METRIC_BY_NAME["machine_fraction"],
    METRIC_BY_NAME["throughput"],
    Metric("processor_seconds", "s", "lower", "processor time of the whole cell", "processor time"),
    Metric("peak_memory_mib", "MiB", "lower", "largest resident memory of the cell's process", "memory"),
)
GATING_SPEED_METRICS = SPEED_METRICS[:3]  # only the first of them that both runs have affects the exit code


def make_speed_tests(key: Key, base: Columns, new: Columns, names: Collection[str]) -> list[Pending]:
    """Return the tests of the first speed metric that both runs have, and of processor time and memory as advice."""
    measured = [
        metric
        for metric in SPEED_METRICS
        if metric.name in names and all((rows[metric.name] > 0).any() for rows in (base, new))
    ]
    speeds = [metric for metric in measured if metric in GATING_SPEED_METRICS][:1]
    others = [metric for metric in measured if metric not in GATING_SPEED_METRICS]
    return [make_speed_test(key, metric, base, new, metric in speeds) for metric in (*speeds, *others)]


def make_speed_test(key: Key, metric: Metric, base: Columns, new: Columns, gates: bool) -> Pending:
    """Return the test of one metric, in logarithms. gates: it affects the exit code if the runs took turns."""
    medians = float(np.nanmedian(base[metric.name])), float(np.nanmedian(new[metric.name]))
    for kind in filter(base.__contains__, ("processor", "mode", "timer")):
        base_kinds, new_kinds = ({*rows[kind].tolist()} for rows in (base, new))
        if len(base_kinds | new_kinds) > 1:
            note = f"{kind}s differ: {_join(base_kinds)} in base, {_join(new_kinds)} in new"
            return Verdict(*key, metric.name, "incomparable", *medians, advice=True, note=note)
    turns = find_turns(base, new, metric.name)
    decides = gates and min(map(len, turns)) >= MIN_TURNS
    note = "only advice: base and new did not take turns" if gates and not decides else ""
    draft = Verdict(*key, metric.name, "unchanged", *medians, tolerance=SPEED_TOLERANCE, advice=not decides, note=note)
    if decides:
        base_logs, new_logs, offset = *turns, 0  # equal keys make a pair of each turn of base and the next turn of new
    else:
        base_logs, new_logs = (np.log(rows[metric.name][rows[metric.name] > 0]).tolist() for rows in (base, new))
        offset = len(base_logs)
    return make_metric_test(draft, metric.direction, dict(enumerate(base_logs)), dict(enumerate(new_logs, offset)))


def _join(names: Collection[str]) -> str:
    return " and ".join(name or "unknown" for name in sorted(names))


def find_turns(base: Columns, new: Columns, name: str) -> list[list[float]]:
    """Return, for each run, the logarithm of the median over each of its turns, in order of time.

    A turn is a block of cells of one run that no cell of the other run interrupts. Both lists are empty if a turn began
    before the last one ended: the runs then overlapped.
    """
    cells = sorted(
        (start, end or start, side, value)
        for side, rows in enumerate((base, new))
        for start, end, value in zip(*(rows[column].tolist() for column in ("started", "ended", name)), strict=True)
        if value > 0
    )
    turns: list[list[float]] = [[], []]
    last_end = ""
    for side, block in groupby(cells, key=lambda cell: cell[2]):
        starts, ends, _, values = zip(*block, strict=True)
        if min(starts) < last_end:
            return [[], []]
        last_end = max(ends)
        turns[side].append(math.log(statistics.median(values)))
    return turns
