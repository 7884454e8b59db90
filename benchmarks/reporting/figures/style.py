"""The style of all figures: fonts, sizes, notes, labels at the ends of lines, files."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from benchmarks.common import atomic_files

WIDTH = 8.6  # inches: 826 pixels at 96 per inch, the width of a page on GitHub
SMALL = 8  # points; no text is smaller at the size at which a figure is shown
STYLE: dict[str, Any] = {
    "figure.dpi": 96,
    "savefig.dpi": 160,
    "font.size": 9,
    "legend.fontsize": SMALL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.edgecolor": "0.15",
    "axes.labelcolor": "0.15",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "grid.color": "0.8",
    "lines.markersize": 5,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "svg.hashsalt": "vaezoo",
    "text.color": "0.15",
    "text.parse_math": False,  # a $ in a name is printed as $
    "xtick.color": "0.15",
    "ytick.color": "0.15",
    "figure.constrained_layout.use": True,
}
# the palette "colorblind" of seaborn, for the classes of digits
CLASS_COLOURS = (
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
)  # fmt: skip
CHARACTERS_PER_INCH = 15  # of notes
TITLE_POINTS_PER_INCH = 115  # characters of a title per inch, times its size in points
METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}  # no time
LINE_HEIGHT = 1.25  # of labels, in units of the font size
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
GREY = "0.35"


def plot_style(axes: Literal["ticks", "white"]) -> Any:
    """Return all settings of matplotlib: its defaults, and those of the project; axes "white" have no ticks.

    So the rcParams of the process have no effect.
    """
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    ticks = dict.fromkeys(("xtick.bottom", "ytick.left"), axes == "ticks")
    return {**defaults, "font.sans-serif": ["DejaVu Sans"], **ticks, **STYLE}


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = ("svg", "png")) -> Path:
    """Write the figure in each format, and return the path of the last file."""
    stem.parent.mkdir(exist_ok=True)
    paths = [stem.parent / f"{stem.name}.{name}" for name in formats]
    # a saved figure without a layout engine would take the one of the settings
    with plt.rc_context(plot_style("ticks") | {"figure.constrained_layout.use": False}):
        for name, path in zip(formats, paths, strict=True):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=name, metadata=METADATA[name])
            atomic_files.write_bytes(path, buffer.getvalue())
            figure.set_layout_engine("none")  # the first format decides the positions
    plt.close(figure)
    return paths[-1]


def add_note(figure: Figure, text: str) -> None:
    """Write a note below the figure, in lines of its width."""
    width = int(CHARACTERS_PER_INCH * figure.get_figwidth())
    wrapped = "\n".join(textwrap.fill(line, width) for line in text.splitlines())
    figure.supxlabel(wrapped, fontsize=SMALL, color=GREY, x=0.01, ha="left")


def set_title(figure: Figure, text: str, size: float = 11) -> None:
    """Write the finding as the title of the figure, in lines of its width."""
    wrapped = textwrap.fill(text, int(TITLE_POINTS_PER_INCH / size * figure.get_figwidth()))
    figure.suptitle(wrapped, x=0.01, ha="left", fontsize=size, weight="bold")


def format_power_of_ten(value: float, position: float) -> str:
    """Return the label of a tick on a logarithmic axis, without markup."""
    return f"10{f'{math.log10(value):.0f}'.translate(SUPERSCRIPTS)}"


def set_log_y(axes: Axes) -> None:
    """Make the y axis logarithmic, with ticks at powers of ten."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(format_power_of_ten)
    axes.yaxis.set_minor_locator(NullLocator())


def draw_panels(
    panels: Sequence[tuple[str, Any]], draw: Callable[[Axes, Any], None], columns: int = 2, height: float = 2.7
) -> Figure:
    """Draw each (title, rows) in a panel of its own, with labels at the ends of its lines."""
    lines = math.ceil(len(panels) / columns)
    figure, grid = plt.subplots(lines, columns, figsize=(WIDTH, height * lines), squeeze=False)
    for axes, (title, rows) in zip(grid.flat, panels, strict=False):
        draw(axes, rows)
        axes.set_title(title)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    label_ends(*figure.axes)
    return figure


def iterate_labelled(axes: Axes) -> Iterator[tuple[str, Line2D]]:
    """Yield the label and the line of each entry that a legend would have."""
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
        yield label, handle.lines[0] if isinstance(handle, ErrorbarContainer) else handle  # type: ignore[misc]


def label_ends(*panels: Axes) -> None:
    """Write the label of each line beside its end, in its colour; labels that would overlap are moved apart.

    Call this last: it needs the limits of the axes.
    """
    figure: Any = panels[0].figure
    if engine := figure.get_layout_engine():
        engine.execute(figure)  # sets the size of the axes
    for axes in panels:
        lines = list(iterate_labelled(axes))
        if not lines:
            continue
        ends = [_last_point(line) for _, line in lines]
        to_axes = axes.transData + axes.transAxes.inverted()
        heights = np.clip([to_axes.transform(end)[1] for end in ends], 0, 1)
        step = LINE_HEIGHT * SMALL * (axes.figure.dpi / 72) / axes.bbox.height
        for (label, line), end, y in zip(lines, ends, spread(heights, step), strict=True):
            x, height = np.clip(to_axes.transform(end), 0, 1)
            colour = line.get_color()
            leader = {
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "alpha": 0.6,
                "shrinkA": 0,
                "relpos": (0, 0.5),
            }
            axes.annotate(
                label, (x, height), (1.03, y), "axes fraction", "axes fraction",
                color=colour, fontsize=SMALL, va="center", annotation_clip=False, arrowprops=leader,
            )  # fmt: skip


def _last_point(line: Line2D) -> tuple[float, float]:
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    return (x[finite[-1]], y[finite[-1]]) if len(finite) else (math.nan, math.nan)


def spread(positions: Any, step: float) -> list[float]:
    """Return positions in the same order, each at least one step from the next, and as near as possible.

    Neighbours that are too near form a block, whose middle is the mean of the positions that its members want.
    """
    order = np.argsort(positions, kind="stable")
    blocks: list[list[float]] = []  # of positions
    for position in np.asarray(positions, dtype=float)[order]:
        blocks.append([position])
        while len(blocks) > 1 and _first(blocks[-1], step) - _last(blocks[-2], step) < step:
            tail = blocks.pop()
            blocks[-1] += tail
    values = [_first(block, step) + i * step for block in blocks for i in range(len(block))]
    return [values[i] for i in np.argsort(order, kind="stable")]


def _first(block: list[float], step: float) -> float:
    return float(np.mean(block)) - (len(block) - 1) * step / 2


def _last(block: list[float], step: float) -> float:
    return float(np.mean(block)) + (len(block) - 1) * step / 2
