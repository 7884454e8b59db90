"""Studies of trained models: the effect of a gradient's variance on the final ELBO. From rows of results.csv.

`learning-rate` compares the learning rates at which each variant was trained, and chooses one by the validation split.
`budget` reports the test ELBO of each variant during training at that rate.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.common.errors import UserError
from benchmarks.common.seed_statistics import summarize_values
from benchmarks.gradient_studies.columns import BEST, BEST_AT_EDGE, DIVERGED, UNITS, Row
from benchmarks.planning.cases import Protocol
from benchmarks.reporting import results_table

TRAINED_STUDIES = ("learning-rate", "budget")
SHARED_COLUMNS = (
    "dataset", "data_checksum", "binarization", "preprocessing", "batch_size", "evaluation_draws",
    "architecture", "hidden", "activation", "initialisation", "output_bias", "optimizer", "schedule", "kl_schedule",
    "free_bits", "held_out", "order",
)  # fmt: skip
MODEL_COLUMNS = ("latent_dim", "prior")  # which variants may differ in


DEFAULTS = {field.name: field.default for field in dataclasses.fields(Protocol) if field.default}


def _list_values(rows: pd.DataFrame, column: str) -> list[str]:
    """Return the values of a setting; an older table lacks the column, and was made with the default."""
    values = rows[column].dropna().unique().tolist() or [DEFAULTS.get(column, 0)]
    return [f"{value:g}" if isinstance(value, int | float) else str(value) for value in values]


def _require_equal(column: str, paths: Sequence[Path], parts: Sequence[pd.DataFrame]) -> None:
    """Raise `UserError` if a setting has several values in these rows of the runs."""
    seen = {
        value: path
        for path, part in zip(paths, parts, strict=True)
        if len(part)
        for value in _list_values(part, column)
    }
    if len(seen) > 1:
        (value, path), (other_value, other_path) = list(seen.items())[:2]
        raise UserError(
            f"--run: {column} is {value} in {path} and {other_value} in {other_path}; give runs that differ "
            "only in their learning rates"
        )


def read_runs(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of all variants with latent noise; raises `UserError` if the runs cannot be compared."""
    parts = [results_table.read_results(path) for path in paths]
    for column in SHARED_COLUMNS:
        _require_equal(column, paths, parts)
    for column, variant in itertools.product(MODEL_COLUMNS, pd.concat(parts)["variant"].unique()):
        _require_equal(column, paths, [part[part["variant"] == variant] for part in parts])
    results = pd.concat(parts, ignore_index=True).drop_duplicates(["cell_id", "epoch"])
    duplicates = results[results.duplicated(["variant", "learning_rate", "seed", "epoch"])]
    if len(duplicates):
        first = duplicates.iloc[0]
        raise UserError(
            f"--run: the runs contain {first['variant']} with learning rate {first['learning_rate']:g} and seed "
            f"{first['seed']:.0f} more than once, made by different code or settings; remove one run"
        )
    for variant, names in results.groupby("variant", sort=False)["likelihood"]:
        likelihoods = names.dropna().unique()
        if len(likelihoods) > 1:
            raise UserError(
                f"--run: the likelihood of {variant} is {likelihoods[0]} in one run and {likelihoods[1]} in another; "
                "give runs that differ only in their learning rates"
            )
    if results["validation_elbo"].notna().sum() == 0:
        raise UserError(
            f"--run: {', '.join(map(str, paths))} has no ELBO on a validation split, which chooses the learning rate; "
            "give runs of a data set with a validation split, such as mnist5k or digits"
        )
    by_variant = results.groupby("variant")
    known = by_variant["likelihood"].transform("first")  # a failed cell may not know it
    return results.assign(likelihood=known)[by_variant["elbo"].transform("count") > 0]


def make_rows(results: pd.DataFrame, passes: Mapping[str, int], studies: Sequence[str]) -> Iterator[Row]:
    """Yield rows of gradients.csv. passes: decoder passes per example and gradient, for each variant to include."""
    results = _select_common_seeds(results[results["variant"].isin(list(passes))])
    every = results["learning_rate"].nunique()
    for name, variant_rows in results.groupby("variant", sort=False):
        best = _find_best_rate(variant_rows)
        if "learning-rate" in studies and variant_rows["learning_rate"].nunique() == every:
            yield from _learning_rate_rows(variant_rows, passes[str(name)], best)
        if "budget" in studies:
            yield from _budget_rows(variant_rows[variant_rows["learning_rate"] == best], passes[str(name)])


def _select_common_seeds(results: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the seeds that every variant has at every rate."""
    cells = results.groupby(["variant", "learning_rate"])["seed"].agg(set)
    common = set.intersection(*cells) if len(cells) else set()
    if not common:
        raise UserError("--run: the variants and learning rates have no seed in common; give runs with equal seeds")
    return results[results["seed"].isin(common)]


def _final_values(rows: pd.DataFrame, metric: str) -> tuple[dict[float, float], int]:
    """Return the metric at the last epoch by seed, for cells that completed it, and the number of diverged seeds."""
    status = rows.groupby("seed")["status"].last()
    last = rows[(rows["status"] == "ok") & rows["seed"].isin(status.index[status == "ok"])]
    last = last[last["epoch"] == rows["epoch"].max()]
    by_seed = dict(zip(last["seed"].tolist(), last[metric].tolist(), strict=True))
    return by_seed, int((status == "diverged").sum())


def _find_best_rate(rows: pd.DataFrame) -> float:
    """Return the rate with the highest median validation ELBO; a diverged seed counts as the lowest value."""

    def score(rate: float) -> float:
        by_seed, diverged = _final_values(rows[rows["learning_rate"] == rate], "validation_elbo")
        median = summarize_values(list(by_seed.values()), diverged, -math.inf).median
        return -math.inf if math.isnan(median) else median

    return float(max(sorted(rows["learning_rate"].unique()), key=score))


def _shared_columns(rows: pd.DataFrame, passes: int) -> Row:
    first = rows.iloc[0]
    texts = ("variant", "objective", "estimator", "baseline", "dataset", "likelihood")
    columns: Row = {name: "" if pd.isna(first[name]) else str(first[name]) for name in texts}
    columns |= {name: int(first[name]) for name in ("draws", "batch_size", "latent_dim")}
    return columns | {"parameters": "", "layer": "", "quantity": "elbo", "unit": UNITS["elbo"], "passes": passes}


def _learning_rate_rows(rows: pd.DataFrame, passes: int, best: float) -> Iterator[Row]:
    rates = sorted(map(float, rows["learning_rate"].unique()))
    for rate in rates:
        rate_rows = rows[rows["learning_rate"] == rate]
        epoch = f"epoch {rate_rows['epoch'].max():.0f}"
        common = _shared_columns(rows, passes) | {"study": "learning-rate", "seed": None}
        common |= {"checkpoint": epoch, "setting": "learning_rate", "setting_value": rate}
        for part, metric in (("validation", "validation_elbo"), ("test", "elbo")):
            by_seed, diverged = _final_values(rate_rows, metric)
            for seed, value in by_seed.items():
                yield common | {"seed": seed, "part": part, "value": value}
            if not by_seed:
                yield common | {"part": part, "flag": DIVERGED}
                continue
            choice = "" if rate != best else BEST_AT_EDGE if len(rates) > 1 and rate in (rates[0], rates[-1]) else BEST
            flag = DIVERGED if diverged else choice
            values = summarize_values(list(by_seed.values()))
            yield common | {"part": part, "value": values.median, "low": values.min, "high": values.max, "flag": flag}


def _budget_rows(rows: pd.DataFrame, passes: int) -> Iterator[Row]:
    """Yield the test ELBO at each checkpoint, by the decoder passes and by the seconds of training until then."""
    measured = rows[(rows["status"] == "ok") & (rows["epoch"] > 0) & rows["elbo"].notna()]
    for row in measured.itertuples():
        common = _shared_columns(rows, passes) | {"study": "budget", "seed": row.seed, "part": "test"}
        common |= {"checkpoint": f"epoch {row.epoch:.0f}", "value": row.elbo}
        yield common | {"setting": "decoder_passes", "setting_value": row.step * row.batch_size * passes}
        yield common | {"setting": "seconds", "setting_value": row.train_seconds}
