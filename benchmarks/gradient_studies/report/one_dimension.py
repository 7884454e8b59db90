"""Figures of one-dimensional examples, whose gradient variances have closed forms."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gradient_studies.report import panels
from benchmarks.gradient_studies.report.tables import select_lower_scores
from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks

DRAWS, LEFT_EDGE = 100_000, -25.0
BLUE, RED = "#08519c", "#99000d"
LOOKS = {"pathwise": ("reparameterized", BLUE), "score_function": ("REINFORCE, no baseline", RED)}
# E[(z - 2)²], z ~ N(μ, 1), has the gradient 2μ - 4 in μ. At μ = 0 one pathwise draw is 2(z - 2), with variance 4. One
# score-function draw is (z - 2)² z. E[(z - 2)⁴ z²] = 103, so its variance is 103 - 4² = 87.
SQUARE_GRADIENT, PATHWISE_VARIANCE, SCORE_VARIANCE = -4, 4, 87


def draw_square_gradients(seed: int = 0, draws: int = DRAWS) -> dict[str, np.ndarray]:
    """Return single-draw gradients of E[(z - 2)²], z ~ N(μ, 1), at μ = 0, by estimator."""
    z = np.random.default_rng(seed).standard_normal(draws)
    return {"pathwise": 2 * (z - 2), "score_function": (z - 2) ** 2 * z}


def draw_one_dimension() -> Figure:
    """Draw histograms of single-draw gradients of both estimators, and the variances for cos(kz)."""
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 3.9))
    _draw_histograms(axes[0])
    _draw_closed_forms(axes[1])
    axes[1].set_title("cos(kz): REINFORCE wins for large k")
    style.set_title(figure, "One gradient, two estimators: the same mean, another variance")
    style.add_note(
        figure,
        f"z ~ N(μ, 1) at μ = 0. Left: f(z) = (z - 2)², {DRAWS:,} draws; true gradient {SQUARE_GRADIENT}; values below "
        f"{LEFT_EDGE:.0f} are at the edge. Right: closed forms of the variances for f(z) = cos(kz).",
    )
    return figure


def _draw_histograms(axes: Axes) -> None:
    bins = np.linspace(LEFT_EDGE, -LEFT_EDGE / 5, 61)
    exact = {"pathwise": PATHWISE_VARIANCE, "score_function": SCORE_VARIANCE}
    for estimator, gradients in draw_square_gradients().items():
        name, colour = LOOKS[estimator]
        label = f"{name}:\nvariance {exact[estimator]}"
        axes.hist(gradients.clip(LEFT_EDGE), bins.tolist(), density=True, color=colour, alpha=0.55, label=label)
    axes.axvline(SQUARE_GRADIENT, color="0.2", linestyle="dashed", linewidth=1)
    axes.legend(loc="upper left")
    axes.set(xlabel="gradient from one draw", ylabel="density", title="(z - 2)²: reparameterization wins")


def _draw_closed_forms(axes: Axes) -> None:
    k = np.geomspace(0.25, 16, 200)
    # variances of -k sin(kz) and of cos(kz) z at z ~ N(0, 1)
    pathwise = k**2 * (1 - np.exp(-2 * k**2)) / 2
    score = (1 + (1 - 4 * k**2) * np.exp(-2 * k**2)) / 2
    for estimator, values in (("pathwise", pathwise), ("score_function", score)):
        name, colour = LOOKS[estimator]
        axes.plot(k, values, color=colour, label=name.partition(",")[0])
    panels.set_log_axes(axes, pd.Series([0.25, 0.5, 1, 2, 4, 8, 16]), "k")
    axes.set_ylabel("variance of one draw")
    axes.legend(loc="upper left")


def draw_counter_example(rows: pd.DataFrame, looks: Looks) -> Figure:
    """Draw the measured variances for f(z) = cos(kz) on the closed forms, of the estimators without a baseline."""
    figure, axes = plt.subplots(figsize=(style.WIDTH, 3.9))
    draw_cosine_variances(axes, rows, looks)
    style.set_title(figure, find_lower_score(rows) or "Gradient variance for f(z) = cos(kz)")
    style.add_note(
        figure,
        "No data set: z ~ N(0, 1), gradient in the mean. Lines: closed forms; points: measured, mean over seeds.",
    )
    style.label_ends(axes)
    return figure


def draw_cosine_variances(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    """Draw the closed forms by k, and the means of the measured variances."""
    variances = panels.select_positive(rows, "variance")
    for estimator, line in variances[variances["variant"] == "closed form"].groupby("estimator", sort=False):
        values = line.groupby("setting_value")["value"].first()
        name, colour = LOOKS.get(str(estimator), (str(estimator), "0.3"))
        axes.plot(values.index, values, color=colour, linewidth=5, alpha=0.3, label=f"{name.partition(',')[0]}, exact")
    measured = variances[(variances["variant"] != "closed form") & (variances["draws"] == 1)]
    measured = measured[measured["baseline"].isin(["", "none"])]
    for name, points in panels.select_story(measured).groupby("variant", sort=False):
        means = points.groupby("setting_value")["value"].mean()
        axes.plot(means.index, means, label=str(name), **looks[str(name)] | {"linestyle": "none"})
    panels.set_log_axes(axes, variances["setting_value"], "k")
    axes.set_ylabel("gradient variance")


def find_lower_score(rows: pd.DataFrame) -> str:
    """Return the k from which on REINFORCE has the lower exact variance, in words; empty if it is never lower."""
    lower = select_lower_scores(rows)
    return f"For f(z) = cos(kz), REINFORCE has the lower variance from k = {lower.index[0]:g} on" if len(lower) else ""
