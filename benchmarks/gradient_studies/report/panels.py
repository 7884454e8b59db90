"""Panels of the gradient figures: their rows, lines, axes, and the figures of trained models."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from benchmarks.common import seed_statistics
from benchmarks.gradient_studies.report.tables import select_best_rates, split_by_likelihood
from benchmarks.reporting import plots
from benchmarks.reporting.plots import Looks

LEGEND_ROWS = 20
MAX_NATS_BELOW_BEST = 200
MEDIANS_NOTE = (
    f"Points: median; bars: range over seeds. Values over {MAX_NATS_BELOW_BEST} nats below the best are hidden."
)


def select_positive(rows: pd.DataFrame, quantity: str, part: str = "latent") -> pd.DataFrame:
    """Return the positive values of each seed, for all encoder parameters together or those of the counter-example."""
    chosen = rows[(rows["quantity"] == quantity) & (rows["part"] == part) & (rows["layer"] == "")]
    chosen = chosen[(chosen["parameters"] == "encoder") | (chosen["study"] == "counter-example")]
    return chosen[(chosen["value"] > 0) & chosen["seed"].notna()]


def split_by_objective(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows whose objective is the ELBO, and the others."""
    is_bound = rows["objective"].isin(["elbo", "elbo_mc"])
    return rows[is_bound], rows[~is_bound]


def geometric_mean(values: pd.Series) -> float:
    """Return the geometric mean of the values of all seeds."""
    return seed_statistics.geometric_mean(values.tolist()).value


def draw_lines(
    axes: Axes,
    rows: pd.DataFrame,
    looks: Looks,
    middle: Callable[[pd.Series], float] = geometric_mean,
    by: str = "setting_value",
) -> None:
    """Draw one line for each variant: the middle of the values of all seeds, with their range as error bars.

    by: column whose values identify the points of a line.
    """
    for name, points in rows.groupby("variant", sort=False):
        groups = points.groupby(by, sort=by == "setting_value")
        x, values = groups["setting_value"].mean(), groups["value"]
        y = values.apply(middle)
        bars = np.abs(np.vstack([y - values.min(), values.max() - y]))
        style = {**looks[str(name)], "markersize": 5, "capsize": 2, "linewidth": 1.3, "elinewidth": 0.8}
        axes.errorbar(x, y, bars, label=str(name), **style)


def place_legend_beside(axes: Axes) -> None:
    """Place the legend to the right of the panel, in columns that are not higher than it, unless it is empty."""
    if entries := len(axes.get_legend_handles_labels()[0]):
        columns = math.ceil(entries / LEGEND_ROWS)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns, columnspacing=1)


def set_log_y(axes: Axes) -> None:
    """Make the y axis logarithmic, with ticks at powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(plots.format_power_of_ten)
    axes.yaxis.set_minor_locator(NullLocator())


def set_log_x(axes: Axes, ticks: pd.Series, label: str) -> None:
    """Make the x axis logarithmic, with these ticks."""
    axes.set_xscale("log")
    positions = sorted(ticks.dropna().unique())
    axes.set_xticks(positions, [f"{position:g}" for position in positions])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label)


def set_log_axes(axes: Axes, ticks: pd.Series, label: str) -> None:
    """Make both axes logarithmic, with these ticks and this label on the x axis."""
    set_log_y(axes)
    set_log_x(axes, ticks, label)


def draw_learning_rate(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw the test ELBO by learning rate, with a line of panels for each likelihood.

    Variants trained on the ELBO are in the left panel, all others in the right.
    """
    test = rows[(rows["part"] == "test") & rows["value"].notna()]
    figure, lines = _make_panels(test)
    for panels, (title, part) in lines:
        best = select_best_rates(rows[rows["variant"].isin(part["variant"])])
        groups = split_by_objective(part[part["seed"].notna()]), split_by_objective(best)
        for axes, points, chosen, objectives in zip(panels, *groups, ("the ELBO", "other objectives"), strict=True):
            draw_lines(axes, points, looks, pd.Series.median)
            axes.scatter(chosen["setting_value"], chosen["value"], s=110, facecolors="none", edgecolors="0.2", zorder=9)
            set_log_x(axes, test["setting_value"], "learning rate of Adam")
            axes.set_title(f"{title}\nTrained on {objectives}".lstrip())
            place_legend_beside(axes)
        _limit_elbo_axis(panels[0], part)
    return figure


def _make_panels(rows: pd.DataFrame) -> tuple[Figure, Iterator[tuple[Any, tuple[str, pd.DataFrame]]]]:
    """Return a figure, and two panels with a shared y axis for each likelihood, with its title and rows."""
    parts = split_by_likelihood(rows)
    figure, panels = plt.subplots(len(parts), 2, figsize=(13, 4.6 * len(parts)), sharey="row", squeeze=False)
    return figure, zip(panels, parts.items(), strict=True)


def _limit_elbo_axis(axes: Axes, rows: pd.DataFrame) -> None:
    best = rows["value"].max()
    axes.set_ylim(max(rows["value"].min(), best - MAX_NATS_BELOW_BEST) - 5, best + 5)
    axes.set_ylabel("test ELBO (nats/example)")


def draw_budget(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw the test ELBO by decoder passes and by seconds of training, with a line of panels for each likelihood."""
    figure, lines = _make_panels(rows)
    for panels, (title, part) in lines:
        for axes, setting, label, cost in (
            (panels[0], "decoder_passes", "decoder passes in training", "number of decoder passes"),
            (panels[1], "seconds", "seconds of training", "training time"),
        ):
            draw_lines(axes, part[part["setting"] == setting], looks, pd.Series.median, by="checkpoint")
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(plots.format_power_of_ten)
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel=label, title=f"{title}\nTest ELBO by {cost}".lstrip())
        _limit_elbo_axis(panels[0], part)
        place_legend_beside(panels[1])
    return figure
