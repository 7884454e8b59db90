"""Figures of metrics, from rows of results.csv alone, in one house style. Needs no torch."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")  # no display is needed, and none is opened

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from benchmarks import store, tables
from benchmarks.metrics import BY_NAME
from benchmarks.statistics import t_half_width

STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "vaezoo",
    "figure.constrained_layout.use": True,
}
MARKERS = "osD^vPXp<>hd*8H"
DASHES = ("solid", "dashed", "dashdot", "dotted")
Look = dict[str, dict[str, Any]]


def figures(rows: pd.DataFrame) -> dict[str, Figure]:
    """Learning curves, gradient variance and the comparison table of one data set, by file name."""
    with plt.rc_context(house_style("ticks")):
        good = rows[rows["status"] == "ok"]
        drawn = {"learning-curves": learning_curves(good), "gradient-variance": gradient_variance(good)}
        return {name: figure for name, figure in drawn.items() if figure} | {"comparison": comparison(rows)}


def house_style(axes: Literal["ticks", "white"]) -> Any:
    """Matplotlib's settings for one of seaborn's axes styles in the house's manner."""
    return {**sns.axes_style(axes), **STYLE}


def looks(variants: Sequence[str]) -> Look:
    """Colour, marker and dash of each variant: told apart without colour too."""
    colours = sns.color_palette("colorblind", 10)
    return {
        name: {"color": colours[i % 10], "marker": MARKERS[i % len(MARKERS)], "linestyle": DASHES[i // 3 % len(DASHES)]}
        for i, name in enumerate(variants)
    }


def save(figure: Figure, stem: Path) -> Path:
    """Write the figure as PNG and SVG, and return the PNG's path."""
    with plt.rc_context(house_style("ticks")):
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
            store.write(stem.parent / f"{stem.name}{suffix}", buffer.getvalue())
    plt.close(figure)
    return stem.parent / f"{stem.name}.png"


def _where(rows: pd.DataFrame) -> str:
    seeds = rows["seed"].nunique()
    return f"{rows['dataset'].iloc[0]}, {seeds} seed{'s' if seeds > 1 else ''}"


def _band(values: Sequence[float]) -> tuple[float, float, float]:
    middle, half = float(np.mean(values)), t_half_width(values)
    return (middle, middle - half, middle + half) if math.isfinite(half) else (middle, middle, middle)


def _geometric_band(values: Sequence[float]) -> tuple[float, float, float]:
    middle, low, high = _band(np.log(np.asarray(values)).tolist())
    return math.exp(middle), math.exp(low), math.exp(high)


def _curves(
    axes: Axes,
    rows: pd.DataFrame,
    metric: str,
    band: Callable[[Sequence[float]], tuple[float, float, float]],
    x: str = "epoch",
) -> None:
    """One line a variant over its checkpoints, with a band over seeds."""
    look = looks(list(dict.fromkeys(rows["variant"])))
    for name, own in rows.dropna(subset=[metric]).groupby("variant", sort=False):
        by_epoch = own.groupby("epoch")
        points = np.array([band(values.tolist()) for _, values in by_epoch[metric]])
        at = by_epoch[x].mean().to_numpy()
        axes.plot(at, points[:, 0], label=str(name), markersize=5, **look[str(name)])
        axes.fill_between(at, points[:, 1], points[:, 2], color=look[str(name)]["color"], alpha=0.2, linewidth=0)


def _epochs(axes: Axes, epochs: Sequence[float]) -> None:
    axes.set_xscale("symlog", linthresh=1, linscale=0.5)
    axes.set_xticks(sorted(epochs), [f"{epoch:.0f}" for epoch in sorted(epochs)])
    axes.minorticks_off()
    axes.set_xlabel("epochs (0: before training)")


def learning_curves(good: pd.DataFrame) -> Figure | None:
    """ELBO by epoch and by training seconds; the initial weights' value is far below and left out of view."""
    rows = good.dropna(subset=["elbo"])
    rows = rows[rows["epoch"] > 0]
    if rows.empty:
        return None
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    _curves(left, rows, "elbo", _band)
    left.set_xscale("log")
    left.set_xticks(sorted(rows["epoch"].unique()), [f"{epoch:.0f}" for epoch in sorted(rows["epoch"].unique())])
    left.minorticks_off()
    left.set_xlabel("training time (epochs)")
    left.set_ylabel("test ELBO (nats/example), higher is better")
    _curves(right, rows, "elbo", _band, x="train_seconds")
    right.set_xlabel("training time (seconds in optimizer steps)")
    right.set_xscale("log")
    left.set_title(f"Learning curves: {_where(rows)}")
    right.set_title("The same, by the clock")
    right.legend(loc="lower right", bbox_to_anchor=(1, 0.02))
    _note(figure, "Lines: mean over seeds; bands: 95 % t-interval. Variants without latent noise have no ELBO.")
    return figure


def gradient_variance(good: pd.DataFrame) -> Figure | None:
    """Variance of one minibatch gradient estimate in the encoder's parameters, on a log scale."""
    rows = good[good["gradient_variance"] > 0]
    if rows.empty:
        return None
    figure, axes = plt.subplots(figsize=(8, 4.4))
    _curves(axes, rows, "gradient_variance", _geometric_band)
    axes.set_yscale("log")
    _epochs(axes, rows["epoch"].unique().tolist())
    axes.set_ylabel(f"gradient variance\n({BY_NAME['gradient_variance'].unit}, log scale)")
    axes.set_title(f"Variance of one gradient estimate: {_where(rows)}")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    none = sorted(set(good.loc[good["gradient_variance"] == 0, "variant"]))
    absent = f" No noise reaches the encoder's gradient of {', '.join(none)}." if none else ""
    _note(
        figure,
        "Encoder's parameters, over the latent noise alone. At epoch 0 all variants have the same weights.\n"
        f"Lines: geometric mean over seeds; bands: 95 % t-interval on the logarithms.{absent}",
    )
    return figure


def _note(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=8, color="0.35", x=0.01, ha="left")


def comparison(rows: pd.DataFrame) -> Figure:
    """The comparison table as a picture; the best mean of each metric with a direction is bold."""
    found, metrics = tables.summaries(rows), tables.choose([])
    head = ["variant", *(f"{m.title}{tables.ARROWS[m.direction]}\n{m.unit}" for m in metrics)]
    cells = [[s.variant, *(_cell(metric, s) for metric in metrics)] for s in found]
    figure, axes = plt.subplots(figsize=(2.1 + 1.75 * len(metrics), 0.9 + 0.5 * (len(cells) + 1)))
    axes.axis("off")
    widths = [0.13, *[0.87 / len(metrics)] * len(metrics)]
    table = axes.table(cellText=[head, *cells], cellLoc="center", colWidths=widths, bbox=Bbox.unit())
    table.auto_set_font_size(False)
    table.set_fontsize(8.5)
    for (line, column), cell in table.get_celld().items():
        cell.set_linewidth(0)
        cell.set_facecolor("0.93" if line == 0 else "white" if line % 2 else "0.975")
        if line == 0 or column == 0:
            cell.set_text_props(weight="bold", ha="left" if column == 0 else "center")
    for column, metric in enumerate(metrics, 1):
        for line in _best(metric.name, metric.direction, found):
            table[line + 1, column].set_text_props(weight="bold")
    axes.set_title(f"{_where(rows)}, epoch {max(s.epoch for s in found)}: {tables.EXPLANATION}")
    return figure


def _cell(metric: Any, s: tables.Summary) -> str:
    i = s.metrics[metric.name]
    lines = [tables.mean_text(metric, i), tables.range_text(metric, i)]
    return "\n".join(line for line in lines if line) or "–"


def _best(name: str, direction: str, found: Sequence[tables.Summary]) -> list[int]:
    means = {i: s.metrics[name].mean for i, s in enumerate(found) if s.metrics[name].n and s.metrics[name].mean != 0}
    if direction == "none" or not means:
        return []
    best = (max if direction == "higher" else min)(means.values())
    return [i for i, mean in means.items() if mean == best]
