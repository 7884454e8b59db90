"""How cost grows: exponents, table and figure from results/growth, made by `python -m benchmarks.micro.growth`."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.common.seed_statistics import fit_slope
from benchmarks.reporting.figures import style
from benchmarks.reporting.formats import markdown_table

RESULTS = Path(__file__).parents[1] / "results" / "growth" / "growth.csv"
UNITS = {
    "cells": ("cells that do nothing", "s of the run", "MiB of the command"),
    "latents": ("latents D", "s of a step", "MiB of a cell"),
    "draws": ("draws K", "s of a step", "MiB of a cell"),
    "pixels": ("numbers in an image", "s of a step", "MiB of a cell"),
}
BLUE, GREY = "#08519c", "0.6"


def fit_exponent(rows: pd.DataFrame, cost: str) -> float:
    """Return the slope of log(cost - first cost) by log(value - first value): 1 for a constant plus a multiple.

    Values whose cost is within a quarter of the first one are left out, because the difference is noise; NaN with fewer
    than two others.
    """
    first = rows.iloc[0]
    added = rows[rows[cost] > 1.25 * first[cost]]
    if len(added) < 2:
        return float("nan")
    return fit_slope((added["value"] - first["value"]).tolist(), (added[cost] - first[cost]).tolist()).value


def read_axes() -> dict[str, pd.DataFrame]:
    """Return the rows of each axis."""
    return {str(axis): rows for axis, rows in pd.read_csv(RESULTS).groupby("axis", sort=False)}


def growth_markdown() -> str:
    """Return the table of costs at the ends of each axis, with the exponents of time."""
    lines = []
    for axis, rows in read_axes().items():
        if axis not in UNITS:
            continue
        name, unit, _ = UNITS[axis]
        first, last = rows.iloc[0], rows.iloc[-1]
        lines.append(
            [
                f"{name}, {first['value']:,.0f} to {last['value']:,.0f}",
                f"{first['seconds']:.3g} to {last['seconds']:.3g} {unit}",
                f"{fit_exponent(rows, 'seconds'):.2f}",
                f"{first['memory']:,.0f} to {last['memory']:,.0f}",
                f"{first['disk']:.2g} to {last['disk']:.2g}",
            ]
        )
    return markdown_table(["what grows", "time", "exponent", "memory, MiB", "disk, MiB"], lines)


def draw_growth() -> Figure:
    """Draw time and memory by each axis; a dotted line is a constant plus a multiple, through both ends."""
    axes_rows = {axis: rows for axis, rows in read_axes().items() if axis in UNITS}
    with plt.rc_context(style.plot_style("ticks")):
        figure, panels = plt.subplots(2, len(axes_rows), figsize=(style.WIDTH, 4.6), sharex="col")
        for column, (axis, rows) in enumerate(axes_rows.items()):
            name, time_unit, memory_unit = UNITS[axis]
            _draw(panels[0, column], rows, "seconds")
            _draw(panels[1, column], rows, "memory")
            panels[0, column].set_yscale("log")
            panels[0, column].yaxis.set_major_locator(LogLocator(subs=(1, 3)))
            panels[0, column].yaxis.set_major_formatter("{x:g}")
            panels[0, column].yaxis.set_minor_formatter(NullFormatter())
            panels[1, column].set_ylim(bottom=0)
            panels[0, column].set(title=f"exponent {fit_exponent(rows, 'seconds'):.2f}", ylabel=time_unit)
            panels[1, column].set(xlabel=name, ylabel=memory_unit)
        style.set_title(figure, "Time is a constant plus a multiple of each size")
        style.add_note(figure, "Dotted: a constant plus a multiple of the size, through the first and the last point.")
        return figure


def _draw(axes: Axes, rows: pd.DataFrame, cost: str) -> None:
    first, last = rows.iloc[0], rows.iloc[-1]
    share = (rows["value"] - first["value"]) / (last["value"] - first["value"])
    axes.plot(rows["value"], first[cost] + share * (last[cost] - first[cost]), color=GREY, linestyle="dotted")
    axes.plot(rows["value"], rows[cost], color=BLUE, marker="o", linestyle="none")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=4))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
