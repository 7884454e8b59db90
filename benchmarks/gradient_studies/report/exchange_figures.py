"""Figures of the draws for one: how many draws of an estimator match one pathwise draw."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common.atomic_files import Record
from benchmarks.gradient_studies.columns import BIASED_Z
from benchmarks.gradient_studies.report import panels
from benchmarks.gradient_studies.report.tables import format_digits, format_draws, select_over_seeds
from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks
from benchmarks.reporting.summaries import DrawsForOne

NOTE = "Points: geometric mean; bars: 95 % t-interval over seeds. Dotted: one pathwise draw of the same objective."
LABEL = "draws that match one pathwise draw"


def draw_exchange_rates(rows: pd.DataFrame, looks: Looks) -> dict[str, Figure]:
    """Draw the exchange rates by stage: of the estimators of the ELBO, and of all by family."""
    rates = select_over_seeds(rows, "exchange_rate")
    rates = rates[rates["estimator"] != "pathwise"]
    elbo_rates = panels.select_story(rates[(rates["objective"] == "elbo")])
    figures = {}
    if len(elbo_rates):
        figure, axes = plt.subplots(figsize=(style.WIDTH, 3.9))
        draw_rates(axes, elbo_rates, looks)
        style.set_title(figure, find_rates(elbo_rates) or "Draws that match one pathwise draw")
        panels.add_note(figure, rows, NOTE)
        style.label_ends(axes)
        figures["draws-for-one"] = figure
    if len(rates):
        families = style.draw_panels(panels.split_families(rates), lambda axes, part: draw_rates(axes, part, looks))
        style.set_title(families, "Draws that match one pathwise draw of the same objective, all variants")
        panels.add_note(families, rows, NOTE)
        figures["draws-for-one-all"] = families
    return figures


def draw_rates(axes: Axes, rates: pd.DataFrame, looks: Looks) -> None:
    """Draw the exchange rate of each variant by stage, with its interval over seeds."""
    lines = [points for _, points in rates.groupby("variant", sort=False)]
    for points, shift in zip(lines, np.linspace(-0.1, 0.1, len(lines)), strict=True):
        name = points["variant"].iloc[0]
        x = points["checkpoint"].map(panels.CHECKPOINT_POSITIONS) + shift  # beside each other, so that all bars show
        bars = np.vstack([points["value"] - points["low"], points["high"] - points["value"]])
        axes.errorbar(x, points["value"], bars, label=name, **looks[name], capsize=2, elinewidth=0.8)
    axes.axhline(1, color="0.3", linewidth=0.8, linestyle="dotted")
    style.set_log_y(axes)
    panels.set_stages(axes)
    axes.set_ylabel(LABEL)


def find_rates(rates: pd.DataFrame) -> str:
    """Return what REINFORCE costs with the best baseline and without one; empty without both."""
    by_baseline = {
        str(baseline): (group["value"].min(), group["value"].max())
        for baseline, group in rates[rates["estimator"] == "score_function"].groupby("baseline")
    }
    without = by_baseline.pop("none", None)
    if without is None or not by_baseline:
        return ""
    best = min(by_baseline.values(), key=lambda ends: ends[1])
    return (
        f"REINFORCE needs {_format_ends(*best)} draws for one with the best baseline, {_format_ends(*without)} without"
    )


def describe_draws_for_one(table: pd.DataFrame) -> DrawsForOne:
    """Return the lowest and highest exchange rate of the variants of the ELBO over the stages of training."""
    rows = table[(table["study"] == "training") & (table["objective"] == "elbo")]
    biases = rows[rows["quantity"] == "bias_z"].groupby("variant")["value"].max()
    texts = {str(name): "biased" for name in biases.index[biases > BIASED_Z]}
    for name, rates in select_over_seeds(rows, "exchange_rate").groupby("variant"):
        texts[str(name)] = _format_ends(rates["value"].min(), rates["value"].max())
    meaning = "draws that match the gradient variance of one reparameterized draw, lowest and highest of four stages"
    return DrawsForOne(texts, meaning)


def list_exchange_rates(table: pd.DataFrame) -> list[Record]:
    """Return the exchange rate of each variant by stage, with its interval, for a page."""
    rates = select_over_seeds(table[table["study"] == "training"], "exchange_rate")
    rates = rates[~rates["variant"].str.startswith(panels.REFERENCE)]
    rows = rates.rename(columns={"checkpoint": "stage"}).itertuples()
    return [
        {"variant": r.variant, "stage": r.stage, "value": r.value, "text": format_digits(r.value, r.low, r.high)}
        | {name: value for name, value in (("low", r.low), ("high", r.high)) if math.isfinite(value)}
        for r in rows
    ]


def _format_ends(low: float, high: float) -> str:
    return " to ".join(dict.fromkeys(map(format_draws, (low, high))))
