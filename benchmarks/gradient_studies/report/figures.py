"""Figures of gradients.csv: for each study one with its message, and one with all variants by family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gradient_studies.columns import UNITS
from benchmarks.gradient_studies.report import panels
from benchmarks.gradient_studies.report.discrete.figures import draw_discrete, draw_temperature
from benchmarks.gradient_studies.report.exchange_figures import draw_exchange_rates
from benchmarks.gradient_studies.report.one_dimension import draw_counter_example, draw_one_dimension
from benchmarks.gradient_studies.report.tables import format_digits, select_over_seeds
from benchmarks.gradient_studies.report.trained_figures import draw_budget, draw_learning_rate
from benchmarks.reporting.figures import looks as variant_looks
from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks

Figures = dict[str, Figure]
UNIT = UNITS["variance"]
VARIANCE_LABEL = f"gradient variance, encoder\n({UNIT})"
OVER_SEEDS = "Points: geometric mean over seeds; bars: range over seeds."
AT_MIDDLE = "Measured at the middle of the reference model's training."
OWN_SCALE = "Each panel has its own scale."


def write_figures(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the figures of all studies in the table, for each data set; return the paths of the PNG files."""
    written = []
    datasets = [name for name in table["dataset"].unique() if name]
    for dataset in datasets:
        rows = table[table["dataset"] == dataset]
        suffix = f"-{re.sub('[^A-Za-z0-9_-]+', '-', dataset)}" if len(datasets) > 1 else ""
        with plt.rc_context(style.plot_style("ticks")):
            for name, figure in draw_figures(rows):
                written.append(style.save_figure(figure, folder / f"{name}{suffix}"))
    return written


def draw_figures(rows: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of one data set with their file names."""
    looks = variant_looks.assign_looks([name for name in dict.fromkeys(rows["variant"]) if name != "closed form"])
    for study, draw in STUDY_FIGURES.items():
        study_rows = rows[rows["study"] == study]
        if len(study_rows):
            yield from draw(study_rows, looks).items()


def _draw_training(rows: pd.DataFrame, looks: Looks) -> Figures:
    def draw(axes: Axes, part: pd.DataFrame) -> None:
        panels.draw_lines(axes, part, looks)
        style.set_log_y(axes)
        panels.set_stages(axes)
        axes.set_ylabel(VARIANCE_LABEL)

    variances = rows.assign(setting_value=rows["checkpoint"].map(panels.CHECKPOINT_POSITIONS))
    variances = panels.select_positive(variances, "variance")
    figures = {}
    if len(variances):
        figures["training"] = style.draw_panels(panels.split_families(variances), draw)
        style.set_title(figures["training"], "Gradient variance by stage of training, at equal weights")
        panels.add_note(figures["training"], rows, f"Variance over the latent noise. {OVER_SEEDS} {OWN_SCALE}")
    return figures | draw_exchange_rates(rows, looks)


def _draw_setting(rows: pd.DataFrame, looks: Looks, name: str, label: str, title: str, part: str = "latent") -> Figures:
    """Draw the variance by a setting: of the story's variants, and of all by family."""
    variances = panels.select_positive(rows, "variance", part)
    if variances.empty:
        return {}

    def draw(axes: Axes, points: pd.DataFrame) -> None:
        panels.draw_lines(axes, points, looks)
        panels.set_log_axes(axes, rows["setting_value"], label)
        axes.set_ylabel(VARIANCE_LABEL)

    story = style.draw_panels([("", panels.select_story(variances))], draw, columns=1, height=3.8)
    style.set_title(story, _find_scale_effect(rows) or title)
    panels.add_note(story, rows, f"{AT_MIDDLE} {OVER_SEEDS}")
    families = style.draw_panels(panels.split_families(variances), draw)
    style.set_title(families, f"Gradient variance by {label}, all variants")
    panels.add_note(families, rows, f"{AT_MIDDLE} {OVER_SEEDS} {OWN_SCALE}")
    return {name: story, f"{name}-all": families}


def _find_scale_effect(rows: pd.DataFrame) -> str:
    """Return the effect of a narrow q(z|x) if the slopes of both gradients of the ELBO show it; else empty."""
    slopes = select_over_seeds(rows[(rows["study"] == "posterior-scale") & (rows["objective"] == "elbo")], "slope")
    pathwise = slopes[(slopes["estimator"] == "pathwise")]
    score = slopes[(slopes["estimator"] == "score_function") & (slopes["baseline"] == "none")]
    if len(pathwise) and len(score) and (pathwise["low"] > 0).all() and (score["high"] < 0).all():
        return "A narrow q(z|x) makes REINFORCE noisier and the reparameterized gradient less noisy"
    return ""


def _draw_number_of_draws(rows: pd.DataFrame, looks: Looks) -> Figures:
    """Draw variance times passes of the ELBO, and the signal-to-noise ratio of the other bounds."""
    work = panels.select_positive(rows, "variance_x_passes")
    work = panels.select_story(work[panels.is_elbo(work)])
    detectable, floor = _select_detectable(rows)
    bounds = detectable[_is_other_bound(detectable)]
    figure, (left, right) = plt.subplots(2, 1, figsize=(style.WIDTH, 6.4))
    panels.draw_lines(left, work, looks)
    panels.draw_lines(right, bounds, looks)
    right.plot(floor.index, floor, color="0.5", linewidth=0.8, linestyle="dotted", label="detection limit")
    for axes in (left, right):
        panels.set_log_axes(axes, rows["setting_value"], "draws per example, K")
    left.set(ylabel=f"variance x decoder passes\n({UNIT})", title="ELBO: twice the draws, half the variance")
    right.set(ylabel="gradient signal-to-noise ratio", title=_find_signal(rows))
    style.set_title(figure, "What more draws per example give")
    panels.add_note(
        figure, rows, f"{AT_MIDDLE} {OVER_SEEDS} Signal: squared norm of the mean gradient; noise: its variance."
    )
    style.label_ends(left, right)
    return {"draws": figure}


def _is_other_bound(rows: pd.DataFrame) -> pd.Series:
    """Return whether the objective is inside a logarithm or unknown: not the ELBO, with or without a factor."""
    is_reference = rows["variant"].str.startswith(panels.REFERENCE)
    return ~panels.is_elbo(rows) & ~rows["objective"].str.startswith("beta_elbo") & ~is_reference


def _select_detectable(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Return the signal-to-noise ratios above the detection limit, and that limit by setting."""
    snr = panels.select_positive(rows, "snr")
    floor = panels.select_positive(rows, "snr_floor").groupby("setting_value")["value"].max()
    return snr[snr["value"] > snr["setting_value"].map(floor)], floor


def _find_signal(rows: pd.DataFrame) -> str:
    """Return how the signal-to-noise ratio of the pathwise IWAE gradient changes with the number of draws."""
    slopes = select_over_seeds(rows, "slope")
    slopes = slopes[(slopes["part"] == "snr") & (slopes["estimator"] == "pathwise") & _is_other_bound(slopes)]
    if slopes.empty:
        return "Other bounds: signal-to-noise ratio"
    slope = slopes.iloc[0]
    if slope["low"] <= 0 <= slope["high"]:
        return f"IWAE bound: more draws do not change the signal-to-noise ratio of {slope['variant']}"
    power = format_digits(slope["value"])
    return f"IWAE bound: the signal-to-noise ratio of {slope['variant']} changes as K to the power {power}"


STUDY_FIGURES: dict[str, Callable[[pd.DataFrame, Looks], Figures]] = {
    "training": _draw_training,
    "latent-dim": partial(
        _draw_setting,
        name="latent-dim",
        label="number of latent dimensions, D",
        title="Gradient variance by the number of latent dimensions",
    ),
    "draws": _draw_number_of_draws,
    "batch-size": partial(
        _draw_setting,
        name="batch-size",
        label="examples in a minibatch, B",
        title="Total gradient variance by minibatch size",
        part="total",
    ),
    "posterior-scale": partial(
        _draw_setting,
        name="posterior-scale",
        label="scale of q(z|x), relative to the trained one",
        title="Gradient variance by the scale of q(z|x)",
    ),
    "counter-example": lambda rows, looks: {
        "counter-example": draw_counter_example(rows, looks),
        "one-dimension": draw_one_dimension(),
    },
    "discrete": draw_discrete,
    "temperature": draw_temperature,
    "learning-rate": draw_learning_rate,
    "budget": draw_budget,
}
