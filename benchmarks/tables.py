"""Summaries over seeds, and the sentence that a run ends with. From rows of results.csv alone; needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.csvs import write_table
from benchmarks.metrics import METRICS, inconsistency
from benchmarks.statistics import Interval, Ratio, geometric, interval

WORST = {"higher": -math.inf, "lower": math.inf, "none": math.nan}


@dataclass(frozen=True)
class Summary:
    """One data set and variant at one checkpoint: how its seeds fared, and each metric over those that are ok."""

    dataset: str
    variant: str
    epoch: int
    ok: int
    diverged: int
    failed: int
    metrics: dict[str, Interval]


def summaries(results: pd.DataFrame, epoch: int | None = None) -> list[Summary]:
    """Each data set and variant at `epoch`, by default at the last one that it reached."""
    return list(_summaries(results, epoch))


def _summaries(results: pd.DataFrame, epoch: int | None) -> Iterator[Summary]:
    for (dataset, variant), group in results.groupby(["dataset", "variant"], sort=False):
        cells = group.groupby("cell_id", sort=False)
        final = cells["status"].last()
        ok, diverged = int((final == "ok").sum()), int((final == "diverged").sum())
        whole = group[group["cell_id"].isin(final.index[final == "ok"])]
        last = (whole if ok else group)["epoch"].max()
        at = epoch if epoch is not None else 0 if math.isnan(last) else int(last)
        rows = whole if epoch is None else group[group["status"] == "ok"]
        rows = rows[rows["epoch"] == at]
        lost = len(set(final.index[final == "diverged"]) - set(rows["cell_id"]))
        metrics = {}
        for metric in METRICS:
            measured = group[metric.name].notna().any()  # a metric that a variant never has is not lost
            values = rows[metric.name].dropna().tolist()
            metrics[metric.name] = interval(values, lost if measured else 0, WORST[metric.direction])
        yield Summary(str(dataset), str(variant), at, ok, diverged, len(final) - ok - diverged, metrics)


def write_summary(path: Path, found: Sequence[Summary]) -> None:
    """summary.csv: one row per data set and variant, numbers in full."""
    parts = ("mean", "half_width", "median", "min", "max")
    rows = [
        {"dataset": s.dataset, "variant": s.variant, "epoch": s.epoch}
        | {"seeds_ok": s.ok, "seeds_diverged": s.diverged, "seeds_failed": s.failed}
        | {f"{m.name}_{part}": getattr(s.metrics[m.name], part) for m in METRICS for part in parts}
        for s in found
    ]
    write_table(path, list(rows[0]), rows)


def exchange_rates(results: pd.DataFrame, dataset: str) -> dict[str, Ratio]:
    """K V_K / V_pathwise(1) of the score-function estimators of the ELBO at the initial weights, by baseline.

    How many of their draws have to be averaged to match the gradient variance (encoder) of one reparameterized draw:
    the geometric mean over seeds with its t-interval.
    """
    rows = results[(results["dataset"] == dataset) & (results["epoch"] == 0) & (results["status"] == "ok")]
    rows = rows[(rows["objective"] == "elbo") & (rows["gradient_variance"] > 0)]
    one = rows[(rows["estimator"] == "pathwise") & (rows["draws"] == 1)].drop_duplicates("seed").set_index("seed")
    rates = {}
    for baseline, group in rows[rows["estimator"] == "score_function"].groupby("baseline", sort=False):
        fewest = group[group["draws"] == group["draws"].min()].drop_duplicates("seed").set_index("seed")
        ratios = (fewest["draws"] * fewest["gradient_variance"] / one["gradient_variance"]).dropna()
        if len(ratios):
            rates[str(baseline)] = geometric(ratios.tolist())
    return rates


def headline(results: pd.DataFrame) -> str:
    """One sentence a data set: what reparameterization saves; empty where the run lacks the pair to compare."""
    sentences = []
    for dataset in results["dataset"].unique():
        rates = exchange_rates(results, dataset)
        plain = rates.pop("none", None)
        if plain is None:
            continue
        text = f"On {dataset}, at the initial weights, {_rate(plain)} draws of REINFORCE without a baseline"
        if rates:
            best = min(rates, key=lambda name: rates[name].value)
            text += f", and {_rate(rates[best])} with the baseline {best},"
        sentences.append(
            f"{text} have to be averaged to match the gradient variance of one reparameterized draw "
            f"({_seeds(plain.n)}; encoder's parameters)."
        )
    return "\n".join(sentences)


def _rate(rate: Ratio) -> str:
    value = _three_digits(rate.value)
    return value if rate.n < 2 else f"{value} (95 % interval {_three_digits(rate.low)} to {_three_digits(rate.high)})"


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _seeds(count: int) -> str:
    return "one seed, so no interval" if count == 1 else f"geometric mean over {count} seeds"


def inconsistencies(results: pd.DataFrame) -> list[str]:
    """Rows whose numbers contradict each other, one line each: a fault of the program, not a result."""
    return [
        f"{row['variant']} on {row['dataset']}, seed {row['seed']}, epoch {row['epoch']:.0f}: {reason}"
        for row, reason in contradictions(results)
    ]


def contradictions(results: pd.DataFrame) -> Iterator[tuple[dict[str, Any], str]]:
    """The rows whose numbers contradict each other, with the reason."""
    names = ["elbo", "elbo_se", "reconstruction_error", "kl", "log_likelihood", "log_likelihood_se"]
    rows = results.loc[results["status"] == "ok", ["variant", "dataset", "seed", "epoch", *names]].astype(
        dict.fromkeys(names, float)
    )
    for row in rows.to_dict("records"):
        reason = inconsistency({name: None if math.isnan(row[name]) else row[name] for name in names})
        if reason:
            yield {str(name): value for name, value in row.items()}, reason
