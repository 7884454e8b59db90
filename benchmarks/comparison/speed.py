"""Comparison of speed and memory. Only runs that took turns on one machine can decide."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection
from itertools import groupby

import numpy as np

from benchmarks.comparison.run_groups import SeedRows
from benchmarks.comparison.two_sample import compare_samples
from benchmarks.comparison.verdicts import MetricTest, Verdict
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


def make_speed_tests(
    dataset: str, variant: str, base: SeedRows, new: SeedRows, names: Collection[str]
) -> list[MetricTest | Verdict]:
    """Return the tests of the first speed metric that both runs have, and of processor time and memory as advice."""
    measured = [
        metric
        for metric in SPEED_METRICS
        if metric.name in names and all((rows.numbers[metric.name] > 0).any() for rows in (base, new))
    ]
    speeds = [metric for metric in measured if metric in GATING_SPEED_METRICS][:1]
    others = [metric for metric in measured if metric not in GATING_SPEED_METRICS]
    return [make_speed_test(dataset, variant, metric, base, new, metric in speeds) for metric in (*speeds, *others)]


def make_speed_test(
    dataset: str, variant: str, metric: Metric, base: SeedRows, new: SeedRows, gates: bool
) -> MetricTest | Verdict:
    """Return the test of one metric, in logarithms. gates: it affects the exit code if the runs took turns."""
    base_median, new_median = (float(np.nanmedian(rows.numbers[metric.name])) for rows in (base, new))
    for kind in ("processors", "modes"):
        base_kinds, new_kinds = getattr(base, kind), getattr(new, kind)
        if len(base_kinds | new_kinds) > 1:
            note = f"{kind} differ: {_join(base_kinds)} in base, {_join(new_kinds)} in new"
            return Verdict(
                dataset, variant, metric.name, "incomparable", base_median, new_median, advice=True, note=note
            )
    turns = find_turns(base, new, metric.name)
    decides = gates and min(map(len, turns)) >= MIN_TURNS
    note = "only advice: base and new did not take turns" if gates and not decides else ""
    draft = Verdict(
        dataset, variant, metric.name, "unchanged", base_median, new_median,
        tolerance=SPEED_TOLERANCE, advice=not decides, note=note,
    )  # fmt: skip
    if decides:  # the same key for both makes a pair of each turn of base and the next turn of new
        return MetricTest(draft, compare_samples(*(dict(enumerate(values)) for values in turns)), metric)
    columns = (rows.numbers[metric.name] for rows in (base, new))
    base_logs, new_logs = (np.log(values[values > 0]).tolist() for values in columns)
    unpaired = dict(enumerate(base_logs)), dict(enumerate(new_logs, len(base_logs)))
    return MetricTest(draft, compare_samples(*unpaired), metric)


def _join(names: Collection[str]) -> str:
    return " and ".join(name or "unknown" for name in sorted(names))


def find_turns(base: SeedRows, new: SeedRows, name: str) -> list[list[float]]:
    """Return, for each run, the logarithm of the median over each of its turns, in order of time.

    A turn is a block of cells of one run that no cell of the other run interrupts. Both lists are empty if a turn began
    before the last one ended: the runs then overlapped.
    """
    cells = sorted(
        (start, end or start, side, value)
        for side, rows in enumerate((base, new))
        for start, end, value in zip(
            *(column.tolist() for column in (rows.started, rows.ended, rows.numbers[name])), strict=True
        )
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
