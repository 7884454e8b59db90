"""Results grouped by data set and variant: counts of cells, and the rows that are compared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from benchmarks.comparison.conditions import Conditions, list_conditions
from benchmarks.reporting.metrics import METRICS, Metric
from benchmarks.reporting.results_table import SETTINGS

Key = tuple[str, str]  # data set, variant
Columns = Mapping[str, NDArray[Any]]  # by name, with one value per seed
KEY_COLUMNS = ["dataset", "variant"]
MEASURED_COLUMNS = (*(metric.name for metric in METRICS), "processor_seconds", "peak_memory_mib")
TEXT_COLUMNS = ("started", "ended", "processor", "mode")
SETTING_COLUMNS = tuple(column.name for column in SETTINGS if column.name not in ("train_seconds", "peak_memory_mib"))


@dataclass(frozen=True)
class Group:
    """One variant on one data set in one run.

    cells, diverged, failed: numbers of cells; a cell without its last row counts as failed. sources: hashes of the
    plug-in's source; empty for variants of the project. conditions: of all cells. rows: the complete cells at the
    checkpoints "first" (before training) and "last".
    """

    cells: int
    diverged: int
    failed: int
    protocols: frozenset[str]
    sources: frozenset[str]
    settings: Mapping[str, Any]
    conditions: Conditions
    rows: Mapping[str, Columns]

    def tolerance(self, metric: Metric, dataset: str) -> float:
        """Return the smallest difference of the metric that matters on these data."""
        return metric.tolerance_on(dataset, float(self.settings.get("dimensions") or math.nan))


Groups = Mapping[Key, Group]


def group_results(results: pd.DataFrame) -> dict[Key, Group]:
    """Return a group for each data set and variant, in the order of the table."""
    final = results.drop_duplicates("cell_id", keep="last")
    last_epochs = results.groupby(KEY_COLUMNS)["epoch"].max().to_dict()
    # if there are "ok" cells, only theirs count, because diverged cells end early
    last_epochs |= final[final["status"] == "ok"].groupby(KEY_COLUMNS)["epoch"].max().to_dict()
    expected = [last_epochs[key] for key in final[KEY_COLUMNS].itertuples(index=False, name=None)]
    complete = final[(final["status"] == "ok") & (final["epoch"] == expected)]
    initial = results[(results["epoch"] == 0) & results["cell_id"].isin(set(complete["cell_id"]))]
    first, last = _split_rows(initial), _split_rows(complete)
    cells, completed, diverged = (
        Counter(rows[KEY_COLUMNS].itertuples(index=False, name=None))
        for rows in (final, complete, final[final["status"] == "diverged"])
    )
    protocols, sources = (
        results[KEY_COLUMNS].assign(value=results[name].astype(object).fillna("")).groupby(KEY_COLUMNS)["value"]
        .agg(frozenset).to_dict()
        for name in ("protocol_id", "plugin_source")
    )  # fmt: skip
    empty = _make_columns(results.iloc[:0])
    columns = [*SETTING_COLUMNS, "data_checksum"]
    known = results.groupby(KEY_COLUMNS, sort=False)[columns].first()  # a failed cell may not know its likelihood
    conditions, groups = list_conditions(results), {}
    for settings in known.reset_index().to_dict("records"):
        key = settings.pop("dataset"), settings.pop("variant")
        groups[key] = Group(
            cells[key], diverged[key], cells[key] - completed[key] - diverged[key], protocols[key],
            sources[key],
            {"epochs": last_epochs[key], **settings}, conditions[key],
            {"first": first.get(key, empty), "last": last.get(key, empty)},
        )  # fmt: skip
    return groups


def _split_rows(rows: pd.DataFrame) -> dict[Key, Columns]:
    rows = rows.drop_duplicates([*KEY_COLUMNS, "seed"])
    columns = _make_columns(rows)
    return {
        (str(key[0]), str(key[1])): select_rows(columns, index)
        for key, index in rows.groupby(KEY_COLUMNS, sort=False).indices.items()
    }


def _make_columns(rows: pd.DataFrame) -> Columns:
    return {
        "seed": rows["seed"].to_numpy(int),
        **{name: rows[name].to_numpy(float) for name in MEASURED_COLUMNS},
        **{name: rows[name].astype(object).fillna("").to_numpy(str) for name in TEXT_COLUMNS},  # older tables lack some
    }


def select_rows(columns: Columns, index: NDArray[Any]) -> Columns:
    """Return the columns of some rows. index: their positions, or True for each of them."""
    return {name: column[index] for name, column in columns.items()}
