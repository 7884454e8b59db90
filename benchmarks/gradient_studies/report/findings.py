"""The findings of gradients.csv as sentences, and the comparison of pairs as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from benchmarks.gradient_studies.columns import BEST_AT_EDGE, BIASED_Z, EXCHANGE_RATES, VARIANCE_RATIOS
from benchmarks.gradient_studies.report.discrete.selections import select_trained, summarize_errors
from benchmarks.gradient_studies.report.panels import split_families
from benchmarks.gradient_studies.report.tables import (
    format_digits,
    format_nats,
    select_best_rates,
    select_lower_scores,
    select_over_seeds,
    split_by_likelihood,
)
from benchmarks.reporting.formats import text_table

ROUNDING_OF_RATIO = 1e-3  # of gradients in float32, with a margin: an equal estimator is neither better nor worse


def describe_table(table: pd.DataFrame) -> str:
    """Return the findings, then the ratios of all pairs as tables."""
    return "\n\n".join(["\n".join(list_findings(table)), *_paired_tables(table)])


def list_findings(table: pd.DataFrame) -> list[str]:
    """Return the findings, one line each."""
    return [
        *_exchange_findings(table),
        *_paired_findings(table),
        *_bias_findings(table),
        *_counter_example(table),
        *_discrete_findings(table),
        *_trained_findings(table),
    ]


def _exchange_findings(table: pd.DataFrame) -> Iterator[str]:
    """Yield what each variant costs whose estimator is not pathwise: in draws, and in other units if they are known."""
    rows = table[(table["study"] == "training") & (table["estimator"] != "pathwise")]
    for (dataset, variant, objective), group in rows.groupby(["dataset", "variant", "objective"], sort=False):
        by_cost = _select_by_cost(group, EXCHANGE_RATES)
        if not by_cost:
            continue
        ranges = {cost: _format_range(rates) for cost, rates in by_cost.items()}
        ranges["draws"] = ", ".join(
            f"{format_digits(row.value, row.low, row.high)} ({row.checkpoint}{', heavy tails' if row.flag else ''})"
            for row in by_cost["draws"].itertuples()
        )
        costs = _enumerate([f"{text} times the {cost}" for cost, text in ranges.items()])
        verdicts = _judge(by_cost)
        sentence = f"for the variance of a pathwise gradient of {objective} it needs {costs}."
        conclusion = f" So it is {_join(verdicts)}." if {"better", "worse"} <= verdicts.keys() else ""
        yield f"{dataset}, {variant}: {sentence}{conclusion}"


def _paired_findings(table: pd.DataFrame) -> Iterator[str]:
    rows = table[table["against"] != ""]
    for (dataset, variant, against), group in rows.groupby(["dataset", "variant", "against"], sort=False):
        yield f"{dataset}, {variant} against {against}: {_join(_judge(_select_by_cost(group, VARIANCE_RATIOS)))}."


def _select_by_cost(rows: pd.DataFrame, quantities: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    selected = {cost: select_over_seeds(rows, quantity) for cost, quantity in quantities.items()}
    return {cost: ratios for cost, ratios in selected.items() if len(ratios)}


def _format_range(ratios: pd.DataFrame) -> str:
    low, high = (format_digits(value) for value in (ratios["value"].min(), ratios["value"].max()))
    return low if low == high else f"{low} to {high}"


def _judge(by_cost: Mapping[str, pd.DataFrame]) -> dict[str, list[str]]:
    """Return the costs by which the variant is better or worse at the checkpoints, and those that decide nothing."""
    verdicts: dict[str, list[str]] = {}
    for cost, ratios in by_cost.items():
        better, worse = ratios["high"] < 1 - ROUNDING_OF_RATIO, ratios["low"] > 1 + ROUNDING_OF_RATIO
        verdict = "better" if better.all() else "worse" if worse.all() else "undecided"
        if better.any() and worse.any():
            verdict = "better at some checkpoints and worse at others"
        verdicts.setdefault(verdict, []).append(cost)
    return verdicts


def _join(verdicts: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(f"{verdict} by {_enumerate(costs)}" for verdict, costs in verdicts.items())


def _enumerate(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _paired_tables(table: pd.DataFrame) -> Iterator[str]:
    rows = table[table["against"] != ""]
    for (dataset, against), pairs in rows.groupby(["dataset", "against"], sort=False):
        lines = []
        for variant, ratios in pairs.groupby("variant", sort=False):
            for checkpoint, group in ratios.groupby("checkpoint", sort=False):
                by_cost = _select_by_cost(group, VARIANCE_RATIOS)
                texts = (format_digits(*ratio[["value", "low", "high"]].iloc[0]) for ratio in by_cost.values())
                lines.append([str(variant), str(checkpoint) + ("†" if group["flag"].any() else ""), *texts])
        yield (
            f"{dataset}: latent variance at equal cost, divided by that of {against} (below 1: better), with 95 % "
            f"intervals; † heavy tails\n{text_table(['variant', 'checkpoint', *VARIANCE_RATIOS], lines)}"
        )


def _bias_findings(table: pd.DataFrame) -> Iterator[str]:
    rows = table[(table["quantity"] == "bias_z") & (table["study"] == "training")]
    if rows.empty:
        return
    largest = rows.groupby("variant", sort=False)["value"].max()
    biased, unbiased = largest[largest > BIASED_Z], largest[largest <= BIASED_Z]
    if len(biased):
        names = ", ".join(f"{name} ({z:,.0f} standard errors)" for name, z in biased.items())
        yield f"bias: gradients that differ from the pathwise gradient of the same objective: {names}."
    if len(unbiased):
        others = "other" if len(biased) else "measured"
        yield f"bias: the difference is at most {unbiased.max():.1f} standard errors for all {others} variants."


def _counter_example(table: pd.DataFrame) -> Iterator[str]:
    lower = select_lower_scores(table)
    if len(lower):
        pathwise, score = map(format_digits, lower.iloc[-1])
        yield (
            f"counter-example: for f(z) = cos(kz) and k from {lower.index[0]:g} on, the score function has a lower "
            f"variance than the pathwise gradient: {score} and {pathwise} at k = {lower.index[-1]:g}."
        )


def _discrete_findings(table: pd.DataFrame) -> Iterator[str]:
    """Yield the mean squared errors of all estimators for discrete latents, the smallest first."""
    for dataset, rows in select_trained(table).groupby("dataset", sort=False):
        for variant_rows in (part for _, part in split_families(rows)):
            errors = summarize_errors(variant_rows)
            texts = [
                f"{line.variant} {format_digits(line.mean_squared_error)}{' (biased)' if line.is_biased else ''}"
                for line in errors.itertuples()
            ]
            if texts:
                yield f"{dataset}: mean squared error of one gradient in the trained model: {', '.join(texts)}."


def _trained_findings(table: pd.DataFrame) -> Iterator[str]:
    rows = select_best_rates(table)
    rows = rows[rows["objective"] == "elbo"]
    parts = (
        (f"{dataset}, {title}" if title else dataset, part)
        for dataset, group in rows.groupby("dataset", sort=False)
        for title, part in split_by_likelihood(group).items()
    )
    for subject, best in parts:
        elbos = [
            f"{row.variant} {format_nats(row.value, row.low, row.high)} at {row.setting_value:g}"
            + (" (edge of the rates tried)" if row.flag == BEST_AT_EDGE else "")
            for row in best.sort_values("value", ascending=False).itertuples()
        ]
        yield (
            f"{subject}: test ELBO in nats/example, median and range over seeds, at the best learning rate of each "
            f"variant: {'; '.join(elbos)}."
        )
