"""Panels of the gradient figures: their rows, lines, axes, and the figures of trained models."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from pandas.core.groupby import SeriesGroupBy

from benchmarks.common.seed_statistics import geometric_mean
from benchmarks.gradient_studies.report.tables import select_best_rates
from benchmarks.reporting import plots
from benchmarks.reporting.plots import Looks, format_power_of_ten

ELBO_OBJECTIVES = ("elbo", "elbo_mc")
MAX_NATS_BELOW_BEST = 200
MEDIANS_NOTE = (
    f"Points: median; bars: range over seeds. Values over {MAX_NATS_BELOW_BEST} nats below the best are hidden."
)


def select_rows(rows: pd.DataFrame, quantity: str, part: str = "latent") -> pd.DataFrame:
    """Return the rows of a quantity for all encoder parameters together; for the counter-example those of the mean."""
    selected = rows[(rows["quantity"] == quantity) & (rows["part"] == part) & (rows["layer"] == "")]
    is_counter_example = (selected["study"] == "counter-example").all()
    return selected[selected["parameters"].isin(["encoder", "mean"] if is_counter_example else ["encoder"])]


def draw_lines(axes: Axes, rows: pd.DataFrame, looks: Looks, label: bool = True) -> None:
    """Draw one line for each variant: geometric means over seeds, with their range as error bars."""
    for name, points in rows[(rows["value"] > 0) & rows["seed"].notna()].groupby("variant", sort=False):
        values = points.groupby("setting_value")["value"]
        mean = values.apply(lambda seeds: geometric_mean(seeds.tolist()).value)
        _draw_line(axes, str(name) if label else None, mean.index, mean, values, looks[str(name)])


def _draw_line(
    axes: Axes, label: str | None, x: pd.Series | pd.Index, y: pd.Series, values: SeriesGroupBy, look: dict[str, Any]
) -> None:
    bars = np.abs(np.vstack([y - values.min(), values.max() - y]))
    style = {**look, "markersize": 5, "capsize": 2, "linewidth": 1.3, "elinewidth": 0.8}
    axes.errorbar(x, y, bars, label=label, **style)


def set_log_y(axes: Axes) -> None:
    """Make the y axis logarithmic, with ticks at powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(plots.format_power_of_ten)
    axes.yaxis.set_minor_locator(NullLocator())


def place_legend_beside(axes: Axes) -> None:
    """Place the legend to the right of the panel."""
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def set_log_axes(axes: Axes, ticks: pd.Series) -> None:
    """Make both axes logarithmic, with these ticks on the x axis."""
    axes.set_xscale("log")
    set_log_y(axes)
    axes.set_xticks(sorted(ticks.unique()), [f"{tick:g}" for tick in sorted(ticks.unique())])
    axes.xaxis.set_minor_locator(NullLocator())


def draw_learning_rate(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw the test ELBO by learning rate: variants trained on the ELBO in the left panel, all others in the right."""
    figure, panels = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
    test = rows[(rows["part"] == "test") & rows["value"].notna()]
    best, rates = select_best_rates(rows), sorted(test["setting_value"].unique())
    for axes, is_bound in zip(panels, (True, False), strict=True):
        points = test[test["seed"].notna() & (test["objective"].isin(ELBO_OBJECTIVES) == is_bound)]
        _draw_elbos(axes, points, looks)
        chosen = best[best["objective"].isin(ELBO_OBJECTIVES) == is_bound]
        axes.scatter(chosen["setting_value"], chosen["value"], s=110, facecolors="none", edgecolors="0.2", zorder=9)
        axes.set_xscale("log")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("learning rate of Adam")
        axes.set_title("Trained on the ELBO" if is_bound else "Trained on other objectives")
        if len(points):
            place_legend_beside(axes)
    _limit_elbo_axis(panels[0], test)
    return figure


def _limit_elbo_axis(axes: Axes, rows: pd.DataFrame) -> None:
    best = rows["value"].max()
    axes.set_ylim(max(rows["value"].min(), best - MAX_NATS_BELOW_BEST) - 5, best + 5)
    axes.set_ylabel("test ELBO (nats/example)")


def _draw_elbos(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    for name, elbos in rows.groupby("variant", sort=False):
        points = elbos.groupby("checkpoint" if (elbos["study"] == "budget").all() else "setting_value", sort=False)
        values = points["value"]
        _draw_line(axes, str(name), points["setting_value"].mean(), values.median(), values, looks[str(name)])


def draw_budget(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw the test ELBO by decoder passes and by seconds of training."""
    figure, panels = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
    for axes, setting, label in zip(
        panels, ("decoder_passes", "seconds"), ("decoder passes in training", "seconds of training"), strict=True
    ):
        _draw_elbos(axes, rows[rows["setting"] == setting], looks)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(format_power_of_ten)
        axes.set_xlabel(label)
    _limit_elbo_axis(panels[0], rows)
    panels[0].set_title("Test ELBO by number of decoder passes")
    panels[1].set_title("Test ELBO by training time")
    place_legend_beside(panels[1])
    return figure
