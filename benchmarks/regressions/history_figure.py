"""What changes slowly: each metric over runs, as the change since the first. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.formats import decimal
from benchmarks.metrics import BY_NAME, Metric
from benchmarks.regressions.history import SPEED, label
from benchmarks.regressions.speed import MARGIN

VIEW = 6  # tolerances, or medians of what is drawn: further out nothing is drawn, and the number beside tells
INCHES = 0.62  # of a row
BARE: dict[str, Any] = {"axes.spines.left": False, "axes.spines.bottom": False, "font.size": 8}
BETTER, WORSE, NEITHER = "#0a6b4f", "#b03a2e", "0.35"


def draw(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """A row for each data set and variant, a column for each metric; runs from left to right.

    Each panel is the mean over seeds with its 95 % interval, less the first run's mean, and beside it the last run's;
    where the scale is log, natural logarithms, and percent where it is speed. Grey is what lies within the tolerance.
    """
    table = table[table["metric"].isin(names)]
    runs = table.groupby(["dataset", "variant"])["started"].transform("nunique")
    table = table[runs > 1] if (runs > 1).any() else table  # what ran once has no history
    shown = [name for name in names if (table["metric"] == name).any()]
    moments = list(dict.fromkeys(zip(table["started"], table["commit"], strict=True)))
    own = dict(list(table.groupby(["dataset", "variant", "metric"], sort=False)))
    models = list(dict.fromkeys((dataset, variant) for dataset, variant, _ in own))
    several = len({dataset for dataset, _ in models}) > 1
    with plt.rc_context(plots.house_style("ticks") | BARE):
        size = (1.6 + 3.4 * len(shown), 1.2 + INCHES * len(models))
        figure, grid = plt.subplots(len(models), len(shown), figsize=size, squeeze=False, sharex=True)
        for line, (dataset, variant) in zip(grid, models, strict=True):
            for axes, name in zip(line, shown, strict=True):
                axes.tick_params(left=False, bottom=False, labelleft=False)
                if (rows := own.get((dataset, variant, name))) is not None:
                    _panel(axes, BY_NAME[name], str(dataset), rows, moments)
            label = f"{variant}\n{dataset}" if several else str(variant)
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for axes, name in zip(grid[0], shown, strict=True):
            axes.set_title(_title(BY_NAME[name]), fontsize=9)
        for axes in grid[-1]:
            _name(axes, moments)
        where = "" if several else f" on {models[0][0]}"
        figure.suptitle(
            f"Change since the first run{where} (grey: within the tolerance)", fontsize=10, x=0.01, ha="left"
        )
    return figure


def _panel(axes: Axes, metric: Metric, dataset: str, rows: pd.DataFrame, moments: list[tuple[str, str]]) -> None:
    at = [moments.index(moment) for moment in zip(rows["started"], rows["commit"], strict=True)]
    first = rows["mean"].iloc[0]
    per = first / 100 if metric.name in SPEED else 1.0
    change = ((rows["mean"] - first) / per).to_numpy(dtype=float)
    half = np.nan_to_num((rows["half_width"] / per).to_numpy(dtype=float), posinf=0)
    tolerance = 100 * MARGIN if metric.name in SPEED else metric.tolerance_on(dataset)
    if tolerance:
        axes.axhspan(-tolerance, tolerance, color="0.92", linewidth=0)
    axes.axhline(0, color="0.7", linewidth=0.6)
    axes.errorbar(at, change, half, color="0.15", marker="o", markersize=3, linewidth=1, capsize=2)
    reach = np.abs(change) + half
    reach = reach[np.isfinite(reach)]
    if reach.size and reach.max() > 0:
        bound = min(1.1 * reach.max(), VIEW * max(tolerance, float(np.median(reach))))
        bound = max(bound, 1.5 * tolerance)
        axes.set_ylim(-bound, bound)
    last = round(change[-1], digits := 1 if metric.name in SPEED else metric.decimals)
    axes.annotate(
        decimal(last + 0, digits, "+"),  # no -0
        (1.01, 0.5), xycoords="axes fraction", va="center", color=_colour(metric, change[-1], half[-1], tolerance),
    )  # fmt: skip


def _colour(metric: Metric, change: float, half: float, tolerance: float) -> str:
    if metric.direction == "none" or metric.name in SPEED or not abs(change) > tolerance + half:
        return NEITHER  # speed least of all: these runs had no turns
    return BETTER if (change > 0) == (metric.direction == "higher") else WORSE


def _title(metric: Metric) -> str:
    arrow = {"higher": " ↑", "lower": " ↓", "none": ""}[metric.direction]
    unit = "%" if metric.name in SPEED else "natural logarithm" if metric.scale == "log" else metric.unit
    return f"{metric.title}{arrow}\n({unit})"


def _name(axes: Axes, moments: list[tuple[str, str]]) -> None:
    shown = sorted({round(i) for i in np.linspace(0, len(moments) - 1, min(len(moments), 4))})
    axes.set_xlim(-0.5, len(moments) - 0.5)
    axes.set_xticks(shown, ["\n".join(label(*moments[i])) for i in shown], fontsize=7)
