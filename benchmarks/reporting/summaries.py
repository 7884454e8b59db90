"""Summarize rows of results.csv over seeds, and compute the headline of a run. Does not import torch."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.common.atomic_files import Record
from benchmarks.common.seed_statistics import Estimate, Interval, geometric_mean, summarize_values
from benchmarks.reporting import results_table
from benchmarks.reporting.csv_tables import write_table
from benchmarks.reporting.metrics import METRICS

WORST_VALUE = {"higher": -math.inf, "lower": math.inf, "none": math.nan}
DENSITY_NOTE = "log densities of binary data, not comparable with log probabilities"
Key = tuple[str, str]  # data set, variant


@dataclass(frozen=True)
class Summary:
    """Summarize the seeds of a variant on a data set at one checkpoint.

    likelihood, title: as from `read_likelihoods`; only variants of the same title are comparable.
    ok, diverged, failed: numbers of seeds. metrics: statistics over the seeds that are ok, by the metric's name.
    A diverged seed counts as the worst value in the median.
    """

    dataset: str
    variant: str
    likelihood: str
    title: str
    epoch: int
    ok: int
    diverged: int
    failed: int
    metrics: dict[str, Interval]


def read_likelihoods(results: pd.DataFrame) -> dict[Key, tuple[str, str]]:
    """Return likelihood and title of each data set and variant. Variants are comparable if their titles are equal.

    The likelihood is empty if no cell of a plug-in's variant built its model. The title is empty if there is nothing to
    tell: all variants have the same likelihood, and its support fits the data. Densities of binary data come last.
    """
    columns = ["dataset", "variant", "likelihood", "support", "binarization"]
    rows = results[columns].astype(object).sort_values("likelihood", key=pd.isna, kind="stable")
    rows = rows.drop_duplicates(["dataset", "variant"]).fillna("")
    counts = rows[rows["likelihood"] != ""].groupby("dataset")["likelihood"].nunique()
    is_density = rows["support"].isin(["unit", "real"]) & rows["binarization"].isin(["static", "dynamic"])
    likelihoods = {}
    for row in rows.assign(is_density=is_density).sort_values("is_density", kind="stable").itertuples():
        title = f"likelihood {row.likelihood or 'unknown'}" if row.is_density or counts.get(row.dataset, 0) > 1 else ""
        title += f": {DENSITY_NOTE}" if row.is_density else ""
        likelihoods[str(row.dataset), str(row.variant)] = str(row.likelihood), title
    return likelihoods


def split_by_title(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of comparable variants by title, for one data set."""
    variants: dict[str, list[str]] = {}
    for (_, variant), (_, title) in read_likelihoods(rows).items():
        variants.setdefault(title, []).append(variant)
    return {title: rows[rows["variant"].isin(names)] for title, names in variants.items()}


def summarize(results: pd.DataFrame, epoch: int | None = None) -> list[Summary]:
    """Summarize each data set and variant at `epoch`, by default at the last epoch that an ok seed reached.

    Variants of one title are side by side.
    """
    likelihoods = read_likelihoods(results)
    titles = list(dict.fromkeys(title for _, title in likelihoods.values()))
    groups = {(str(d), str(v)): group for (d, v), group in results.groupby(["dataset", "variant"], sort=False)}
    keys = sorted(groups, key=lambda key: titles.index(likelihoods[key][1]))
    return [_summarize_group(key, likelihoods[key], groups[key], epoch) for key in keys]


def _summarize_group(key: Key, likelihood: tuple[str, str], group: pd.DataFrame, epoch: int | None) -> Summary:
    statuses = group.groupby("cell_id", sort=False)["status"].last()
    ok, diverged = int((statuses == "ok").sum()), int((statuses == "diverged").sum())
    ok_cells = group[group["cell_id"].isin(statuses.index[statuses == "ok"])]
    if epoch is None:
        last = (ok_cells if ok else group)["epoch"].max()
        epoch, rows = 0 if math.isnan(last) else int(last), ok_cells
    else:
        rows = group[group["status"] == "ok"]
    rows = rows[rows["epoch"] == epoch]
    diverged_before = len(set(statuses.index[statuses == "diverged"]) - set(rows["cell_id"]))
    metrics = {}
    for metric in METRICS:
        is_measured = group[metric.name].notna().any()  # if not, the metric does not exist for this variant
        values, worst = rows[metric.name].dropna().tolist(), WORST_VALUE[metric.direction]
        metrics[metric.name] = summarize_values(
            values, diverged_before if is_measured else 0, worst, metric.scale == "log"
        )
    return Summary(*key, *likelihood, epoch, ok, diverged, len(statuses) - ok - diverged, metrics)


def identify_rows(summary: Summary, summaries: Sequence[Summary]) -> Record:
    """Return the first columns of a row of a CSV table; with the likelihood if that sets variants apart."""
    likelihood = {"likelihood": summary.likelihood} if any(s.title for s in summaries) else {}
    return {"dataset": summary.dataset, "variant": summary.variant, **likelihood, "epoch": summary.epoch}


def write_summary(path: Path, summaries: Sequence[Summary]) -> None:
    """Write summary.csv: one row per data set and variant, numbers with all digits."""
    statistics = ("mean", "half_width", "median", "min", "max")
    rows = [
        identify_rows(s, summaries)
        | {"seeds_ok": s.ok, "seeds_diverged": s.diverged, "seeds_failed": s.failed}
        | {f"{m.name}_{statistic}": getattr(s.metrics[m.name], statistic) for m in METRICS for statistic in statistics}
        for s in summaries
    ]
    write_table(path, list(rows[0]), rows)


def compute_exchange_rates(results: pd.DataFrame, dataset: str) -> dict[str, Estimate]:
    """Return K V_K / V_pathwise(1) of score-function estimators of the ELBO at the initial weights, by baseline.

    V: gradient variance of the encoder. K: the smallest number of draws in the results. The ratio is the number of
    draws to average for the variance of one reparameterized draw: geometric mean over seeds, with a t-interval. Only
    models with the same approximate posterior have the same gradient.
    """
    rows = results[(results["dataset"] == dataset) & (results["epoch"] == 0) & (results["status"] == "ok")]
    rows = rows[(rows["objective"] == "elbo") & (rows["gradient_variance"] > 0)]
    is_pathwise = (rows["estimator"] == "pathwise") & (rows["draws"] == 1)
    pathwise_variances = rows[is_pathwise].drop_duplicates("seed").set_index("seed")["gradient_variance"]
    rows = _keep_pathwise_posteriors(rows)
    rates = {}
    for baseline, group in rows[rows["estimator"] == "score_function"].groupby("baseline", sort=False):
        by_seed = group[group["draws"] == group["draws"].min()].drop_duplicates("seed").set_index("seed")
        ratios = (by_seed["draws"] * by_seed["gradient_variance"] / pathwise_variances).dropna()
        if len(ratios):
            rates[str(baseline)] = geometric_mean(ratios.tolist())
    return rates


def _keep_pathwise_posteriors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of models whose approximate posterior is also that of a pathwise variant."""
    return rows[rows["posterior"].isin(rows.loc[rows["estimator"] == "pathwise", "posterior"])]


@dataclass(frozen=True)
class DrawsForOne:
    """The number of draws of each variant that match the gradient variance of one pathwise draw, as texts.

    meaning: at which weights it was measured.
    """

    texts: dict[str, str]
    meaning: str


def describe_draws_for_one(rows: pd.DataFrame) -> DrawsForOne:
    """Return the draws for one of the variants of the ELBO, at the initial weights of a run on one data set."""
    rates = compute_exchange_rates(rows, str(rows["dataset"].iloc[0]))
    elbo_rows = _keep_pathwise_posteriors(rows[rows["objective"] == "elbo"]).drop_duplicates("variant")
    texts = {str(row.variant): "1" for row in elbo_rows.itertuples() if row.estimator == "pathwise"}
    for row in elbo_rows[elbo_rows["estimator"] == "score_function"].itertuples():
        if row.baseline in rates:
            texts[str(row.variant)] = format_three_digits(rates[str(row.baseline)].value)
    meaning = "draws that match the gradient variance of one reparameterized draw, at the initial weights"
    return DrawsForOne(texts if rates else {}, meaning)


def make_headline(results: pd.DataFrame) -> str:
    """Return the exchange rates of REINFORCE in words, one line per data set and likelihood.

    Empty if the run has no REINFORCE without a baseline, or no pathwise ELBO with one draw.
    """
    lines = []
    for dataset, dataset_rows in results.groupby("dataset", sort=False):
        for title, rows in split_by_title(dataset_rows).items():
            subject = ", ".join(filter(None, [str(dataset), title.partition(":")[0]]))
            lines.append(_describe_rates(subject, compute_exchange_rates(rows, str(dataset))))
    return "\n".join(filter(None, lines))


def _describe_rates(subject: str, rates: dict[str, Estimate]) -> str:
    """Return the line of the headline; empty if REINFORCE without a baseline has no rate."""
    rate = rates.pop("none", None)
    if rate is None:
        return ""
    line = (
        f"On {subject}, at the initial weights, {_format_rate(rate)} draws of REINFORCE without a baseline "
        "must be averaged to match the gradient variance of one reparameterized draw."
    )
    if rates:
        best = min(rates, key=lambda name: rates[name].value)
        line += f" With the baseline {best}, {_format_rate(rates[best])} draws are enough."
    seeds = "one seed, so no interval" if rate.n == 1 else f"geometric mean over {rate.n} seeds"
    return f"{line} (Encoder's parameters; {seeds}.)"


def _format_rate(rate: Estimate) -> str:
    value = format_three_digits(rate.value)
    if rate.n < 2:
        return value
    return f"{value} (95 % interval {format_three_digits(rate.low)} to {format_three_digits(rate.high)})"


def format_three_digits(value: float) -> str:
    """Return the value with three digits and thousands separators: 583,000, 27.1; the limits of numbers in words."""
    if not 0 < value < math.inf:
        return "0" if value == 0 else f"more than {sys.float_info.max:.0e}"
    return f"{float(f'{value:.3g}'):,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def list_inconsistencies(results: pd.DataFrame) -> list[str]:
    """Return one line for each row whose numbers contradict each other; that is a bug of the program."""
    return [
        f"{row['variant']} on {row['dataset']}, seed {row['seed']}, epoch {row['epoch']:.0f}: {reason}"
        for row, reason in results_table.find_contradictions(results)
    ]
