"""Two drawings of one network: the draw inside it, and the draw as an input; with the outcome of each.

After Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from benchmarks.reporting.figures import looks, style

BLACK, GREEN, RED = "#1f2328", "#15803d", "#c2410c"
FILLS = {"black": "#f3f4f6", "white": "#ffffff", "loss": "#eef5ff", "draw": "#fff4ea", "path": "#ebfbf1"}
Point = tuple[float, float]


def draw_two_networks(rows: pd.DataFrame) -> Figure | None:
    """Draw both networks, with the median final ELBO and KL of the variants that train them; None without both."""
    final = rows[(rows["status"] == "ok") & (rows["epoch"] == rows["epoch"].max())]
    final = final[(final["objective"] == "elbo") & (final["draws"] == 1)]
    outcomes = {
        estimator: group[group["variant"] == group["variant"].iloc[0]]
        for estimator, group in final.groupby("estimator", sort=False)
    }
    if not {"blocked", "pathwise"} <= outcomes.keys() or final["likelihood"].nunique() > 1:
        return None
    variant_looks = looks.assign_looks(list(dict.fromkeys(rows["variant"])))
    with plt.rc_context(style.plot_style("white")):
        figure, (left, right) = plt.subplots(1, 2, figsize=(style.WIDTH, 5.6), layout="none")
        figure.subplots_adjust(0, 0.02, 1, 0.99, 0.02)
        for axes, estimator, title in (
            (left, "blocked", "Without the trick: the draw is inside"),
            (right, "pathwise", "With the trick: the draw is an input"),
        ):
            axes.set(xlim=(0, 10), ylim=(0, 13), xticks=[], yticks=[])
            axes.axis("off")
            axes.text(5, 12.6, title, ha="center", va="center", weight="bold", fontsize=11)
            _draw_network(axes, reparameterized=estimator == "pathwise")
            name = str(outcomes[estimator]["variant"].iloc[0])
            _write_outcome(axes, outcomes[estimator], variant_looks[name]["color"])
        left.plot([10.1, 10.1], [0.2, 12.8], color="0.85", linewidth=0.8, clip_on=False)
        return figure


def _write_outcome(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    text = f"{rows['variant'].iloc[0]}: ELBO {rows['elbo'].median():.1f}, KL {rows['kl'].median():.1f}"
    axes.text(5, 0.95, text, ha="center", va="center", weight="bold", fontsize=10, color=colour)
    note = f"nats per test image, {rows['dataset'].iloc[0]}, median of {rows['seed'].nunique()} seeds"
    axes.text(5, 0.35, note, ha="center", va="center", fontsize=style.SMALL, color=style.GREY)


def _draw_network(axes: Axes, reparameterized: bool) -> None:
    _draw_box(axes, (5, 2.0), 1.8, "x", FILLS["white"])
    _draw_box(axes, (5, 3.7), 3.4, "encoder q(z|x)", FILLS["black"])
    _draw_box(axes, (3.9, 5.5), 1.7, "mean μ", FILLS["white"])
    _draw_box(axes, (6.1, 5.5), 1.7, "scale σ", FILLS["white"])
    _draw_box(axes, (1.5, 5.5), 1.9, "KL(q‖p)", FILLS["loss"])
    _draw_box(axes, (5, 9.2), 3.4, "decoder p(x|z)", FILLS["black"])
    _draw_box(axes, (5, 11.1), 3.4, "reconstruction error", FILLS["loss"])
    for start, end in (
        ((5, 2.4), (5, 3.3)), ((4.4, 4.1), (3.95, 5.1)), ((5.6, 4.1), (6.05, 5.1)), ((3.05, 5.5), (2.45, 5.5)),
        ((3.95, 5.9), (4.5, 6.95)), ((6.05, 5.9), (5.5, 6.95)), ((5, 7.75), (5, 8.8)), ((5, 9.6), (5, 10.7)),
    ):  # fmt: skip
        _draw_arrow(axes, start, end, BLACK)
    axes.plot([6.1, 6.1, 1.5], [5.1, 4.72, 4.72], color=BLACK, linewidth=1)
    _draw_arrow(axes, (1.5, 4.68), (1.5, 5.1), BLACK)
    axes.plot([6.7, 7.35, 7.35], [11.1, 11.1, 7.55], color=GREEN, linewidth=1.8, linestyle="dotted")
    _draw_arrow(axes, (7.38, 7.55), (6.72, 7.55), GREEN)
    if reparameterized:
        _draw_box(axes, (5, 7.35), 3.4, "z = μ + σ · ε", FILLS["path"], GREEN)
        _draw_box(axes, (8.9, 7.35), 1.9, "ε ~ N(0, I)", FILLS["draw"], RED)
        axes.text(8.9, 6.8, "drawn outside", ha="center", va="top", fontsize=style.SMALL, color=style.GREY)
        _draw_arrow(axes, (7.95, 7.15), (6.72, 7.15), RED)
        axes.plot([5, 5], [6.95, 4.25], color=GREEN, linewidth=1.8, linestyle="dotted")
        _draw_arrow(axes, (5, 4.3), (5, 4.1), GREEN)
        axes.text(7.6, 10.2, "the gradient\nreaches the\nencoder", color=GREEN, va="center")
    else:
        _draw_box(axes, (5, 7.35), 3.4, "draw z ~ N(μ, σ²)", FILLS["draw"], RED)
        axes.plot([5], [6.55], marker="x", markersize=11, markeredgewidth=2.5, color=RED)
        axes.text(6.5, 6.5, "no gradient passes", color=RED, va="center")
        axes.text(7.6, 10.2, "the gradient\nstops at\nthe draw", color=RED, va="center")


def _draw_box(axes: Axes, centre: Point, width: float, text: str, fill: str, edge: str = BLACK) -> None:
    (x, y), height = centre, 0.8
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, "round,pad=0,rounding_size=0.12", facecolor=fill, edgecolor=edge)
    )
    axes.text(x, y, text, ha="center", va="center")


def _draw_arrow(axes: Axes, start: Point, end: Point, colour: str) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=colour, linewidth=1, shrinkA=0, shrinkB=0)
    )
