"""Figures of bias and variance for discrete latents."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.gradient_studies.columns import UNITS
from benchmarks.gradient_studies.report import panels
from benchmarks.gradient_studies.report.discrete.selections import select_costs, select_trained, summarize_errors
from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks

UNIT = UNITS["squared_bias"]
ROW_HEIGHT = 0.27  # inches


def draw_discrete(rows: pd.DataFrame, looks: Looks) -> dict[str, Figure]:
    """Draw squared bias and variance of each estimator, and its cost relative to leave-one-out, by family."""
    families = panels.split_families(select_trained(rows))
    if not families:
        return {}
    lengths = [part["variant"].nunique() for _, part in families]
    size = style.WIDTH, ROW_HEIGHT * sum(lengths) + 1.1 * len(families) + 0.6
    figure, grid = plt.subplots(len(families), 2, figsize=size, height_ratios=lengths, squeeze=False)
    for (left, right), (family, part) in zip(grid, families, strict=True):
        small, large = sorted(part["latent_dim"].unique())[:: max(1, part["latent_dim"].nunique() - 1)][:2]
        errors = summarize_errors(part)
        draw_errors(left, errors, looks)
        left.set_title(f"{family}, D = {small:.0f}: error")
        _draw_costs(right, select_costs(part), looks, set(errors.loc[errors["is_biased"], "variant"]))
        right.set_title(f"D = {large:.0f}: cost")
    handles = [
        Line2D([], [], color="0.3", marker="o", linestyle="none", label="variance"),
        Line2D([], [], color="0.3", marker="D", linestyle="none", markerfacecolor="white", label="squared bias"),
    ]
    grid[0][0].legend(handles=handles, loc="upper right")
    style.set_title(figure, find_best(rows) or "Bias and variance of gradients for discrete latents")
    panels.add_note(
        figure,
        rows,
        "Encoder's gradient in the trained model; in brackets: decoder passes. Bars: 95 % intervals; an arrow is an "
        "upper limit of a squared bias that is not seen. Exact gradients are sums over all states. Cost: passes for "
        "the variance of leave-one-out (dotted); open circles: estimators whose bias remains.",
    )
    return {"discrete": figure}


def find_best(rows: pd.DataFrame) -> str:
    """Return which estimators of the first family have the smallest mean squared error; empty if none is known."""
    for family, part in panels.split_families(select_trained(rows)):
        errors = summarize_errors(part)
        if len(errors) and not errors["is_biased"].all():
            unbiased = errors[~errors["is_biased"]].iloc[0]["variant"]
            first = errors.iloc[0]["variant"]
            other = "and no bias" if first == unbiased else f"{unbiased} the smallest without bias"
            return f"{family}: {first} has the smallest error, {other}"
    return ""


def draw_errors(axes: Axes, errors: pd.DataFrame, looks: Looks) -> None:
    """Draw variance and squared bias of each estimator in a row of its own, the smallest error at the top."""
    labels = [f"{line.variant} ({line.passes:.0f})" for line in errors.itertuples()]
    for y, line in enumerate(errors.itertuples()):
        colour = looks[line.variant]["color"]
        axes.errorbar(line.variance, y, xerr=1.96 * line.variance_se, color=colour, marker="o", capsize=2)
        high = line.squared_bias + 1.96 * line.squared_bias_se
        if line.squared_bias > 1.96 * line.squared_bias_se:
            bar = [[1.96 * line.squared_bias_se], [1.96 * line.squared_bias_se]]
            axes.errorbar(line.squared_bias, y, xerr=bar, color=colour, marker="D", markerfacecolor="white", capsize=2)
        elif high > 0:
            axes.plot(high, y, color=colour, marker=8, linestyle="none")  # a caret to the left
    _set_rows(axes, labels, [looks[variant]["color"] for variant in errors["variant"]])
    axes.set_xlabel(UNIT)


def _draw_costs(axes: Axes, costs: pd.DataFrame, looks: Looks, biased: set[str]) -> None:
    costs = costs.sort_values("value", kind="stable")
    for y, row in enumerate(costs.itertuples()):
        bar = [[row.value - row.low], [row.high - row.value]]
        colour = looks[row.variant]["color"]
        fill = "white" if row.variant in biased else colour
        axes.errorbar(row.value, y, xerr=bar, color=colour, marker="o", markerfacecolor=fill, capsize=2)
    axes.axvline(1, color="0.3", linewidth=0.8, linestyle="dotted")
    _set_rows(axes, costs["variant"].tolist(), [looks[variant]["color"] for variant in costs["variant"]])
    axes.set_xlabel("decoder passes, relative to leave-one-out")


def _set_rows(axes: Axes, labels: list[str], colours: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    for text, colour in zip(axes.get_yticklabels(), colours, strict=True):
        text.set_color(colour)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(style.format_power_of_ten)
    axes.grid(axis="x", color="0.9")


def draw_temperature(rows: pd.DataFrame, looks: Looks) -> dict[str, Figure]:
    """Draw squared bias and variance of relaxed draws by temperature, by family."""
    families = panels.split_families(select_trained(rows, "temperature"))

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        errors = summarize_errors(part).sort_values("setting_value")
        for variant, line in errors.groupby("variant", sort=False):
            for quantity, dashes in (("variance", "solid"), ("squared_bias", "dashed")):
                seen = line[line[quantity] > 1.96 * line[f"{quantity}_se"]]
                label = f"{variant}: {quantity.replace('_', ' ')}"
                look = looks[str(variant)] | {"linestyle": dashes}
                x, y, bar = seen["setting_value"], seen[quantity], 1.96 * seen[f"{quantity}_se"]
                axes.errorbar(x, y, bar, label=label, capsize=2, **look)
        panels.set_log_axes(axes, part["setting_value"], "temperature")
        axes.set_ylabel(f"of the encoder's gradient\n({UNIT})")

    if not families:
        return {}
    figure = style.draw_panels(families, draw, columns=1, height=3.0)
    style.set_title(figure, "A lower temperature has less bias and more variance")
    panels.add_note(figure, rows, "Trained model. Bars: 95 % intervals. A bias that is not seen has no point.")
    return {"temperature": figure}
