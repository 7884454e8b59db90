"""Draw the slides for teachers from the committed results: python -m docs.slides."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.gradient_studies.report import exchange_figures, one_dimension, tables
from benchmarks.reporting import results_table
from benchmarks.reporting.descriptions import describe_variant
from benchmarks.reporting.figures import curves, hero, images, style, two_networks
from benchmarks.reporting.figures.looks import Looks, assign_looks, choose_story

FOLDER = Path(__file__).parent / "learn" / "slides"
RESULTS = Path(__file__).parents[1] / "results"
SIZE = (style.WIDTH, style.WIDTH * 9 / 16)  # inches; shown at 1920 x 1080 pixels, 8 points are 25 pixels
TITLE_SIZE = 14  # points
BARS = ("vae", "reinforce-vae-loo", "reinforce-vae-nvil", "reinforce-vae-ema", "reinforce-vae")
STAGES = {"end": (-0.12, 0.4, 1.0, ""), "initial": (0.25, 0.2, 0.35, "at the start: ")}  # y, height, opacity, label
MARGINS = dict.fromkeys(("figure.constrained_layout.w_pad", "figure.constrained_layout.h_pad"), 0.1)  # inches
LEFT_END = 0.6  # of the bars, so that one draw is a visible bar


def draw_slides(results: pd.DataFrame, laboratory: pd.DataFrame) -> dict[str, Figure]:
    """Return the slides by file name.

    results: of the run `default`. laboratory: of the gradient studies.
    """
    looks = assign_looks(list(dict.fromkeys(results["variant"])))
    with plt.rc_context(style.plot_style("ticks") | MARGINS):
        return {
            "1-two-networks": draw_networks(results),
            "2-draws-for-one": draw_draws_for_one(laboratory[laboratory["study"] == "training"], looks),
            "3-models": draw_models(results, laboratory),
            "4-cosine": draw_cosine(laboratory[laboratory["study"] == "counter-example"], looks),
        }


def draw_networks(results: pd.DataFrame) -> Figure:
    """Draw both networks with the outcome of each."""
    figure = two_networks.draw_two_networks(results)
    add_texts(figure, "Where does the gradient go? A draw inside the network stops it", "", "run --all", results)
    figure.subplots_adjust(bottom=0.05, top=0.9)
    return figure


def draw_draws_for_one(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw the draws for one as bars."""
    rates = tables.select_over_seeds(rows, "exchange_rate")
    rates = rates[rates["variant"].isin(BARS)]
    figure, axes = plt.subplots(figsize=SIZE)
    draw_bars(axes, rates, looks)
    finding = exchange_figures.find_rates(rates[rates["checkpoint"] == "end"])
    note = "Bars: end of training; pale bars: its start. Geometric means over seeds, at equal weights."
    add_texts(figure, f"At the end of training, {finding}", note, "gradients --study training", rows)
    return figure


def draw_bars(axes: Axes, rates: pd.DataFrame, looks: Looks) -> None:
    """Draw the exchange rate of each variant at the end of training as a bar, and that at the start as a pale bar."""
    labels = []
    for i, name in enumerate(BARS):
        points, colour = rates[rates["variant"] == name].set_index("checkpoint"), looks[name]["color"]
        for stage, (shift, height, opacity, label) in STAGES.items():
            value, y = points["value"][stage], i + shift
            axes.barh(y, value - LEFT_END, height, LEFT_END, color=colour, alpha=opacity, label=name)
            text = f"{label}{tables.format_draws(value)}"
            axes.annotate(text, (value, y), (4, 0), textcoords="offset points", va="center", color=colour)
        first = points.iloc[0]
        fields = (first["objective"], first["estimator"], first["baseline"], int(first["draws"]))
        labels.append(f"{name}\n{describe_variant(*fields)}")
    axes.set_yticks(range(len(BARS)), labels)
    for name, label in zip(BARS, axes.get_yticklabels(), strict=True):
        label.set_color(looks[name]["color"])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(LEFT_END, 1.2 * rates["value"].max())
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("draws that match the gradient variance of one reparameterized draw")


def draw_models(results: pd.DataFrame, laboratory: pd.DataFrame) -> Figure:
    """Draw what the variants of the story reconstruct."""
    rates = exchange_figures.describe_draws_for_one(laboratory)
    figure = hero.draw_hero(results, images.read_first_seeds(results, RESULTS / "default"), rates)
    story = choose_story(list(dict.fromkeys(results["variant"])))[: hero.ROWS]
    finding = curves.find_gap(results[results["variant"].isin(story)])
    add_texts(figure, finding, " ".join(figure.get_supxlabel().split()), "run --all and gradients", results)
    return figure


def draw_cosine(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw where REINFORCE has the lower variance."""
    figure, axes = plt.subplots(figsize=SIZE)
    one_dimension.draw_cosine_variances(axes, rows[rows["variant"].isin(["closed form", BARS[0], BARS[-1]])], looks)
    note = "z ~ N(0, 1), gradient in the mean. Lines: closed forms; points: measured, mean over seeds."
    finding = one_dimension.find_lower_score(rows)
    add_texts(figure, finding, note, "gradients --study counter-example", rows)
    style.label_ends(axes)
    return figure


def add_texts(figure: Figure, title: str, note: str, command: str, rows: pd.DataFrame) -> None:
    """Give the figure the size of a slide, its title, and a note with its source and licence."""
    folder = RESULTS / ("default" if command.startswith("run") else "gradients")
    version = json.loads((folder / "environment.json").read_text(encoding="utf-8"))["packages"]["vaezoo"]
    source = f"vaezoo {version}, python -m benchmarks {command}, {rows['seed'].nunique()} seeds"
    figure.set_size_inches(SIZE)
    style.set_title(figure, title, TITLE_SIZE)
    style.add_note(figure, f"{note}\n{source}. The vaezoo authors, CC BY 4.0.".lstrip())


def save_slide(figure: Figure, stem: Path) -> None:
    """Write the slide as PDF and as SVG of 1920 x 1080 pixels."""
    path = style.save_figure(figure, stem, ("pdf", "svg"))
    text = path.read_text(encoding="utf-8")
    size = 'width="1920" height="1080"'
    path.write_text(re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', size, text, count=1), encoding="utf-8")


if __name__ == "__main__":
    run = results_table.read_results(RESULTS / "default" / "results.csv")
    for name, slide in draw_slides(run, tables.read_gradients(RESULTS / "gradients" / "gradients.csv")).items():
        save_slide(slide, FOLDER / name)
