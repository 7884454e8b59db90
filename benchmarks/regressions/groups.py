"""A run by data set and variant: how its cells fared, and the rows that are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.metrics import METRICS, SETTINGS

Key = tuple[str, str]  # data set, variant
KEYS = ["dataset", "variant"]
MEASURED = (*(metric.name for metric in METRICS), "processor_seconds", "peak_memory_mib")
SETTING = tuple(column.name for column in SETTINGS if column.name not in ("train_seconds", "peak_memory_mib"))


@dataclass(frozen=True)
class Rows:
    """One row a seed: numbers by column, NaN where there is none; when each cell ran, on what, in which mode."""

    seeds: NDArray[np.int64]
    numbers: Mapping[str, NDArray[np.float64]]
    started: NDArray[np.str_]
    ended: NDArray[np.str_]
    processors: frozenset[str]
    modes: frozenset[str]

    def get(self, name: str) -> NDArray[np.float64]:
        """The column of that name."""
        return self.numbers[name]

    def of(self, seeds: Collection[int]) -> Rows:
        """Those of some seeds."""
        at = np.isin(self.seeds, list(seeds))
        numbers = {name: column[at] for name, column in self.numbers.items()}
        return Rows(self.seeds[at], numbers, self.started[at], self.ended[at], self.processors, self.modes)


NONE = Rows(
    np.array([], int),
    dict.fromkeys(MEASURED, np.array([])),
    np.array([], str),
    np.array([], str),
    frozenset(),
    frozenset(),
)


@dataclass(frozen=True)
class Group:
    """One variant on one data set in one run.

    cells: how many. lost: how many diverged. failed: how many left no result, or not all of it. first, last: rows of
    those that are whole, before training and at its end.
    """

    cells: int
    lost: int
    failed: int
    protocols: frozenset[str]
    settings: Mapping[str, Any]
    first: Rows
    last: Rows


def groups(results: pd.DataFrame) -> dict[Key, Group]:
    """By data set and variant, in the order of the table."""
    final = results.drop_duplicates("cell_id", keep="last")
    ended = final[final["status"] == "ok"]
    longest = results.groupby(KEYS, sort=False)["epoch"].max().to_dict()
    longest |= ended.groupby(KEYS, sort=False)["epoch"].max().to_dict()  # what diverges ends earlier
    at = [longest[key] for key in ended[KEYS].itertuples(index=False, name=None)]
    ended = ended[ended["epoch"] == at]  # a cell that lacks its last rows has no result
    counts: dict[Key, Counter[str]] = {}
    for dataset, variant, status in final[[*KEYS, "status"]].itertuples(index=False):
        counts.setdefault((dataset, variant), Counter())[status] += 1
    whole = Counter(ended[KEYS].itertuples(index=False, name=None))
    first = _rows(results[(results["epoch"] == 0) & results["cell_id"].isin(set(ended["cell_id"]))])
    last = _rows(ended)
    protocols: dict[Key, set[str]] = {}
    for dataset, variant, protocol in results[[*KEYS, "protocol_id"]].drop_duplicates().itertuples(index=False):
        protocols.setdefault((dataset, variant), set()).add(str(protocol))
    found = {}
    for settings in results.drop_duplicates(KEYS)[[*KEYS, *SETTING, "data_checksum"]].to_dict("records"):
        key = settings.pop("dataset"), settings.pop("variant")
        cells, diverged = counts[key].total(), counts[key]["diverged"]
        settings["epochs"] = longest[key]
        found[key] = Group(
            cells, diverged, cells - whole[key] - diverged, frozenset(protocols[key]), settings,
            first.get(key, NONE), last.get(key, NONE),
        )  # fmt: skip
    return found


def _rows(rows: pd.DataFrame) -> dict[Key, Rows]:
    """By data set and variant, one row a seed."""
    rows = rows.drop_duplicates([*KEYS, "seed"])
    seeds = rows["seed"].to_numpy(int)
    started, ended, processors, modes = (
        rows[name].astype(object).fillna("").to_numpy(str)  # a column that older tables lack holds no text at all
        for name in ("started", "ended", "processor", "mode")
    )
    numbers = {name: rows[name].to_numpy(float) for name in MEASURED}
    return {
        (str(key[0]), str(key[1])): Rows(
            seeds[at],
            {name: column[at] for name, column in numbers.items()},
            started[at],
            ended[at],
            frozenset(processors[at].tolist()),
            frozenset(modes[at].tolist()),
        )
        for key, at in rows.groupby(KEYS, sort=False).indices.items()
    }
