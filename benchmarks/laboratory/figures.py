"""Figures of the laboratory, from gradients.csv alone: one a study, and one that sums them up. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.laboratory.columns import UNITS
from benchmarks.laboratory.panels import BOUND, beside, lines, logarithmic, powers, rows_of
from benchmarks.laboratory.tables import number, over_seeds
from benchmarks.laboratory.trained_figures import MEDIANS, budget, learning_rate
from benchmarks.plots import Look
from benchmarks.statistics import geometric

CHECKPOINTS = ("initial", "early", "middle", "end")
UNIT = UNITS["variance"]
OVER_SEEDS = "Points: geometric mean over seeds; bars: their range."


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw what the table allows into the folder; the files."""
    written = []
    datasets = [name for name in table["dataset"].unique() if name]
    for dataset in datasets:
        rows = table[table["dataset"] == dataset]
        suffix = f"-{re.sub('[^A-Za-z0-9_-]+', '-', dataset)}" if len(datasets) > 1 else ""
        with plt.rc_context(plots.house_style("ticks")):
            names = [name for name in dict.fromkeys(rows["variant"]) if name != "closed form"]
            for name, figure in _figures(rows, plots.looks(names)):
                written.append(plots.save(figure, folder / f"{name}{suffix}"))
    return written


def _figures(rows: pd.DataFrame, look: Look) -> Iterator[tuple[str, Figure]]:
    for study in [s for s in DRAWN if (rows["study"] == s).any()]:
        figure = DRAWN[study](rows[rows["study"] == study], look)
        where = f"{rows['dataset'].iloc[0]}, {_seeds(rows[rows['study'] == study])}"
        figure.supxlabel(f"{where}. {NOTES[study]}", fontsize=8, color="0.35", x=0.01, ha="left")
        yield study, figure
    if {"training", "posterior-scale", "draws", "counter-example"} <= set(rows["study"]):
        yield "summary", _summary(rows, look)


def _seeds(rows: pd.DataFrame) -> str:
    count = rows["seed"].nunique()
    return f"{count} seed{'s' if count > 1 else ''}"


def _two(rows: pd.DataFrame, quantity: str, look: Look, part: str = "latent") -> tuple[Figure, list[Axes]]:
    """The evidence lower bound to the left, every other objective to the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
    own = rows_of(rows, quantity, part)
    bound = own["objective"].isin(BOUND)
    for axes, chosen, title in ((left, own[bound], "the ELBO"), (right, own[~bound], "other objectives")):
        lines(axes, chosen, look)
        axes.set_title(title)
        if len(chosen):
            beside(axes)
    return figure, [left, right]


def _training(rows: pd.DataFrame, look: Look) -> Figure:
    at = {name: i for i, name in enumerate(CHECKPOINTS)}
    rows = rows.assign(setting_value=rows["checkpoint"].map(at))
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    own = rows_of(rows, "variance")
    lines(left, own, look)
    powers(left)
    beside(left)
    left.set(ylabel=f"gradient variance, encoder\n({UNIT})")
    left.set_title("Variance over the latent noise, at equal parameters")
    _exchange(right, rows)
    for axes in (left, right):
        axes.set_xticks(range(4), CHECKPOINTS)
        axes.set_xlabel("reference model's training")
    return figure


def _exchange(axes: Axes, rows: pd.DataFrame) -> None:
    """Exchange rates of the score function by baseline, with their intervals over seeds."""
    chosen = over_seeds(rows, "exchange_rate")
    chosen = chosen[(chosen["estimator"] == "score_function") & (chosen["objective"] == "elbo")]
    at = {name: i for i, name in enumerate(CHECKPOINTS)}
    for i, (baseline, own) in enumerate(chosen.groupby("baseline", sort=False)):
        own = own[own["draws"] == own["draws"].min()]
        x = own["checkpoint"].map(at) + 0.05 * (i - 1.5)
        bars = np.vstack([own["value"] - own["low"], own["high"] - own["value"]])
        axes.errorbar(x, own["value"], bars, marker=plots.MARKERS[i], capsize=3, label=f"baseline: {baseline}")
        for position, value in zip(x, own["value"], strict=True):
            if i == 0:
                axes.annotate(number(value), (position, value), xytext=(4, 5), textcoords="offset points", fontsize=8)
    axes.axhline(1, color="0.3", linewidth=0.8, linestyle="dotted")
    axes.annotate("one reparameterized draw", (0, 1), xytext=(0, 3), textcoords="offset points", fontsize=8)
    powers(axes)
    axes.set(ylabel="draws of REINFORCE for the variance\nof one reparameterized draw")
    axes.set_xticks(range(4), CHECKPOINTS)
    axes.set_title("What the decoder's derivative is worth")
    axes.legend(fontsize=8)


def _power_law(xlabel: str, title: str) -> Callable[[pd.DataFrame, Look], Figure]:
    def draw(rows: pd.DataFrame, look: Look) -> Figure:
        figure, both = _two(rows, "variance", look)
        for axes in both:
            logarithmic(axes, rows["setting_value"].dropna())
            axes.set_xlabel(xlabel)
        both[0].set_ylabel(f"gradient variance, encoder\n({UNIT})")
        both[0].set_title(f"{title}: the ELBO")
        return figure

    return draw


def _draws(rows: pd.DataFrame, look: Look) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    lines(left, rows_of(rows, "variance_x_passes"), look)
    snr = rows_of(rows, "snr")
    floor = rows_of(rows, "snr_floor").groupby("setting_value")["value"].max()
    seen = snr[snr["value"] > snr["setting_value"].map(floor)]
    lines(right, seen, look, label=False)
    right.plot(floor.index, floor, color="0.5", linewidth=0.8, linestyle="dotted")
    right.annotate("floor: nothing below can be seen", (floor.index[0], floor.iloc[0]), fontsize=8, color="0.4")
    for axes in (left, right):
        logarithmic(axes, rows["setting_value"].dropna())
        axes.set_xlabel("draws, K")
    left.set(
        ylabel=f"variance x decoder passes\n({UNIT})", title="Work-normalised variance: flat is all that draws buy"
    )
    right.set(ylabel="gradient signal-to-noise ratio", title="More draws can drown the encoder's signal")
    figure.legend(loc="outside right center", fontsize=7)
    return figure


def _batch_size(rows: pd.DataFrame, look: Look) -> Figure:
    figure, both = _two(rows, "variance", look, "total")
    for axes, is_bound in zip(both, (True, False), strict=True):
        parts = rows[
            (rows["quantity"] == "variance") & rows["part"].isin(["latent", "minibatch"]) & rows["seed"].notna()
        ]
        parts = parts[parts["objective"].isin(BOUND) == is_bound]
        both_parts = parts.groupby("variant")["part"].transform("nunique") == 2
        sums = parts[both_parts].groupby(["variant", "seed", "setting_value"], sort=False)["value"].sum().reset_index()
        sums = sums[sums["value"] > 0]  # the minibatch's part is a difference, and may come out negative
        for _, own in sums.groupby("variant", sort=False):
            line = own.groupby("setting_value")["value"].apply(lambda values: geometric(values.tolist()).value)
            axes.plot(line.index, line, color="0.2", linewidth=0.7, linestyle="dotted", zorder=9)
        logarithmic(axes, rows["setting_value"].dropna())
        axes.set_xlabel("examples in a minibatch, B")
    both[0].set_ylabel(f"variance of a fresh gradient, encoder\n({UNIT})")
    both[0].set_title("Noise and minibatch fall together as 1/B: the ELBO")
    return figure


def _counter_example(rows: pd.DataFrame, look: Look) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 4.6))
    _waves(axes, rows, look)
    beside(axes)
    return figure


def _waves(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    own = rows_of(rows, "variance")
    exact = own[own["variant"] == "closed form"]
    for estimator, line in exact.groupby("estimator", sort=False):
        values = line.groupby("setting_value")["value"].first()
        axes.plot(values.index, values, color="0.3", linewidth=4, alpha=0.25)
        axes.annotate(estimator.replace("_", " "), (values.index[-1], values.iloc[-1]), fontsize=8, color="0.3")
    measured = own[own["variant"] != "closed form"]
    for name, points in measured[measured["value"] > 0].groupby("variant", sort=False):
        by = points.groupby("setting_value")["value"].mean()
        style = {key: value for key, value in look[str(name)].items() if key != "linestyle"}
        axes.plot(by.index, by, label=str(name), linestyle="none", markersize=4, **style)
    logarithmic(axes, own["setting_value"])
    axes.set(xlabel="k", ylabel="variance of one draw's gradient")
    axes.set_title("Where REINFORCE wins: f(z) = cos(kz)")


def _summary(rows: pd.DataFrame, look: Look) -> Figure:
    """Four panels: what it saves, where it matters most, what draws do to it, where it loses."""
    figure, axes = plt.subplots(2, 2, figsize=(12.5, 8))
    _exchange(axes[0, 0], rows[rows["study"] == "training"])
    scale = rows_of(rows[rows["study"] == "posterior-scale"], "variance")
    lines(axes[0, 1], scale[(scale["objective"] == "elbo")], look)
    logarithmic(axes[0, 1], scale["setting_value"].dropna())
    axes[0, 1].set(xlabel="scale of q, as a factor", ylabel=f"gradient variance\n({UNIT})")
    axes[0, 1].set_title("REINFORCE gets worse as q narrows")
    beside(axes[0, 1])
    snr = rows[rows["study"] == "draws"]
    seen = rows_of(snr, "snr")
    floor = rows_of(snr, "snr_floor").groupby("setting_value")["value"].max()
    seen = seen[(seen["value"] > seen["setting_value"].map(floor)) & ~seen["objective"].isin(BOUND)]
    lines(axes[1, 0], seen, look)
    logarithmic(axes[1, 0], snr["setting_value"].dropna())
    axes[1, 0].set(xlabel="draws, K", ylabel="gradient signal-to-noise ratio")
    axes[1, 0].set_title("Tighter bounds: DReG keeps the encoder's signal")
    beside(axes[1, 0])
    waves = rows[(rows["study"] == "counter-example") & (rows["draws"] == 1) & rows["baseline"].isin(["", "none"])]
    _waves(axes[1, 1], waves, look)
    where = f"{rows['dataset'].iloc[0]}, {_seeds(rows)}. Encoder's parameters, at equal weights, minibatch and noise."
    figure.supxlabel(where, fontsize=8, color="0.35", x=0.01, ha="left")
    return figure


DRAWN: dict[str, Callable[[pd.DataFrame, Look], Figure]] = {
    "training": _training,
    "latent-dim": _power_law("latents", "More latents"),
    "draws": _draws,
    "batch-size": _batch_size,
    "posterior-scale": _power_law("scale of q, as a factor", "A narrower posterior"),
    "counter-example": _counter_example,
    "learning-rate": learning_rate,
    "budget": budget,
}
NOTES = {
    "training": f"Left: {OVER_SEEDS} Right: geometric mean with 95 % t-interval over seeds.",
    "latent-dim": f"One reference model a number of latents, at the middle of its training. {OVER_SEEDS}",
    "draws": f"At the middle of the reference model's training. {OVER_SEEDS}",
    "batch-size": f"At the middle of training. {OVER_SEEDS} Dotted: the two parts, measured apart, over B.",
    "posterior-scale": f"At the middle of the reference model's training. {OVER_SEEDS}",
    "counter-example": "z ~ N(0, 1), gradient in the mean. Bands: closed forms; points: measured, mean over seeds.",
    "learning-rate": f"Ring: the rate that the validation split chooses. {MEDIANS}",
    "budget": f"Each variant at the learning rate that the validation split chooses. {MEDIANS}",
}
