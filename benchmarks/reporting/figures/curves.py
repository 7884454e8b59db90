"""Learning curves and gradient variance by epoch: the variants of the story, and all variants by family."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.reporting import summaries
from benchmarks.reporting.figures import looks as variant_looks
from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks
from benchmarks.reporting.metrics import METRIC_BY_NAME

BANDS = "Lines: median over seeds; bands: minimum to maximum over seeds."
OWN_WEIGHTS = "At epoch 0 all variants of a seed have equal weights; later each variant has its own."


def draw_figures(rows: pd.DataFrame) -> dict[str, Figure]:
    """Return learning curves and gradient variance of one data set, by file name.

    If there are more variants than a figure with one message can show, each figure also has a version with all of them.
    """
    with plt.rc_context(style.plot_style("ticks")):
        ok_rows = rows[rows["status"] == "ok"]
        names = list(dict.fromkeys(rows["variant"]))
        looks, story = variant_looks.assign_looks(names), variant_looks.choose_story(names)
        chosen = ok_rows[ok_rows["variant"].isin(story)]
        figures = {
            "learning-curves": draw_learning_curves(chosen, looks),
            "gradient-variance": draw_gradient_variance(chosen, looks),
        }
        if len(story) < len(names):
            figures["learning-curves-all"] = draw_all_learning_curves(ok_rows, looks)
            figures["gradient-variance-all"] = draw_all_gradient_variances(ok_rows, looks)
        return {name: figure for name, figure in figures.items() if figure}


def draw_learning_curves(ok_rows: pd.DataFrame, looks: Looks) -> Figure | None:
    """Draw the ELBO by epoch and by training seconds, after epoch 0; None if no row has an ELBO.

    Each likelihood has a line of panels. A note lists variants that end below the axis.
    """
    rows = _select_elbos(ok_rows)
    if rows.empty:
        return None
    parts = summaries.split_by_title(rows)
    figure, panels = plt.subplots(len(parts), 2, figsize=(style.WIDTH, 3.6 * len(parts)), sharey="row", squeeze=False)
    below: list[str] = []
    for (left, right), (title, part) in zip(panels, parts.items(), strict=True):
        _plot_curves(left, part, "elbo", looks)
        _plot_curves(right, part, "elbo", looks, x="train_seconds")
        below += _limit_elbo(left, part)
        left.set(xscale="log", xlabel="epochs", ylabel="test ELBO (nats per example)", title=title)
        _label_epochs(left, part)
        right.set(xscale="log", xlabel="training time (seconds in optimizer steps)")
        right.xaxis.set_major_formatter("{x:g}")
        right.xaxis.set_minor_formatter(NullFormatter())
    style.set_title(figure, find_gap(rows) or "Test ELBO during training")
    note = f"Higher is better. {BANDS}{_describe_below(below)}{_explain_panels(parts)}"
    style.add_note(figure, f"{_format_subject(rows)} {note}")
    style.label_ends(*panels[:, 1])
    return figure


def draw_gradient_variance(ok_rows: pd.DataFrame, looks: Looks) -> Figure | None:
    """Draw `gradient_variance` by epoch, on a log scale, with a panel for each likelihood; None if none is positive."""
    rows = ok_rows[ok_rows["gradient_variance"] > 0]
    if rows.empty:
        return None
    parts = summaries.split_by_title(rows)
    figure, panels = plt.subplots(len(parts), figsize=(style.WIDTH, 3.8 * len(parts)), squeeze=False)
    for axes, (title, part) in zip(panels[:, 0], parts.items(), strict=True):
        _draw_variances(axes, part, looks)
        axes.set_title(title)
        axes.set_ylabel(f"gradient variance, encoder\n({METRIC_BY_NAME['gradient_variance'].unit}, log scale)")
    style.set_title(figure, _find_rate(rows) or "Variance of one gradient estimate, encoder")
    style.add_note(figure, f"{_describe_variances(ok_rows)} {BANDS}{_explain_panels(parts)}")
    style.label_ends(*panels[:, 0])
    return figure


def draw_all_learning_curves(ok_rows: pd.DataFrame, looks: Looks) -> Figure | None:
    """Draw the ELBO by epoch, with a panel for each family of variants; None if no row has an ELBO."""
    rows = _select_elbos(ok_rows)
    if rows.empty:
        return None
    below: list[str] = []

    def draw(axes: Axes, part: pd.DataFrame) -> None:
        _plot_curves(axes, part, "elbo", looks)
        below.extend(_limit_elbo(axes, part))
        axes.set(xscale="log", xlabel="epochs", ylabel="test ELBO (nats per example)")
        _label_epochs(axes, part)

    figure = _draw_families(rows, draw)
    style.set_title(figure, "Test ELBO by epoch, all variants")
    note = "Each panel has its own scale. Models without latent noise have no ELBO."
    style.add_note(figure, f"{_format_subject(rows)} {BANDS} {note}{_describe_below(below)}")
    return figure


def draw_all_gradient_variances(ok_rows: pd.DataFrame, looks: Looks) -> Figure | None:
    """Draw `gradient_variance` by epoch, with a panel for each family; None if none is positive."""
    rows = ok_rows[ok_rows["gradient_variance"] > 0]
    if rows.empty:
        return None
    figure = _draw_families(rows, lambda axes, part: _draw_variances(axes, part, looks))
    for axes in figure.axes:
        axes.set_ylabel(f"gradient variance\n({METRIC_BY_NAME['gradient_variance'].unit})")
    style.set_title(figure, "Variance of one gradient estimate, encoder, all variants")
    style.add_note(figure, f"{_describe_variances(ok_rows)} {BANDS} Each panel has its own scale.")
    return figure


def _draw_families(rows: pd.DataFrame, draw: Callable[[Axes, pd.DataFrame], None]) -> Figure:
    """Draw one panel for each family of comparable variants, with labels at the ends of its lines."""
    panels = [
        (", ".join(filter(None, (family, title))), part[part["variant"].isin(names)])
        for title, part in summaries.split_by_title(rows).items()
        for family, names in variant_looks.split_families(list(dict.fromkeys(part["variant"]))).items()
    ]
    return style.draw_panels(panels, draw)


def _select_elbos(ok_rows: pd.DataFrame) -> pd.DataFrame:
    rows = ok_rows.dropna(subset=["elbo"])
    return rows[rows["epoch"] > 0]


def _plot_curves(axes: Axes, rows: pd.DataFrame, metric: str, looks: Looks, x: str = "epoch") -> None:
    """Plot one line for each variant over its checkpoints: the median over seeds, and a band from min to max."""
    for name, variant_rows in rows.dropna(subset=[metric]).groupby("variant", sort=False):
        by_epoch, look = variant_rows.groupby("epoch"), looks[str(name)]
        positions, values = by_epoch[x].median(), by_epoch[metric]
        axes.plot(positions, values.median(), label=str(name), **look)
        axes.fill_between(positions, values.min(), values.max(), color=look["color"], alpha=0.15, linewidth=0)


def _draw_variances(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    _plot_curves(axes, rows, "gradient_variance", looks)
    style.set_log_y(axes)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-0.15, max(0.15, 1.15 * rows["epoch"].max()))
    axes.set_xlabel("epochs; 0 is before training")
    _label_epochs(axes, rows)


def _limit_elbo(axes: Axes, rows: pd.DataFrame) -> list[str]:
    """End the axis below the lowest median of the first drawn epoch; return the variants that end below the axis."""
    medians = rows.groupby(["variant", "epoch"], sort=False)["elbo"].median()
    floor, top = medians.xs(rows["epoch"].min(), level="epoch").min(), rows["elbo"].max()
    margin = max(0.5, 0.05 * (top - floor))
    bottom = max(floor, medians.min()) - 2 * margin
    axes.set_ylim(bottom, top + margin)
    final_medians = medians.xs(rows["epoch"].max(), level="epoch")
    return [f"{name} ({value:,.0f} nats)" for name, value in final_medians.items() if value < bottom]


def _label_epochs(axes: Axes, rows: pd.DataFrame) -> None:
    epochs = sorted(rows["epoch"].unique())
    axes.set_xticks(epochs, [f"{epoch:.0f}" for epoch in epochs])
    axes.minorticks_off()


def find_gap(rows: pd.DataFrame) -> str:
    """Return the final differences to the pathwise ELBO of variants that do not reparameterize; empty without any."""
    final = rows[(rows["epoch"] == rows["epoch"].max()) & (rows["objective"] == "elbo")]
    if final["likelihood"].nunique() > 1:
        return ""
    medians: Any = final.groupby(["estimator", "variant"])["elbo"].median()
    kinds = set(medians.index.get_level_values("estimator"))
    others = medians[~medians.index.isin(["pathwise"], level="estimator")]
    if "pathwise" not in kinds or others.empty:
        return ""
    gaps = medians.xs("pathwise", level="estimator").min() - others
    if gaps.min() <= 0:
        return ""
    size = f"{gaps.min():.0f} to {gaps.max():.0f}" if len(gaps) > 1 else f"{gaps.min():.0f}"
    return f"Without reparameterization the test ELBO ends {size} nats lower"


def _find_rate(rows: pd.DataFrame) -> str:
    """Return the exchange rate of REINFORCE without a baseline at the initial weights; empty if it is unknown."""
    rate = summaries.compute_exchange_rates(rows, str(rows["dataset"].iloc[0])).get("none")
    if rate is None or rows["likelihood"].nunique() > 1:
        return ""
    return (
        "Before training, one reparameterized draw is as accurate as "
        f"{summaries.format_three_digits(rate.value)} draws of REINFORCE without a baseline"
    )


def _format_subject(rows: pd.DataFrame) -> str:
    seeds = rows["seed"].nunique()
    return f"{rows['dataset'].iloc[0]}, {seeds} seed{'s' if seeds > 1 else ''}."


def _describe_variances(ok_rows: pd.DataFrame) -> str:
    zero = list(dict.fromkeys(ok_rows.loc[ok_rows["gradient_variance"] == 0, "variant"]))
    omitted = f" Not drawn, because the variance is 0: {', '.join(zero)}." if zero else ""
    return f"{_format_subject(ok_rows)} Variance over the latent noise, encoder's parameters. {OWN_WEIGHTS}{omitted}"


def _describe_below(below: Collection[str]) -> str:
    return f" Below the axis at the last epoch: {', '.join(below)}." if below else ""


def _explain_panels(parts: Collection[str]) -> str:
    return " Likelihoods have separate panels, because their values are not comparable." if len(parts) > 1 else ""
