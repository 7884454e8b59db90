"""Figures of the studies of trained models."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.laboratory.panels import BOUND, beside
from benchmarks.laboratory.tables import chosen_rates
from benchmarks.plots import Look, power_of_ten

REACH = 200  # nats below the best that are drawn
MEDIANS = "Points: median over seeds; bars: their range. What lies far below is cut off."


def learning_rate(rows: pd.DataFrame, look: Look) -> Figure:
    """ELBO against the learning rate; bounds left, other objectives right."""
    figure, both = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
    test = rows[(rows["part"] == "test") & rows["value"].notna()]
    best, rates = chosen_rates(rows), sorted(test["setting_value"].unique())
    for axes, is_bound in zip(both, (True, False), strict=True):
        own = test[test["seed"].notna() & (test["objective"].isin(BOUND) == is_bound)]
        _elbos(axes, own, look)
        chosen = best[best["objective"].isin(BOUND) == is_bound]
        axes.scatter(chosen["setting_value"], chosen["value"], s=110, facecolors="none", edgecolors="0.2", zorder=9)
        axes.set_xscale("log")
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("learning rate of Adam")
        axes.set_title("Trained on the ELBO" if is_bound else "Trained on other objectives")
        if len(own):
            beside(axes)
    _reach(both[0], test)
    return figure


def _reach(axes: Axes, rows: pd.DataFrame) -> None:
    best = rows["value"].max()
    axes.set_ylim(max(rows["value"].min(), best - REACH) - 5, best + 5)
    axes.set_ylabel("test ELBO (nats/example)")


def _elbos(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    """Medians over seeds with their range; what lies far below the best is not drawn."""
    for name, own in rows.groupby("variant", sort=False):
        points = own.groupby("checkpoint" if (own["study"] == "budget").all() else "setting_value", sort=False)
        x, values = points["setting_value"].mean(), points["value"]
        middle = values.median()
        bars = np.abs(np.vstack([middle - values.min(), values.max() - middle]))
        style = {**look[str(name)], "markersize": 5, "capsize": 2, "linewidth": 1.3, "elinewidth": 0.8}
        axes.errorbar(x, middle, bars, label=str(name), **style)


def budget(rows: pd.DataFrame, look: Look) -> Figure:
    """ELBO against decoder passes and against seconds."""
    figure, both = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
    for axes, setting, label in zip(
        both, ("decoder_passes", "seconds"), ("decoder passes in training", "seconds of training"), strict=True
    ):
        _elbos(axes, rows[rows["setting"] == setting], look)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(power_of_ten)
        axes.set_xlabel(label)
    _reach(both[0], rows)
    both[0].set_title("What the same number of decoder passes buys")
    both[1].set_title("What the same time buys")
    beside(both[1])
    return figure
