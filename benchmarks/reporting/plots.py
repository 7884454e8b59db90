"""Draw figures of metrics from rows of results.csv, all in one style. Does not import torch."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib

matplotlib.use("Agg")  # needs no display

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import Bbox

from benchmarks.common import atomic_files
from benchmarks.reporting import formats, summaries
from benchmarks.reporting.metrics import METRIC_BY_NAME, Metric

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
    "text.parse_math": False,  # a $ in a name is printed as $
    "figure.constrained_layout.use": True,
}
CHARACTERS_PER_INCH = 15  # of notes, whose font has 8 points
CHARACTERS_OF_TITLE = 70
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MARKERS = "osD^vPXp<>hd*8H"
DASHES = ("solid", "dashed", "dashdot", "dotted")
BANDS = "Lines: median over seeds; bands: minimum to maximum over seeds."
Looks = dict[str, dict[str, Any]]


def draw_figures(rows: pd.DataFrame) -> dict[str, Figure]:
    """Return learning curves, gradient variance and comparison table of one data set, by file name."""
    with plt.rc_context(plot_style("ticks")):
        ok_rows = rows[rows["status"] == "ok"]
        looks = assign_looks(list(dict.fromkeys(rows["variant"])))
        figures = {
            "learning-curves": draw_learning_curves(ok_rows, looks),
            "gradient-variance": draw_gradient_variance(ok_rows, looks),
        }
        return {name: figure for name, figure in figures.items() if figure} | {"comparison": draw_comparison(rows)}


def plot_style(axes: Literal["ticks", "white"]) -> Any:
    """Return the settings of matplotlib for one of seaborn's axes styles."""
    return {**sns.axes_style(axes), **STYLE}


def assign_looks(variants: Sequence[str]) -> Looks:
    """Return colour, marker and dash style of each variant; they also differ without colour."""
    colours = sns.color_palette("colorblind", 10)
    return {
        name: {"color": colours[i % 10], "marker": MARKERS[i % len(MARKERS)], "linestyle": DASHES[i // 3 % len(DASHES)]}
        for i, name in enumerate(variants)
    }


def format_power_of_ten(value: float, position: float) -> str:
    """Return the label of a tick on a logarithmic axis, without markup."""
    return f"10{f'{math.log10(value):.0f}'.translate(SUPERSCRIPTS)}"


def save_figure(figure: Figure, stem: Path) -> Path:
    """Write the figure as PNG and SVG, and return the path of the PNG."""
    stem.parent.mkdir(exist_ok=True)
    with plt.rc_context(plot_style("ticks")):
        for suffix, metadata in ((".svg", {"Date": None}), (".png", {})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix[1:], metadata=metadata)
            atomic_files.write_bytes(stem.parent / f"{stem.name}{suffix}", buffer.getvalue())
    plt.close(figure)
    return stem.parent / f"{stem.name}.png"


def _format_subject(rows: pd.DataFrame) -> str:
    seeds = rows["seed"].nunique()
    return f"{rows['dataset'].iloc[0]}, {seeds} seed{'s' if seeds > 1 else ''}"


def _plot_curves(axes: Axes, rows: pd.DataFrame, metric: str, looks: Looks, x: str = "epoch") -> None:
    """Plot one line for each variant over its checkpoints: the median over seeds, and a band from min to max."""
    for name, variant_rows in rows.dropna(subset=[metric]).groupby("variant", sort=False):
        by_epoch, look = variant_rows.groupby("epoch"), looks[str(name)]
        positions, values = by_epoch[x].median(), by_epoch[metric]
        axes.plot(positions, values.median(), label=str(name), markersize=5, **look)
        axes.fill_between(positions, values.min(), values.max(), color=look["color"], alpha=0.2, linewidth=0)


def draw_learning_curves(ok_rows: pd.DataFrame, looks: Looks) -> Figure | None:
    """Draw the ELBO by epoch and by training seconds, after epoch 0; None if no row has an ELBO.

    Each likelihood has a line of panels. The axis ends below the lowest median of the first drawn epoch. A note lists
    variants that end below the axis.
    """
    rows = ok_rows.dropna(subset=["elbo"])
    rows = rows[rows["epoch"] > 0]
    if rows.empty:
        return None
    parts = summaries.split_by_title(rows)
    figure, panels = plt.subplots(len(parts), 2, figsize=(10, 4.2 * len(parts)), sharey="row", squeeze=False)
    below: list[str] = []
    for (left, right), (title, part) in zip(panels, parts.items(), strict=True):
        below += _draw_elbo(left, right, part, looks)
        left.set_title(_join_titles(title, f"Learning curves: {_format_subject(part)}"))
        right.set_title("The same curves by training time")
    outside = f" Not visible, below the axis at the last epoch: {', '.join(below)}." if below else ""
    _add_note(figure, f"{BANDS} Models without latent noise have no ELBO.{outside}{_explain_panels(parts)}")
    return figure


def _draw_elbo(left: Axes, right: Axes, rows: pd.DataFrame, looks: Looks) -> list[str]:
    """Draw the curves of comparable variants; return those that end below the axis."""
    _plot_curves(left, rows, "elbo", looks)
    _plot_curves(right, rows, "elbo", looks, x="train_seconds")
    medians = rows.groupby(["variant", "epoch"], sort=False)["elbo"].median()
    floor, top = medians.xs(rows["epoch"].min(), level="epoch").min(), rows["elbo"].max()
    margin = max(0.5, 0.05 * (top - floor))
    bottom = max(floor, medians.min()) - 2 * margin
    left.set_ylim(bottom, top + margin)
    left.set(xscale="log", xlabel="training time (epochs)", ylabel="test ELBO (nats/example), higher is better")
    _label_epochs(left, rows)
    right.set(xscale="log", xlabel="training time (seconds in optimizer steps)")
    right.xaxis.set_major_formatter("{x:g}")
    right.xaxis.set_minor_formatter(NullFormatter())
    _add_legend(right)
    final_medians = medians.xs(rows["epoch"].max(), level="epoch")
    return [f"{name} ({value:,.0f} nats)" for name, value in final_medians.items() if value < bottom]


def _join_titles(likelihood: str, title: str) -> str:
    return f"{textwrap.fill(likelihood, CHARACTERS_OF_TITLE)}\n{title}".lstrip()


def _explain_panels(parts: Collection[str]) -> str:
    return " Likelihoods have separate panels, because their values are not comparable." if len(parts) > 1 else ""


def draw_gradient_variance(ok_rows: pd.DataFrame, looks: Looks) -> Figure | None:
    """Draw `gradient_variance` by epoch, on a log scale, with a panel for each likelihood; None if none is positive."""
    rows = ok_rows[ok_rows["gradient_variance"] > 0]
    if rows.empty:
        return None
    parts = summaries.split_by_title(rows)
    figure, panels = plt.subplots(len(parts), figsize=(8, 4.4 * len(parts)), squeeze=False)
    unit = METRIC_BY_NAME["gradient_variance"].unit
    for axes, (title, part) in zip(panels[:, 0], parts.items(), strict=True):
        _plot_curves(axes, part, "gradient_variance", looks)
        axes.set(yscale="log", ylabel=f"gradient variance\n({unit}, log scale)")
        axes.yaxis.set_major_formatter(format_power_of_ten)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(-0.15, max(0.15, 1.15 * rows["epoch"].max()))
        axes.set_xlabel("training time (epochs; 0 is before training)")
        axes.set_title(_join_titles(title, f"Variance of one gradient estimate: {_format_subject(part)}"))
        _label_epochs(axes, part)
        _add_legend(axes)
    zero = list(dict.fromkeys(ok_rows.loc[ok_rows["gradient_variance"] == 0, "variant"]))
    omitted = f" Not drawn, because the variance is 0 (no noise in the encoder's gradient): {', '.join(zero)}."
    note = "Variance over the latent noise, encoder's parameters. At epoch 0 all variants of a seed have equal weights."
    _add_note(figure, f"{note} {BANDS}{omitted if zero else ''}{_explain_panels(parts)}")
    return figure


def _label_epochs(axes: Axes, rows: pd.DataFrame) -> None:
    epochs = sorted(rows["epoch"].unique())
    axes.set_xticks(epochs, [f"{epoch:.0f}" for epoch in epochs])
    axes.minorticks_off()


def _add_legend(axes: Axes) -> None:
    """Add the legend to the right of the axes, ordered by the last value of each line."""
    lines = sorted(axes.get_lines(), key=lambda line: -float(np.asarray(line.get_ydata())[-1]))
    axes.legend(handles=lines, loc="center left", bbox_to_anchor=(1, 0.5))


def _add_note(figure: Figure, text: str) -> None:
    wrapped = textwrap.fill(text, int(CHARACTERS_PER_INCH * figure.get_figwidth()))
    figure.supxlabel(wrapped, fontsize=8, color="0.35", x=0.01, ha="left")


def draw_comparison(rows: pd.DataFrame) -> Figure:
    """Draw the comparison table, with a line above the variants of each likelihood if there are several.

    Bold marks means within the metric's tolerance of the best with this likelihood.
    """
    variants, metrics = summaries.summarize(rows), formats.choose_metrics([])
    header, *lines = formats.make_comparison_rows(variants, metrics)
    lengths = [length + 3 for length in formats.count_characters([header, *lines])]
    parts: dict[str, list[int]] = {}
    for i, variant in enumerate(variants):
        parts.setdefault(variant.title, []).append(i)
    cells, best = [header], list[tuple[int, int]]()
    for title, part in parts.items():
        cells += [[title, *[""] * (len(header) - 1)]] if title else []
        if len(part) > 1 or len(parts) == 1:  # a variant that is alone with its likelihood is not the best of any
            best += _find_best(metrics, [variants[i] for i in part], len(cells))
        cells += [[cell or "–" for cell in lines[i]] for i in part]
    figure, axes = plt.subplots(figsize=(0.085 * sum(lengths), 0.7 + 0.5 * len(cells)))
    axes.axis("off")
    widths = [length / sum(lengths) for length in lengths]
    table = axes.table(cellText=cells, cellLoc="center", colWidths=widths, bbox=Bbox.unit())
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (line, column), cell in table.get_celld().items():
        cell.set_linewidth(0)
        cell.set_facecolor("0.92" if line == 0 else "white" if line % 2 else "0.97")
        if line == 0 or column == 0:
            cell.set_text_props(weight="bold", ha="left" if column == 0 else "center")
        cell.set_fill(any(cells[line][1:]))  # the title of a likelihood extends over the next cells
    for place in best:
        table[place].set_text_props(weight="bold")
    subject = f"{_format_subject(rows)}, epoch {max(s.epoch for s in variants)}"
    axes.set_title(f"{subject}: {formats.EXPLANATION}; bold: within the tolerance of the best mean")
    return figure


def _find_best(
    metrics: Sequence[Metric], variants: Sequence[summaries.Summary], first_line: int
) -> Iterator[tuple[int, int]]:
    """Yield line and column of the best means; none for log scales, whose values depend on the parameters."""
    for column, metric in enumerate(metrics, 2):
        tolerance = metric.tolerance_on(variants[0].dataset)
        means = {i: s.metrics[metric.name].mean for i, s in enumerate(variants) if s.metrics[metric.name].n}
        if metric.direction == "none" or metric.scale == "log" or not tolerance or not means:
            continue
        best = (max if metric.direction == "higher" else min)(means.values())
        yield from ((first_line + i, column) for i, mean in means.items() if abs(mean - best) <= tolerance)
