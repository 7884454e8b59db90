"""Results grouped by data set and variant: counts of cells, and the rows that are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.reporting.metrics import METRICS
from benchmarks.reporting.results_table import SETTINGS

Key = tuple[str, str]  # data set, variant
KEY_COLUMNS = ["dataset", "variant"]
MEASURED_COLUMNS = (*(metric.name for metric in METRICS), "processor_seconds", "peak_memory_mib")
SETTING_COLUMNS = tuple(column.name for column in SETTINGS if column.name not in ("train_seconds", "peak_memory_mib"))


@dataclass(frozen=True)
class SeedRows:
    """One row per seed: measured numbers by column (NaN if missing), times, processors and execution modes."""

    seeds: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.float64]]
    started: NDArray[np.str_]
    ended: NDArray[np.str_]
    processors: frozenset[str]
    modes: frozenset[str]

    def select(self, seeds: Collection[int]) -> SeedRows:
        """Return the rows of these seeds."""
        chosen = np.isin(self.seeds, list(seeds))
        numbers = {name: column[chosen] for name, column in self.numbers.items()}
        return SeedRows(
            self.seeds[chosen], numbers, self.started[chosen], self.ended[chosen], self.processors, self.modes
        )


NO_TEXT = np.array([], str)
NO_NUMBERS = dict.fromkeys(MEASURED_COLUMNS, np.array([]))
NO_ROWS = SeedRows(np.array([], int), NO_NUMBERS, NO_TEXT, NO_TEXT, frozenset(), frozenset())


@dataclass(frozen=True)
class Group:
    """One variant on one data set in one run.

    cells, diverged, failed: numbers of cells; a cell without its last row counts as failed. first, last: rows of the
    complete cells, before training and at the end.
    """

    cells: int
    diverged: int
    failed: int
    protocols: frozenset[str]
    settings: Mapping[str, Any]
    first: SeedRows
    last: SeedRows


Groups = Mapping[Key, Group]


def group_results(results: pd.DataFrame) -> dict[Key, Group]:
    """Return a group for each data set and variant, in the order of the table."""
    final = results.drop_duplicates("cell_id", keep="last")
    last_epochs = _find_last_epochs(results, final)
    expected = [last_epochs[key] for key in final[KEY_COLUMNS].itertuples(index=False, name=None)]
    complete = final[(final["status"] == "ok") & (final["epoch"] == expected)]
    initial = results[(results["epoch"] == 0) & results["cell_id"].isin(set(complete["cell_id"]))]
    first, last = _split_rows(initial), _split_rows(complete)
    cells, completed, diverged = (
        Counter(rows[KEY_COLUMNS].itertuples(index=False, name=None))
        for rows in (final, complete, final[final["status"] == "diverged"])
    )
    protocols: dict[Key, set[str]] = {}
    for dataset, variant, protocol in results[[*KEY_COLUMNS, "protocol_id"]].drop_duplicates().itertuples(index=False):
        protocols.setdefault((dataset, variant), set()).add(str(protocol))
    columns = [*KEY_COLUMNS, *SETTING_COLUMNS, "data_checksum"]
    groups = {}
    for settings in results.drop_duplicates(KEY_COLUMNS)[columns].to_dict("records"):
        key = settings.pop("dataset"), settings.pop("variant")
        groups[key] = Group(
            cells[key], diverged[key], cells[key] - completed[key] - diverged[key], frozenset(protocols[key]),
            {"epochs": last_epochs[key], **settings}, first.get(key, NO_ROWS), last.get(key, NO_ROWS),
        )  # fmt: skip
    return groups


def _find_last_epochs(results: pd.DataFrame, final: pd.DataFrame) -> dict[Key, float]:
    """Return the last epoch of each data set and variant: of "ok" cells if any, because diverged cells end early."""
    epochs: dict[Key, float] = results.groupby(KEY_COLUMNS, sort=False)["epoch"].max().to_dict()
    epochs.update(final[final["status"] == "ok"].groupby(KEY_COLUMNS, sort=False)["epoch"].max().to_dict())
    return epochs


def _split_rows(rows: pd.DataFrame) -> dict[Key, SeedRows]:
    rows = rows.drop_duplicates([*KEY_COLUMNS, "seed"])
    seeds = rows["seed"].to_numpy(int)
    started, ended, processors, modes = (
        rows[name].astype(object).fillna("").to_numpy(str)  # older tables lack some of these columns
        for name in ("started", "ended", "processor", "mode")
    )
    numbers = {name: rows[name].to_numpy(float) for name in MEASURED_COLUMNS}
    return {
        (str(key[0]), str(key[1])): SeedRows(
            seeds[index],
            {name: column[index] for name, column in numbers.items()},
            started[index],
            ended[index],
            frozenset(processors[index].tolist()),
            frozenset(modes[index].tolist()),
        )
        for key, index in rows.groupby(KEY_COLUMNS, sort=False).indices.items()
    }
