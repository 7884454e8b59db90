"""Figures of metrics, from rows of results.csv alone, in one house style. Needs no torch."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
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
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import Bbox

from benchmarks import files, formats, tables
from benchmarks.metrics import BY_NAME, Metric

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
    "text.parse_math": False,  # a $ in a name is a $
    "figure.constrained_layout.use": True,
}
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKERS = "osD^vPXp<>hd*8H"
DASHES = ("solid", "dashed", "dashdot", "dotted")
Look = dict[str, dict[str, Any]]


def figures(rows: pd.DataFrame) -> dict[str, Figure]:
    """Learning curves, gradient variance and the comparison table of one data set, by file name."""
    with plt.rc_context(house_style("ticks")):
        good = rows[rows["status"] == "ok"]
        look = looks(list(dict.fromkeys(rows["variant"])))
        drawn = {"learning-curves": learning_curves(good, look), "gradient-variance": gradient_variance(good, look)}
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


def power_of_ten(value: float, position: float) -> str:
    """A tick's label on a logarithmic axis, without markup."""
    return f"10{f'{math.log10(value):.0f}'.translate(SUPERSCRIPTS)}"


def save(figure: Figure, stem: Path) -> Path:
    """Write the figure as PNG and SVG, and return the PNG's path."""
    stem.parent.mkdir(exist_ok=True)
    with plt.rc_context(house_style("ticks")):
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
            files.write(stem.parent / f"{stem.name}{suffix}", buffer.getvalue())
    plt.close(figure)
    return stem.parent / f"{stem.name}.png"


def _where(rows: pd.DataFrame) -> str:
    seeds = rows["seed"].nunique()
    return f"{rows['dataset'].iloc[0]}, {seeds} seed{'s' if seeds > 1 else ''}"


def _curves(axes: Axes, rows: pd.DataFrame, metric: str, look: Look, x: str = "epoch") -> None:
    """One line a variant over its checkpoints: the median over seeds, with their range as a band."""
    for name, own in rows.dropna(subset=[metric]).groupby("variant", sort=False):
        by_epoch = own.groupby("epoch")
        at, values = by_epoch[x].median(), by_epoch[metric]
        axes.plot(at, values.median(), label=str(name), markersize=5, **look[str(name)])
        axes.fill_between(at, values.min(), values.max(), color=look[str(name)]["color"], alpha=0.2, linewidth=0)


def learning_curves(good: pd.DataFrame, look: Look) -> Figure | None:
    """ELBO by epoch and by training seconds, from the first epoch on; what explodes leaves the view and is named."""
    rows = good.dropna(subset=["elbo"])
    rows = rows[rows["epoch"] > 0]
    if rows.empty:
        return None
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    _curves(left, rows, "elbo", look)
    _curves(right, rows, "elbo", look, x="train_seconds")
    epochs = sorted(rows["epoch"].unique())
    medians = rows.groupby(["variant", "epoch"], sort=False)["elbo"].median()
    floor, top = medians.xs(epochs[0], level="epoch").min(), rows["elbo"].max()
    bottom, margin = max(floor, medians.min()), max(0.5, 0.05 * (top - floor))
    left.set_ylim(bottom - 2 * margin, top + margin)
    left.set(xscale="log", xlabel="training time (epochs)", ylabel="test ELBO (nats/example), higher is better")
    left.set_xticks(epochs, [f"{epoch:.0f}" for epoch in epochs])
    left.minorticks_off()
    right.set(xscale="log", xlabel="training time (seconds in optimizer steps)")
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter(NullFormatter())
    left.set_title(f"Learning curves: {_where(rows)}")
    right.set_title("The same, by the clock")
    _legend(right)
    last = medians.xs(epochs[-1], level="epoch")
    lost = [f"{name} ({value:,.0f} nats)" for name, value in last.items() if value < bottom - 2 * margin]
    out = f" Below the view at the end: {', '.join(lost)}." if lost else ""
    _note(figure, f"Lines: median over seeds; bands: their range. Without latent noise there is no ELBO.{out}")
    return figure


def gradient_variance(good: pd.DataFrame, look: Look) -> Figure | None:
    """Variance of one minibatch gradient estimate in the encoder's parameters, on a log scale."""
    rows = good[good["gradient_variance"] > 0]
    if rows.empty:
        return None
    figure, axes = plt.subplots(figsize=(8, 4.4))
    _curves(axes, rows, "gradient_variance", look)
    epochs = sorted(rows["epoch"].unique())
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(power_of_ten)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-0.15, max(0.15, 1.15 * epochs[-1]))
    axes.set_xticks(epochs, [f"{epoch:.0f}" for epoch in epochs])
    axes.minorticks_off()
    axes.set_xlabel("training time (epochs; 0 is before training)")
    axes.set_ylabel(f"gradient variance\n({BY_NAME['gradient_variance'].unit}, log scale)")
    axes.set_title(f"Variance of one gradient estimate: {_where(rows)}")
    _legend(axes)
    none = list(dict.fromkeys(good.loc[good["gradient_variance"] == 0, "variant"]))
    absent = f"\nNot drawn, since no noise reaches its encoder's gradient: {', '.join(none)}." if none else ""
    _note(
        figure,
        "Encoder's parameters, over the latent noise alone. At epoch 0 all variants of a seed have the same weights.\n"
        f"Lines: median over seeds; bands: their range.{absent}",
    )
    return figure


def _legend(axes: Axes) -> None:
    """Beside the axes, in the order in which the lines end there."""
    lines = sorted(axes.get_lines(), key=lambda line: -float(np.asarray(line.get_ydata())[-1]))
    axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1, 0.5))


def _note(figure: Figure, text: str) -> None:
    figure.supxlabel(text, fontsize=8, color="0.35", x=0.01, ha="left")


def comparison(rows: pd.DataFrame) -> Figure:
    """The comparison table as a picture; bold where a mean is within the metric's tolerance of the best."""
    found, metrics = tables.summaries(rows), formats.choose([])
    head = ["variant", "seeds", *(f"{m.title}{formats.ARROWS[m.direction]}\n{m.unit}" for m in metrics)]
    cells = [[s.variant, formats.seeds_text(s), *(_cell(metric, s) for metric in metrics)] for s in found]
    lengths = [max(len(line) for row in [head, *cells] for line in row[i].split("\n")) + 3 for i in range(len(head))]
    figure, axes = plt.subplots(figsize=(0.085 * sum(lengths), 0.7 + 0.5 * (len(cells) + 1)))
    axes.axis("off")
    widths = [length / sum(lengths) for length in lengths]
    table = axes.table(cellText=[head, *cells], cellLoc="center", colWidths=widths, bbox=Bbox.unit())
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (line, column), cell in table.get_celld().items():
        cell.set_linewidth(0)
        cell.set_facecolor("0.92" if line == 0 else "white" if line % 2 else "0.97")
        if line == 0 or column == 0:
            cell.set_text_props(weight="bold", ha="left" if column == 0 else "center")
    for column, metric in enumerate(metrics, 2):
        for line in _best(metric, metric.tolerance_on(str(rows["dataset"].iloc[0])), found):
            table[line + 1, column].set_text_props(weight="bold")
    axes.set_title(f"{_where(rows)}, epoch {max(s.epoch for s in found)}: {formats.EXPLANATION}")
    return figure


def _cell(metric: Metric, s: tables.Summary) -> str:
    i = s.metrics[metric.name]
    lines = [formats.mean_text(metric, i), formats.range_text(metric, i)]
    return "\n".join(line for line in lines if line) or "–"


def _best(metric: Metric, tolerance: float, found: Sequence[tables.Summary]) -> list[int]:
    """Rows to mark. Not for metrics on a log scale: those are taken at each variant's own parameters."""
    means = {i: s.metrics[metric.name].mean for i, s in enumerate(found) if s.metrics[metric.name].n}
    if metric.direction == "none" or metric.scale == "log" or not tolerance or not means:
        return []
    best = (max if metric.direction == "higher" else min)(means.values())
    return [i for i, mean in means.items() if abs(mean - best) <= tolerance]
