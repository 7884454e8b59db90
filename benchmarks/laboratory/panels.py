"""What the laboratory's figures share: the rows of a panel, its lines and axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from benchmarks import plots
from benchmarks.plots import Look
from benchmarks.statistics import geometric

BOUND = ("elbo", "elbo_mc")


def rows_of(rows: pd.DataFrame, quantity: str, part: str = "latent") -> pd.DataFrame:
    """Of the encoder as a whole; in the counter-example there is a mean alone."""
    own = rows[(rows["quantity"] == quantity) & (rows["part"] == part) & (rows["layer"] == "")]
    return own[
        own["parameters"].isin(["encoder", "mean"] if (own["study"] == "counter-example").all() else ["encoder"])
    ]


def lines(axes: Axes, rows: pd.DataFrame, look: Look, x: str = "setting_value", label: bool = True) -> None:
    """One line a variant: geometric means over seeds, the range as error bars."""
    for name, own in rows[(rows["value"] > 0) & rows["seed"].notna()].groupby("variant", sort=False):
        by = own.groupby(x)["value"]
        middle = by.apply(lambda values: geometric(values.tolist()).value)
        bars = np.abs(np.vstack([middle - by.min(), by.max() - middle]))
        style = {**look[str(name)], "markersize": 5, "capsize": 2, "linewidth": 1.3, "elinewidth": 0.8}
        axes.errorbar(middle.index, middle, bars, label=str(name) if label else None, **style)


def powers(axes: Axes) -> None:
    """A logarithmic axis of y, ticks at powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(plots.power_of_ten)
    axes.yaxis.set_minor_locator(NullLocator())


def beside(axes: Axes) -> None:
    """The legend to the right of the panel."""
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def logarithmic(axes: Axes, ticks: pd.Series) -> None:
    """Both axes logarithmic, with these ticks on x."""
    axes.set_xscale("log")
    powers(axes)
    axes.set_xticks(sorted(ticks.unique()), [f"{tick:g}" for tick in sorted(ticks.unique())])
    axes.xaxis.set_minor_locator(NullLocator())
