"""Figures of gradients.csv: one figure for each study, and a summary of four studies."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gradient_studies.columns import CHECKPOINTS, UNITS
from benchmarks.gradient_studies.report import panels
from benchmarks.gradient_studies.report.panels import MEDIANS_NOTE, draw_budget, draw_learning_rate
from benchmarks.gradient_studies.report.tables import select_over_seeds
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
    for study, (draw, note) in STUDY_FIGURES.items():
        study_rows = rows[rows["study"] == study]
        if len(study_rows):
            figure = draw(study_rows, looks)
            _add_note(figure, study_rows, note)
            yield study, figure
    if {"training", "posterior-scale", "draws", "counter-example"} <= set(rows["study"]):
        yield "summary", _draw_summary(rows, looks)


def _add_note(figure: Figure, rows: pd.DataFrame, note: str) -> None:
    count = rows["seed"].nunique()
    text = f"{rows['dataset'].iloc[0]}, {count} seed{'s' if count > 1 else ''}. {note}"
    figure.supxlabel(text, fontsize=8, color="0.35", x=0.01, ha="left")


def _draw_training(rows: pd.DataFrame, looks: Looks) -> Figure:
    rows = rows.assign(setting_value=rows["checkpoint"].map(CHECKPOINT_POSITIONS))
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    panels.draw_lines(left, panels.select_positive(rows, "variance"), looks)
    panels.set_log_y(left)
    panels.place_legend_beside(left)
    left.set(
        ylabel=f"gradient variance, encoder\n({UNIT})", title="Variance over the latent noise, at equal parameters"
    )
    _draw_exchange_rates(right, rows, looks)
    for axes in (left, right):
        axes.set_xticks(range(4), CHECKPOINTS)
        axes.set_xlabel("checkpoint of the reference model")
    return figure


def _draw_exchange_rates(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    """Draw the exchange rate of each variant whose estimator is not pathwise, with its interval over seeds."""
    rates = select_over_seeds(rows, "exchange_rate")
    lines = [points for _, points in rates[rates["estimator"] != "pathwise"].groupby("variant", sort=False)]
    for points, shift in zip(lines, np.linspace(-0.2, 0.2, len(lines)), strict=True):
        name = points["variant"].iloc[0]
        x = points["checkpoint"].map(CHECKPOINT_POSITIONS) + shift  # beside each other, so that all bars are visible
        bars = np.vstack([points["value"] - points["low"], points["high"] - points["value"]])
        style = looks[name] | {"markersize": 5, "capsize": 2, "linewidth": 1.3, "elinewidth": 0.8}
        axes.errorbar(x, points["value"], bars, label=name, **style)
    axes.axhline(1, color="0.3", linewidth=0.8, linestyle="dotted")
    right_end = axes.get_yaxis_transform()
    axes.annotate("one pathwise draw", (1, 1), (0, 3), right_end, "offset points", ha="right", fontsize=8)
    panels.set_log_y(axes)
    axes.set_xticks(range(4), CHECKPOINTS)
    axes.set(
        ylabel="draws to match the variance of one\npathwise draw of the same objective",
        title="Draws for one pathwise draw",
    )
    panels.place_legend_beside(axes)


def _draw_variances(rows: pd.DataFrame, looks: Looks, setting: str, label: str = "", part: str = "latent") -> Figure:
    """Draw the gradient variance: objectives that are the ELBO in the left panel, all others in the right panel."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6), sharey=True)
    groups = panels.split_by_objective(panels.select_positive(rows, "variance", part))
    for axes, points, objectives in zip((left, right), groups, ("ELBO", "other objectives"), strict=True):
        panels.draw_lines(axes, points, looks)
        panels.place_legend_beside(axes)
        panels.set_log_axes(axes, rows["setting_value"], label or setting)
        axes.set_title(f"Variance by {setting}: {objectives}")
    left.set_ylabel(f"{'total ' if part == 'total' else ''}gradient variance, encoder\n({UNIT})")
    return figure


def _draw_batch_size(rows: pd.DataFrame, looks: Looks) -> Figure:
    figure = _draw_variances(rows, looks, "minibatch size", "examples in a minibatch, B", "total")
    variances = rows[(rows["quantity"] == "variance") & rows["seed"].notna()]
    parts = variances[variances["part"].isin(["latent", "minibatch"])]
    parts = parts[parts.groupby("variant")["part"].transform("nunique") == 2]
    for axes, group in zip(figure.axes, panels.split_by_objective(parts), strict=True):
        sums = group.groupby(["variant", "seed", "setting_value"], sort=False)["value"].sum().reset_index()
        sums = sums[sums["value"] > 0]  # the minibatch part is a difference and can be negative
        for _, points in sums.groupby("variant", sort=False):
            line = points.groupby("setting_value")["value"].apply(panels.geometric_mean)
            axes.plot(line.index, line, color="0.2", linewidth=0.7, linestyle="dotted", zorder=9)
    return figure


def _draw_number_of_draws(rows: pd.DataFrame, looks: Looks) -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.6))
    panels.draw_lines(left, panels.select_positive(rows, "variance_x_passes"), looks)
    detectable, floor = _select_detectable(rows)
    panels.draw_lines(right, detectable, looks)
    right.plot(floor.index, floor, color="0.5", linewidth=0.8, linestyle="dotted")
    _label_end(right, floor, "detection limit", (0, -10))
    for axes in (left, right):
        panels.set_log_axes(axes, rows["setting_value"], "draws, K")
    left.set(ylabel=f"variance x decoder passes\n({UNIT})", title="Variance times decoder passes")
    right.set(ylabel="gradient signal-to-noise ratio", title="Signal-to-noise ratio of the encoder's gradient")
    figure.legend(*left.get_legend_handles_labels(), loc="outside right center", fontsize=7)
    return figure


def _label_end(axes: Axes, line: pd.Series, text: str, offset: tuple[float, float]) -> None:
    end = (line.index[-1], line.iloc[-1])
    axes.annotate(text, end, xytext=offset, textcoords="offset points", fontsize=8, color="0.3", ha="right")


def _select_detectable(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return the signal-to-noise ratios above the detection limit, and that limit by setting."""
    snr = panels.select_positive(rows, "snr")
    floor = panels.select_positive(rows, "snr_floor").groupby("setting_value")["value"].max()
    return snr[snr["value"] > snr["setting_value"].map(floor)], floor


def _draw_counter_example(rows: pd.DataFrame, looks: Looks) -> Figure:
    figure, axes = plt.subplots(figsize=(8, 4.6))
    _draw_cosine(axes, rows, looks)
    panels.place_legend_beside(axes)
    return figure


def _draw_cosine(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    variances = panels.select_positive(rows, "variance")
    exact = variances[variances["variant"] == "closed form"]
    for estimator, line in exact.groupby("estimator", sort=False):
        values = line.groupby("setting_value")["value"].first()
        axes.plot(values.index, values, color="0.3", linewidth=4, alpha=0.25)
        _label_end(axes, values, estimator.replace("_", " "), (-8, 6))
    measured = variances[variances["variant"] != "closed form"]
    for name, points in measured.groupby("variant", sort=False):
        means = points.groupby("setting_value")["value"].mean()
        style = looks[str(name)] | {"linestyle": "none", "markersize": 4}
        axes.plot(means.index, means, label=str(name), **style)
    panels.set_log_axes(axes, variances["setting_value"], "k")
    axes.set(ylabel="gradient variance", title="f(z) = cos(kz): lower variance of REINFORCE for large k")


def _draw_summary(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw exchange rates, the effects of the posterior's scale and of draws, and the counter-example."""
    figure, ((rates, scales), (ratios, cosine)) = plt.subplots(2, 2, figsize=(12.5, 8))
    _draw_exchange_rates(rates, rows[rows["study"] == "training"], looks)
    scaled = panels.select_positive(rows[rows["study"] == "posterior-scale"], "variance")
    panels.draw_lines(scales, scaled[scaled["objective"] == "elbo"], looks)
    panels.set_log_axes(scales, scaled["setting_value"], SCALE_LABEL)
    scales.set(ylabel=f"gradient variance\n({UNIT})", title="Variance by scale of the posterior: ELBO")
    by_draws = rows[rows["study"] == "draws"]
    panels.draw_lines(ratios, panels.split_by_objective(_select_detectable(by_draws)[0])[1], looks)
    panels.set_log_axes(ratios, by_draws["setting_value"], "draws, K")
    ratios.set(ylabel="gradient signal-to-noise ratio", title="Signal-to-noise ratio: objectives other than the ELBO")
    for axes in (scales, ratios):
        panels.place_legend_beside(axes)
    is_cosine = (rows["study"] == "counter-example") & (rows["draws"] == 1) & rows["baseline"].isin(["", "none"])
    _draw_cosine(cosine, rows[is_cosine], looks)
    _add_note(figure, rows, "Encoder parameters, at equal weights, minibatch and noise.")
    return figure


STUDY_FIGURES: dict[str, tuple[Callable[[pd.DataFrame, Looks], Figure], str]] = {
    "training": (
        _draw_training,
        "Left: geometric mean and range over seeds. Right: geometric mean with 95 % t-interval over seeds.",
    ),
    "latent-dim": (
        partial(_draw_variances, setting="number of latent variables"),
        f"One reference model per number of latent variables, at the middle of its training. {OVER_SEEDS}",
    ),
    "draws": (_draw_number_of_draws, f"{AT_MIDDLE} {OVER_SEEDS}"),
    "batch-size": (_draw_batch_size, f"{AT_MIDDLE} {OVER_SEEDS} Dotted: sum of the latent and the minibatch part."),
    "posterior-scale": (
        partial(_draw_variances, setting="scale of the posterior", label=SCALE_LABEL),
        f"{AT_MIDDLE} {OVER_SEEDS}",
    ),
    "counter-example": (
        _draw_counter_example,
        "z ~ N(0, 1), gradient in the mean. Bands: closed forms; points: measured, mean over seeds.",
    ),
    "learning-rate": (draw_learning_rate, f"Ring: learning rate that the validation split chose. {MEDIANS_NOTE}"),
    "budget": (draw_budget, f"Each variant at the learning rate that the validation split chose. {MEDIANS_NOTE}"),
}
