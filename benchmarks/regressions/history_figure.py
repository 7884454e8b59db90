"""What changes slowly: each metric over runs, as the change since the first. Needs no torch."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.metrics import BY_NAME

VIEW = 6  # times the median distance from 0: further out nothing is drawn


def draw(table: pd.DataFrame, names: Sequence[str]) -> Figure:
    """A panel for each data set and metric, a line for each variant (mean, 95 % interval), runs from left to right."""
    panels = [
        (str(dataset), str(metric), own)
        for (dataset, metric), own in table.groupby(["dataset", "metric"], sort=False)
        if metric in names
    ]
    look = plots.looks(list(dict.fromkeys(table["variant"])))
    with plt.rc_context(plots.house_style("ticks")):
        figure, grid = plt.subplots(len(panels), 1, figsize=(9, 3 * len(panels)), squeeze=False)
        for axes, (dataset, metric, own) in zip(grid.ravel(), panels, strict=True):
            _panel(axes, dataset, metric, own, look)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right upper", fontsize=8)
    return figure


def _panel(axes: Axes, dataset: str, name: str, table: pd.DataFrame, look: plots.Look) -> None:
    metric = BY_NAME[name]
    tolerance = metric.tolerance_on(dataset)
    moments = list(dict.fromkeys(zip(table["started"], table["commit"], strict=True)))
    reach = []
    for variant, own in table.groupby("variant", sort=False):
        at = [moments.index(moment) for moment in zip(own["started"], own["commit"], strict=True)]
        change = own["mean"] - own["mean"].iloc[0]
        axes.errorbar(at, change, own["half_width"], capsize=2, markersize=4, label=str(variant), **look[str(variant)])
        reach += (change.abs() + own["half_width"]).dropna().tolist()
    if reach and max(reach) > (bound := max(VIEW * statistics.median(reach), 1.5 * tolerance)):
        axes.set_ylim(-bound, bound)  # what explodes leaves the view; the table has it
    axes.axhline(0, color="0.6", linewidth=0.8)
    if tolerance and metric.gates:
        axes.axhspan(-tolerance, tolerance, color="0.93", zorder=0)
    axes.set_xticks(
        range(len(moments)), [f"{str(day)[:10]}\n{str(commit)[:10]}" for day, commit in moments], fontsize=8
    )
    unit = "logarithm of the ratio" if metric.scale == "log" else metric.unit
    axes.set_ylabel(f"change ({unit})")
    grey = "; grey: within the tolerance" if tolerance and metric.gates else ""
    axes.set_title(f"{metric.title} on {dataset}: change since the first run{grey}", fontsize=10)
