"""Figures of gradients.csv: one figure for each study, and a summary of four studies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common.seed_statistics import geometric_mean
from benchmarks.gradient_studies.columns import CHECKPOINTS, UNITS
from benchmarks.gradient_studies.report.panels import (
    ELBO_OBJECTIVES,
    MEDIANS_NOTE,
    draw_budget,
    draw_learning_rate,
    draw_lines,
    place_legend_beside,
    select_rows,
    set_log_axes,
    set_log_y,
)
from benchmarks.gradient_studies.report.tables import format_digits, select_over_seeds
from benchmarks.reporting import plots
from benchmarks.reporting.plots import Looks

UNIT = UNITS["variance"]
OVER_SEEDS = "Points: geometric mean over seeds; bars: range over seeds."
AT_MIDDLE = "Measured at the middle of the reference model's training."
SCALE_LABEL = "factor on the scale of the approximate posterior"
CHECKPOINT_POSITIONS = {name: i for i, name in enumerate(CHECKPOINTS)}


def write_figures(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the figures of all studies in the table, for each data set; return the paths of the PNG files."""
    written = []
    datasets = [name for name in table["dataset"].unique() if name]
    for dataset in datasets:
        rows = table[table["dataset"] == dataset]
        suffix = f"-{re.sub('[^A-Za-z0-9_-]+', '-', dataset)}" if len(datasets) > 1 else ""
        with plt.rc_context(plots.plot_style("ticks")):
            names = [name for name in dict.fromkeys(rows["variant"]) if name != "closed form"]
            for name, figure in _draw_figures(rows, plots.assign_looks(names)):
                written.append(plots.save_figure(figure, folder / f"{name}{suffix}"))
    return written


def _draw_figures(rows: pd.DataFrame, looks: Looks) -> Iterator[tuple[str, Figure]]:
    for study in [s for s in STUDY_FIGURES if (rows["study"] == s).any()]:
        study_rows = rows[rows["study"] == study]
        figure = STUDY_FIGURES[study](study_rows, looks)
        _add_note(figure, study_rows, NOTES[study])
        yield study, figure
    if {"training", "posterior-scale", "draws", "counter-example"} <= set(rows["study"]):
        yield "summary", _draw_summary(rows, looks)


def _add_note(figure: Figure, rows: pd.DataFrame, note: str) -> None:
    count = rows["seed"].nunique()
    text = f"{rows['dataset'].iloc[0]}, {count} seed{'s' if count > 1 else ''}. {note}"
    figure.supxlabel(text, fontsize=8, color="0.35", x=0.01, ha="left")


def _draw_two_panels(rows: pd.DataFrame, looks: Looks, part: str, title: str) -> tuple[Figure, list[Axes]]:
    """Draw the gradient variance: objectives that are the ELBO in the left panel, all others in the right panel."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
    variances = select_rows(rows, "variance", part)
    is_bound = variances["objective"].isin(ELBO_OBJECTIVES)
    groups = (left, variances[is_bound], "ELBO"), (right, variances[~is_bound], "other objectives")
    for axes, points, objectives in groups:
        draw_lines(axes, points, looks)
        axes.set_title(f"{title}: {objectives}")
        if len(points):
            place_legend_beside(axes)
    left.set_ylabel(f"{'total ' if part == 'total' else ''}gradient variance, encoder\n({UNIT})")
    return figure, [left, right]


def _draw_training(rows: pd.DataFrame, looks: Looks) -> Figure:
    rows = rows.assign(setting_value=rows["checkpoint"].map(CHECKPOINT_POSITIONS))
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    draw_lines(left, select_rows(rows, "variance"), looks)
    set_log_y(left)
    place_legend_beside(left)
    left.set(ylabel=f"gradient variance, encoder\n({UNIT})")
    left.set_title("Variance over the latent noise, at equal parameters")
    _draw_exchange_rates(right, rows)
    for axes in (left, right):
        axes.set_xticks(range(4), CHECKPOINTS)
        axes.set_xlabel("checkpoint of the reference model")
    return figure


def _draw_exchange_rates(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw the exchange rates of REINFORCE for each baseline, with their intervals over seeds."""
    rates = select_over_seeds(rows, "exchange_rate")
    rates = rates[(rates["estimator"] == "score_function") & (rates["objective"] == "elbo")]
    for i, (baseline, points) in enumerate(rates.groupby("baseline", sort=False)):
        points = points[points["draws"] == points["draws"].min()]
        x = points["checkpoint"].map(CHECKPOINT_POSITIONS) + 0.05 * (i - 1.5)
        bars = np.vstack([points["value"] - points["low"], points["high"] - points["value"]])
        axes.errorbar(x, points["value"], bars, marker=plots.MARKERS[i], capsize=3, label=f"baseline: {baseline}")
        for position, value in zip(x, points["value"], strict=True):
            if i == 0:
                axes.annotate(
                    format_digits(value), (position, value), xytext=(4, 5), textcoords="offset points", fontsize=8
                )
    axes.axhline(1, color="0.3", linewidth=0.8, linestyle="dotted")
    axes.annotate("one reparameterized draw", (0, 1), xytext=(0, 3), textcoords="offset points", fontsize=8)
    set_log_y(axes)
    axes.set(ylabel="draws of REINFORCE to match the variance\nof one reparameterized draw")
    axes.set_xticks(range(4), CHECKPOINTS)
    axes.set_title("Draws of REINFORCE per reparameterized draw")
    axes.legend(fontsize=8)


def _draw_power_law(xlabel: str, title: str) -> Callable[[pd.DataFrame, Looks], Figure]:
    def draw(rows: pd.DataFrame, looks: Looks) -> Figure:
        figure, panels = _draw_two_panels(rows, looks, "latent", title)
        for axes in panels:
            set_log_axes(axes, rows["setting_value"].dropna())
            axes.set_xlabel(xlabel)
        return figure

    return draw


def _draw_number_of_draws(rows: pd.DataFrame, looks: Looks) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    draw_lines(left, select_rows(rows, "variance_x_passes"), looks)
    detectable, floor = _select_detectable(rows)
    draw_lines(right, detectable, looks, label=False)
    right.plot(floor.index, floor, color="0.5", linewidth=0.8, linestyle="dotted")
    _label_end(right, floor, "detection limit", (0, -10))
    for axes in (left, right):
        set_log_axes(axes, rows["setting_value"].dropna())
        axes.set_xlabel("draws, K")
    left.set(ylabel=f"variance x decoder passes\n({UNIT})", title="Variance times decoder passes")
    right.set(ylabel="gradient signal-to-noise ratio", title="Signal-to-noise ratio of the encoder's gradient")
    figure.legend(loc="outside right center", fontsize=7)
    return figure


def _label_end(axes: Axes, line: pd.Series, text: str, offset: tuple[float, float]) -> None:
    end = (line.index[-1], line.iloc[-1])
    axes.annotate(text, end, xytext=offset, textcoords="offset points", fontsize=8, color="0.3", ha="right")


def _select_detectable(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return the signal-to-noise ratios above the detection limit, and that limit by setting."""
    snr = select_rows(rows, "snr")
    floor = select_rows(rows, "snr_floor").groupby("setting_value")["value"].max()
    return snr[snr["value"] > snr["setting_value"].map(floor)], floor


def _draw_batch_size(rows: pd.DataFrame, looks: Looks) -> Figure:
    figure, panels = _draw_two_panels(rows, looks, "total", "Variance by minibatch size")
    variances = rows[(rows["quantity"] == "variance") & rows["seed"].notna()]
    parts = variances[variances["part"].isin(["latent", "minibatch"])]
    parts = parts[parts.groupby("variant")["part"].transform("nunique") == 2]
    for axes, is_bound in zip(panels, (True, False), strict=True):
        group = parts[parts["objective"].isin(ELBO_OBJECTIVES) == is_bound]
        sums = group.groupby(["variant", "seed", "setting_value"], sort=False)["value"].sum().reset_index()
        sums = sums[sums["value"] > 0]  # the minibatch part is a difference and can be negative
        for _, points in sums.groupby("variant", sort=False):
            line = points.groupby("setting_value")["value"].apply(lambda seeds: geometric_mean(seeds.tolist()).value)
            axes.plot(line.index, line, color="0.2", linewidth=0.7, linestyle="dotted", zorder=9)
        set_log_axes(axes, rows["setting_value"].dropna())
        axes.set_xlabel("examples in a minibatch, B")
    return figure


def _draw_counter_example(rows: pd.DataFrame, looks: Looks) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 4.6))
    _draw_cosine(axes, rows, looks)
    place_legend_beside(axes)
    return figure


def _draw_cosine(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    variances = select_rows(rows, "variance")
    exact = variances[variances["variant"] == "closed form"]
    for estimator, line in exact.groupby("estimator", sort=False):
        values = line.groupby("setting_value")["value"].first()
        axes.plot(values.index, values, color="0.3", linewidth=4, alpha=0.25)
        _label_end(axes, values, estimator.replace("_", " "), (-8, 6))
    measured = variances[variances["variant"] != "closed form"]
    for name, points in measured[measured["value"] > 0].groupby("variant", sort=False):
        means = points.groupby("setting_value")["value"].mean()
        style = {key: value for key, value in looks[str(name)].items() if key != "linestyle"}
        axes.plot(means.index, means, label=str(name), linestyle="none", markersize=4, **style)
    set_log_axes(axes, variances["setting_value"])
    axes.set(xlabel="k", ylabel="gradient variance")
    axes.set_title("f(z) = cos(kz): lower variance of REINFORCE for large k")


def _draw_summary(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw exchange rates, the effects of the posterior's scale and of draws, and the counter-example."""
    figure, axes = plt.subplots(2, 2, figsize=(12.5, 8))
    _draw_exchange_rates(axes[0, 0], rows[rows["study"] == "training"])
    scale = select_rows(rows[rows["study"] == "posterior-scale"], "variance")
    draw_lines(axes[0, 1], scale[(scale["objective"] == "elbo")], looks)
    set_log_axes(axes[0, 1], scale["setting_value"].dropna())
    axes[0, 1].set(xlabel=SCALE_LABEL, ylabel=f"gradient variance\n({UNIT})")
    axes[0, 1].set_title("Variance by scale of the posterior: ELBO")
    place_legend_beside(axes[0, 1])
    draws = rows[rows["study"] == "draws"]
    detectable, _ = _select_detectable(draws)
    draw_lines(axes[1, 0], detectable[~detectable["objective"].isin(ELBO_OBJECTIVES)], looks)
    set_log_axes(axes[1, 0], draws["setting_value"].dropna())
    axes[1, 0].set(xlabel="draws, K", ylabel="gradient signal-to-noise ratio")
    axes[1, 0].set_title("Signal-to-noise ratio: objectives other than the ELBO")
    place_legend_beside(axes[1, 0])
    is_cosine = (rows["study"] == "counter-example") & (rows["draws"] == 1) & rows["baseline"].isin(["", "none"])
    _draw_cosine(axes[1, 1], rows[is_cosine], looks)
    _add_note(figure, rows, "Encoder parameters, at equal weights, minibatch and noise.")
    return figure


STUDY_FIGURES: dict[str, Callable[[pd.DataFrame, Looks], Figure]] = {
    "training": _draw_training,
    "latent-dim": _draw_power_law("number of latent variables", "Variance by number of latent variables"),
    "draws": _draw_number_of_draws,
    "batch-size": _draw_batch_size,
    "posterior-scale": _draw_power_law(SCALE_LABEL, "Variance by scale of the posterior"),
    "counter-example": _draw_counter_example,
    "learning-rate": draw_learning_rate,
    "budget": draw_budget,
}
NOTES = {
    "training": "Left: geometric mean and range over seeds. Right: geometric mean with 95 % t-interval over seeds.",
    "latent-dim": f"One reference model per number of latent variables, at the middle of its training. {OVER_SEEDS}",
    "draws": f"{AT_MIDDLE} {OVER_SEEDS}",
    "batch-size": f"{AT_MIDDLE} {OVER_SEEDS} Dotted: sum of the latent and the minibatch part.",
    "posterior-scale": f"{AT_MIDDLE} {OVER_SEEDS}",
    "counter-example": "z ~ N(0, 1), gradient in the mean. Bands: closed forms; points: measured, mean over seeds.",
    "learning-rate": f"Ring: learning rate that the validation split chose. {MEDIANS_NOTE}",
    "budget": f"Each variant at the learning rate that the validation split chose. {MEDIANS_NOTE}",
}
