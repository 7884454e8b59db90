"""The figure that shows the message of a run: how each variant is trained, its draws for one, ELBO and images."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.reporting.descriptions import describe_variant
from benchmarks.reporting.figures import looks, style
from benchmarks.reporting.figures.images import draw_strip
from benchmarks.reporting.image_arrays import Array, Arrays
from benchmarks.reporting.summaries import DrawsForOne

TITLE = "Same network, data and initial weights; only the encoder's gradient differs"
ROWS = 4
ROW_HEIGHT = 0.72  # inches
LEFT, RATE, ELBO, IMAGES = 0.012, 0.43, 0.535, 0.565  # positions of the columns, fractions of the width


def draw_hero(rows: pd.DataFrame, by_variant: Mapping[str, tuple[int, Arrays]], rates: DrawsForOne) -> Figure | None:
    """Draw one row for each of the first variants that have an ELBO and images; None if there are fewer than two."""
    final = rows[(rows["status"] == "ok") & (rows["epoch"] == rows["epoch"].max())].dropna(subset=["elbo"])
    names = [name for name in dict.fromkeys(final["variant"]) if name in by_variant]
    names = looks.choose_story(names)[:ROWS]
    colours = {name: look["color"] for name, look in looks.assign_looks(list(dict.fromkeys(rows["variant"]))).items()}
    if len(names) < 2 or final["likelihood"].nunique() > 1:
        return None
    with plt.rc_context(style.plot_style("white")):
        lines = len(names) + 1
        height = ROW_HEIGHT * lines + 1.35
        figure = plt.figure(figsize=(style.WIDTH, height), layout="none")
        figure.suptitle(TITLE, x=LEFT, y=1 - 0.25 / height, fontsize=12, weight="bold", ha="left", va="center")
        _write_header(figure, 1 - 0.62 / height, bool(rates.texts))
        seed, arrays = by_variant[names[0]]
        _draw_row(figure, _row_bottom(0, height), height, arrays["originals"])
        figure.text(LEFT, _row_bottom(0, height) + ROW_HEIGHT / 2 / height, "test images", weight="bold", va="center")
        for i, name in enumerate(names, 1):
            bottom = _row_bottom(i, height)
            middle = bottom + ROW_HEIGHT / 2 / height
            _draw_row(figure, bottom, height, by_variant[name][1]["reconstructions"])
            _write_row(figure, middle, final[final["variant"] == name], rates.texts.get(name, ""), colours[name])
        measured = f"Draws for one: {rates.meaning}. " if rates.texts else ""
        note = f"{measured}ELBO: nats per test image, median of {final['seed'].nunique()} seeds. Images: seed {seed}."
        style.add_note(figure, f"{rows['dataset'].iloc[0]}. {note}")
        return figure


def _row_bottom(row: int, height: float) -> float:
    return 1 - (0.85 + ROW_HEIGHT * (row + 1)) / height


def _write_header(figure: Figure, y: float, with_rates: bool) -> None:
    texts = [(LEFT, "how it is trained", "left"), (ELBO, "test ELBO", "right"), (IMAGES, "reconstructions", "left")]
    for x, text, side in [*texts, *([(RATE, "draws for one", "right")] if with_rates else [])]:
        figure.text(x, y, text, ha=side, va="center", color=style.GREY)


def _draw_row(figure: Figure, bottom: float, height: float, images: Array) -> None:
    axes = figure.add_axes((IMAGES, bottom + 0.06 / height, 1 - IMAGES - 0.01, (ROW_HEIGHT - 0.12) / height))
    draw_strip(axes, images)
    axes.set_anchor("W")
    figure.add_artist(Line2D([LEFT, 0.99], [bottom + ROW_HEIGHT / height] * 2, color="0.88", linewidth=0.8))


def _write_row(figure: Figure, y: float, rows: pd.DataFrame, rate: str, colour: str) -> None:
    first = rows.iloc[0]
    name, shift = str(first["variant"]), 0.1 / figure.get_figheight()
    description = describe_variant(
        first["objective"], first["estimator"], first.fillna("")["baseline"], int(first["draws"])
    )
    figure.text(LEFT, y + shift, name, weight="bold", color=colour, va="center", fontsize=10)
    figure.text(LEFT, y - shift, description, color=style.GREY, va="center", fontsize=style.SMALL)
    figure.text(ELBO, y, f"{rows['elbo'].median():.1f}", ha="right", va="center", weight="bold", color=colour)
    figure.text(RATE, y, rate, ha="right", va="center", weight="bold", color=colour)
