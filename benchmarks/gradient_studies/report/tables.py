"""gradients.csv from the records of the cells, with rows over all seeds; selections and number formats."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError
from benchmarks.common.seed_statistics import fit_slope, geometric_mean, t_half_width
from benchmarks.gradient_studies.columns import (
    ADDED_COLUMNS,
    BEST,
    COLUMN_NAMES,
    EXCHANGE_RATES,
    KINDS,
    UNITS,
    VARIANCE_RATIOS,
    Row,
)
from benchmarks.reporting.csv_tables import TEXT_KINDS, parse_numbers, read_table, write_table

GRADIENTS_FILE = "gradients.csv"
LINE_COLUMNS = ["study", "dataset", "checkpoint", "setting", "variant", "objective", "estimator", "baseline"]
MEASUREMENT_COLUMNS = (
    *(*LINE_COLUMNS, "seed", "draws", "setting_value", "batch_size", "latent_dim"),
    *("parameters", "layer", "part", "quantity", "against"),
)
NUMBER_COLUMNS = tuple(name for name, kind in KINDS.items() if kind not in TEXT_KINDS)
FITTED_QUANTITIES = (  # study, quantity, part
    ("latent-dim", "variance", "latent"),
    ("draws", "variance", "latent"),
    ("draws", "snr", "latent"),
    ("batch-size", "variance", "total"),
    ("posterior-scale", "variance", "latent"),
)


def write_gradients(folder: Path, records: Iterable[Record]) -> None:
    """Write gradients.csv: the rows of all cells, then the rows over all seeds.

    A reference estimate that the cells of several plug-ins measured has the rows of the first cell.
    """
    unique: dict[tuple[Any, ...], Row] = {}
    for row in (row for record in records for row in record["rows"] if row.get("study")):
        unique.setdefault(tuple(row.get(name) for name in MEASUREMENT_COLUMNS), row)
    rows = list(unique.values())
    rows.sort(key=lambda row: (row["study"], math.inf if row["seed"] is None else row["seed"]))
    if not rows:
        return
    table = make_frame(rows)
    write_table(folder / GRADIENTS_FILE, COLUMN_NAMES, [*rows, *_mean_ratios(table), *_slopes(table)])


def make_frame(rows: list[Row] | pd.DataFrame) -> pd.DataFrame:
    """Return rows as a table with all columns; a missing text is empty, a missing number NaN."""
    table = pd.DataFrame(rows, columns=list(COLUMN_NAMES))
    text = [name for name in COLUMN_NAMES if name not in NUMBER_COLUMNS]
    return table.assign(
        **{name: table[name].astype(object).where(table[name].notna(), "").astype(str) for name in text},
        **{name: parse_numbers(table[name]) for name in NUMBER_COLUMNS},
    )


def read_gradients(path: Path) -> pd.DataFrame:
    """Read a gradients.csv; raises `UserError` if the file is damaged or is another table."""
    table = make_frame(read_table(path, KINDS, ADDED_COLUMNS))
    blank = (table[["study", "dataset", "quantity", "variant"]] == "").any(axis=1)
    if blank.any():
        line = int(blank.to_numpy().argmax()) + 2
        raise UserError(
            f"{path}, line {line} has no study, data set, quantity or variant; give an unchanged gradients.csv"
        )
    return table


def _mean_ratios(table: pd.DataFrame) -> Iterator[Row]:
    """Yield geometric means over seeds, with t-intervals of the logarithms."""
    quantities = (*EXCHANGE_RATES.values(), *VARIANCE_RATIOS.values())
    chosen = table[table["quantity"].isin(quantities) & (table["value"] > 0)]
    keys = [*LINE_COLUMNS, "setting_value", "draws", "batch_size", "latent_dim", "parameters", "part"]
    keys += ["quantity", "against", "unit"]
    for key, group in chosen.groupby(keys, sort=False, dropna=False):
        if len(group) < 2:
            continue
        ratio = geometric_mean(group["value"].tolist())
        yield dict(zip(keys, key, strict=True)) | {
            "value": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
            "kurtosis": group["kurtosis"].max(),
            "flag": group["flag"].max(),
            "passes": group["passes"].iloc[0],
        }


def _slopes(table: pd.DataFrame) -> Iterator[Row]:
    """Yield exponents of power laws in the setting: one per seed, then their mean with a t-interval."""
    columns: Row = {"parameters": "encoder", "quantity": "slope", "unit": UNITS["slope"]}
    for study, quantity, part in FITTED_QUANTITIES:
        rows = table[(table["study"] == study) & (table["quantity"] == quantity) & (table["part"] == part)]
        rows = rows[(rows["parameters"] == "encoder") & (rows["layer"] == "") & (rows["value"] > 0)]
        columns["part"] = part if quantity == "variance" else quantity
        for key, group in rows.groupby(LINE_COLUMNS, sort=False):
            common = columns | dict(zip(LINE_COLUMNS, key, strict=True))
            values = []
            for seed, points in group.groupby("seed"):
                if len(points) >= 2:
                    slope = fit_slope(points["setting_value"].tolist(), points["value"].tolist())
                    values.append(slope.value)
                    yield common | {"seed": seed, "value": slope.value, "low": slope.low, "high": slope.high}
            if len(values) >= 2:
                mean, half = sum(values) / len(values), t_half_width(values)
                yield common | {"value": mean, "low": mean - half, "high": mean + half}


def select_over_seeds(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Return the rows of a quantity over all seeds; for what only one seed has, the row of that seed."""
    rows = table[table["quantity"] == quantity]
    is_mean = rows["seed"].isna()
    has_mean = is_mean.groupby([rows[name] for name in (*LINE_COLUMNS, "against")]).transform("any")
    return rows[is_mean == has_mean]


def select_best_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each variant's test ELBO over seeds at the learning rate that the validation split chose."""
    rows = table[(table["study"] == "learning-rate") & table["seed"].isna()]
    best = rows[(rows["part"] == "validation") & rows["flag"].str.startswith(BEST)]
    rates = rows["variant"].map(best.set_index("variant")["setting_value"])
    return rows[(rows["part"] == "test") & (rows["setting_value"] == rates)]


def select_lower_scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return the exact variances of both estimators for cos(kz), by k, where the score function's is the lower one."""
    rows = table[(table["study"] == "counter-example") & (table["quantity"] == "variance")]
    exact = rows[rows["variant"] == "closed form"].drop_duplicates(["estimator", "setting_value"])
    wide = exact.pivot(index="setting_value", columns="estimator", values="value")
    wide = wide.reindex(columns=["pathwise", "score_function"])
    return wide[wide["score_function"] < wide["pathwise"]]


def split_by_likelihood(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of one data set by likelihood, with a title as key; it is empty if there is one likelihood."""
    parts = dict(list(rows.groupby("likelihood", sort=False)))
    return {f"likelihood {name}" if len(parts) > 1 else "": part for name, part in parts.items()}


def format_nats(value: float, low: float, high: float) -> str:
    """Return a value with its range, one decimal each."""
    return f"{value:,.1f} [{low:,.1f}, {high:,.1f}]"


def format_digits(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """Return a value with three significant digits, and with its interval unless that is NaN."""
    if not (math.isnan(low) or math.isnan(high)):
        return f"{format_digits(value)} [{format_digits(low)}, {format_digits(high)}]"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e7 or abs(value) < 1e-3:
        return f"{value:.2e}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{float(f'{value:.3g}'):,.{decimals}f}"


def format_draws(value: float) -> str:
    """Return a number of draws: whole below 100, else with three digits."""
    return f"{value:,.0f}" if value < 100 else format_digits(value)
