"""Figures of trained models: the test ELBO by learning rate, and by cost."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.gradient_studies.report import panels
from benchmarks.gradient_studies.report.tables import select_best_rates, split_by_likelihood
from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks

MAX_NATS_BELOW_BEST = 150
MEDIANS = "Points: median; bars: range over seeds."
HIDDEN = f"Values over {MAX_NATS_BELOW_BEST} nats below the best are hidden."
RING = "Ring: learning rate that the validation split chose."
COSTS = (("decoder_passes", "decoder passes in training"), ("seconds", "seconds of training"))


def draw_learning_rate(rows: pd.DataFrame, looks: Looks) -> dict[str, Figure]:
    """Draw the test ELBO by learning rate: of the story's variants, and of all by family."""
    test = rows[(rows["part"] == "test") & rows["value"].notna()]
    best = select_best_rates(rows)

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        panels.draw_lines(axes, part[part["seed"].notna()], looks, pd.Series.median)
        chosen = best[best["variant"].isin(part["variant"])]
        axes.scatter(chosen["setting_value"], chosen["value"], s=110, facecolors="none", edgecolors="0.2", zorder=9)
        panels.set_log_x(axes, test["setting_value"], "learning rate of Adam")
        _limit_elbo(axes, part)

    story = style.draw_panels(_split_likelihoods(panels.select_story(test)), draw, columns=1, height=3.8)
    style.set_title(story, _find_best(best) or "Test ELBO by learning rate")
    families = style.draw_panels(_split_families(test), draw)
    style.set_title(families, "Test ELBO by learning rate, all variants")
    panels.add_note(story, rows, f"{RING} {MEDIANS} {HIDDEN}")
    panels.add_note(families, rows, f"{RING} {MEDIANS} {HIDDEN} Each panel has its own scale.")
    return {"learning-rate": story, "learning-rate-all": families}


def draw_budget(rows: pd.DataFrame, looks: Looks) -> dict[str, Figure]:
    """Draw the test ELBO by cost: of the story's variants by decoder passes and seconds, of all by decoder passes."""
    parts = _split_likelihoods(panels.select_story(rows))
    story, grid = plt.subplots(len(parts), 2, figsize=(style.WIDTH, 3.6 * len(parts)), sharey="row", squeeze=False)
    for line, (title, part) in zip(grid, parts, strict=True):
        for axes, (setting, label) in zip(line, COSTS, strict=True):
            _draw_costs(axes, part[part["setting"] == setting], looks, label)
        _limit_elbo(line[0], part)
        line[0].set_title(title)
        line[1].set_ylabel("")
    style.set_title(story, "Test ELBO by cost of training, each variant at its best learning rate")
    panels.add_note(story, rows, f"{MEDIANS} {HIDDEN}")
    style.label_ends(*grid[:, 1])

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        _draw_costs(axes, part, looks, COSTS[0][1])
        _limit_elbo(axes, part)

    families = style.draw_panels(_split_families(rows[rows["setting"] == COSTS[0][0]]), draw)
    style.set_title(families, "Test ELBO by decoder passes, all variants at their best learning rates")
    panels.add_note(families, rows, f"{MEDIANS} {HIDDEN} Each panel has its own scale.")
    return {"budget": story, "budget-all": families}


def _draw_costs(axes: Axes, rows: pd.DataFrame, looks: Looks, label: str) -> None:
    panels.draw_lines(axes, rows, looks, pd.Series.median, by="checkpoint")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(style.format_power_of_ten)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _limit_elbo(axes: Axes, rows: pd.DataFrame) -> None:
    best = rows["value"].max()
    low = max(rows["value"].min(), best - MAX_NATS_BELOW_BEST)
    margin = max(0.5, 0.05 * (best - low))
    axes.set_ylim(low - margin, best + margin)
    axes.set_ylabel("test ELBO (nats per example)")


def _split_likelihoods(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return list(split_by_likelihood(rows).items())


def _split_families(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [
        (", ".join(filter(None, (family, title))), part)
        for title, comparable in _split_likelihoods(rows)
        for family, part in panels.split_families(comparable)
    ]


def _find_best(best: pd.DataFrame) -> str:
    """Return the ELBO of the pathwise ELBO and of the best REINFORCE, each at its best rate; empty without both."""
    elbos = best[best["objective"] == "elbo"].sort_values("value", ascending=False)
    pathwise, others = elbos[elbos["estimator"] == "pathwise"], elbos[elbos["estimator"] == "score_function"]
    if pathwise.empty or others.empty or best["likelihood"].nunique() > 1:
        return ""
    pathwise, others = pathwise.sort_values("draws").iloc[0], others.iloc[[0, -1]]
    texts = [f"{value:,.1f}" for value in (pathwise["value"], *others["value"])]
    range_text = " to ".join(dict.fromkeys(texts[1:]))
    return (
        f"At the best learning rate of each, {pathwise['variant']} ends at {texts[0]} nats, REINFORCE at {range_text}"
    )
