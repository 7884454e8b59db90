"""Figure of the history: each metric over runs, as the change since the first run. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.comparison.history.history_table import SPEED_NAMES, format_run_label
from benchmarks.comparison.speed import SPEED_TOLERANCE
from benchmarks.reporting.figures import style
from benchmarks.reporting.formats import ARROWS, format_decimal
from benchmarks.reporting.metrics import METRIC_BY_NAME, Metric

VIEW_TOLERANCES = 6  # limit of the y-axis, in tolerances or median distances; the number at the right is not cut
ROW_INCHES = 0.62  # height of a row
BARE_STYLE: dict[str, Any] = {"axes.spines.left": False, "axes.spines.bottom": False, "font.size": 8}
BETTER, WORSE, NEITHER = "#0a6b4f", "#b03a2e", "0.35"


def draw_history(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Draw a row of panels for each data set and variant, a column for each metric, and runs from left to right.

    A panel shows the mean over seeds with its 95 % interval, minus the mean of the first run. The number at the right
    is the last value. Units: natural logarithm if the scale is "log", per cent for speed. Grey marks the tolerance.
    """
    table = table[table["metric"].isin(names)]
    counts = table.groupby(["dataset", "variant"])["started"].transform("nunique")
    table = table[counts > 1] if (counts > 1).any() else table  # a single run has no history
    drawn = [name for name in names if (table["metric"] == name).any()]
    runs = list(dict.fromkeys(zip(table["started"], table["commit"], strict=True)))
    panels = dict(list(table.groupby(["dataset", "variant", "metric"], sort=False)))
    models = list(dict.fromkeys((dataset, variant) for dataset, variant, _ in panels))
    many_datasets = len({dataset for dataset, _ in models}) > 1
    with plt.rc_context(style.plot_style("ticks") | BARE_STYLE):
        size = (1.6 + 3.4 * len(drawn), 1.2 + ROW_INCHES * len(models))
        figure, grid = plt.subplots(len(models), len(drawn), figsize=size, squeeze=False, sharex=True)
        for row, (dataset, variant) in zip(grid, models, strict=True):
            for axes, name in zip(row, drawn, strict=True):
                axes.tick_params(left=False, bottom=False, labelleft=False)
                if (rows := panels.get((dataset, variant, name))) is not None:
                    _draw_panel(axes, METRIC_BY_NAME[name], str(dataset), rows, runs)
            label = f"{variant}\n{dataset}" if many_datasets else str(variant)
            row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for axes, name in zip(grid[0], drawn, strict=True):
            metric = METRIC_BY_NAME[name]
            unit = "natural logarithm" if metric.scale == "log" else metric.unit
            unit = "%" if name in SPEED_NAMES else unit
            axes.set_title(f"{metric.title}{ARROWS[metric.direction]}\n({unit})", fontsize=9)
        ticks = sorted({round(i) for i in np.linspace(0, len(runs) - 1, min(len(runs), 4))})
        for axes in grid[-1]:
            axes.set_xlim(-0.5, len(runs) - 0.5)
            axes.set_xticks(ticks, ["\n".join(format_run_label(*runs[i])) for i in ticks], fontsize=style.SMALL)
        where = "" if many_datasets else f" on {models[0][0]}"
        figure.suptitle(f"Change since the first run{where} (grey: tolerance)", fontsize=10, x=0.01, ha="left")
    return figure


def _draw_panel(axes: Axes, metric: Metric, dataset: str, rows: pd.DataFrame, runs: list[tuple[str, str]]) -> None:
    positions = [runs.index(run) for run in zip(rows["started"], rows["commit"], strict=True)]
    first = rows["mean"].iloc[0]
    unit = first / 100 if metric.name in SPEED_NAMES else 1.0
    change = ((rows["mean"] - first) / unit).to_numpy(dtype=float)
    half_width = np.nan_to_num((rows["half_width"] / unit).to_numpy(dtype=float), posinf=0)
    tolerance = (
        100 * SPEED_TOLERANCE
        if metric.name in SPEED_NAMES
        else metric.tolerance_on(dataset, rows["dimensions"].iloc[0])
    )
    if tolerance:
        axes.axhspan(-tolerance, tolerance, color="0.92", linewidth=0)
    axes.axhline(0, color="0.7", linewidth=0.6)
    axes.errorbar(positions, change, half_width, color="0.15", marker="o", markersize=3, linewidth=1, capsize=2)
    distances = np.abs(change) + half_width
    distances = distances[np.isfinite(distances)]
    if distances.size and distances.max() > 0:
        limit = min(1.1 * distances.max(), VIEW_TOLERANCES * max(tolerance, float(np.median(distances))))
        limit = max(limit, 1.5 * tolerance)
        axes.set_ylim(-limit, limit)
    last = round(change[-1], digits := 1 if metric.name in SPEED_NAMES else metric.decimals)
    axes.annotate(
        format_decimal(last + 0, digits, "+"),  # + 0 turns -0 into 0
        (1.01, 0.5), xycoords="axes fraction", va="center",
        color=_choose_colour(metric, change[-1], half_width[-1], tolerance),
    )  # fmt: skip


def _choose_colour(metric: Metric, change: float, half_width: float, tolerance: float) -> str:
    if metric.direction == "none" or metric.name in SPEED_NAMES or not abs(change) > tolerance + half_width:
        return NEITHER  # for speed always, because these runs did not take turns
    return BETTER if (change > 0) == (metric.direction == "higher") else WORSE
