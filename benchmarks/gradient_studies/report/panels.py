"""Parts of the gradient figures: their rows, lines and axes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.common import seed_statistics
from benchmarks.gradient_studies.columns import CHECKPOINTS
from benchmarks.reporting.figures import looks as variant_looks
from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks
from benchmarks.reporting.figures.style import set_log_y

CHECKPOINT_POSITIONS = {name: i for i, name in enumerate(CHECKPOINTS)}
REFERENCE = "pathwise "  # start of the name of a reference that is no variant


def select_positive(rows: pd.DataFrame, quantity: str, part: str = "latent") -> pd.DataFrame:
    """Return the positive values of each seed, for all encoder parameters together or those of the counter-example."""
    chosen = rows[(rows["quantity"] == quantity) & (rows["part"] == part) & (rows["layer"] == "")]
    chosen = chosen[(chosen["parameters"] == "encoder") | (chosen["study"] == "counter-example")]
    return chosen[(chosen["value"] > 0) & chosen["seed"].notna()]


def is_elbo(rows: pd.DataFrame) -> pd.Series:
    """Return whether the objective of each row is the ELBO, in one of its two forms."""
    return rows["objective"].isin(["elbo", "elbo_mc"])


def select_story(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the variants of a story figure."""
    names = [name for name in dict.fromkeys(rows["variant"]) if not name.startswith(REFERENCE)]
    return rows[rows["variant"].isin(variant_looks.choose_story(names))]


def split_families(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Return the rows of each family of variants, with its name, without references that are no variants."""
    names = [name for name in dict.fromkeys(rows["variant"]) if not name.startswith(REFERENCE)]
    families = variant_looks.split_families(names)
    return [(family, rows[rows["variant"].isin(members)]) for family, members in families.items()]


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
        axes.errorbar(x, y, bars, label=str(name), **looks[str(name)], capsize=2, elinewidth=0.8)


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


def set_stages(axes: Axes) -> None:
    """Label the x axis with the checkpoints of the reference model."""
    axes.set_xticks(range(len(CHECKPOINTS)), CHECKPOINTS)
    axes.set_xlim(-0.3, len(CHECKPOINTS) - 0.7)
    axes.set_xlabel("stage of the reference model's training")


def add_note(figure: Figure, rows: pd.DataFrame, note: str) -> None:
    """Write data set, number of seeds and a note below the figure."""
    count = rows["seed"].nunique()
    style.add_note(figure, f"{rows['dataset'].iloc[0]}, {count} seed{'s' if count > 1 else ''}. {note}")
