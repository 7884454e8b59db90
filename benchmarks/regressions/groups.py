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
    longest = _longest(results, final)
    at = [longest[key] for key in final[KEYS].itertuples(index=False, name=None)]
    whole = final[(final["status"] == "ok") & (final["epoch"] == at)]  # what lacks its last rows has no result
    before = results[(results["epoch"] == 0) & results["cell_id"].isin(set(whole["cell_id"]))]
    first, last = _rows(before), _rows(whole)
    cells, ended, diverged = (
        Counter(some[KEYS].itertuples(index=False, name=None))
        for some in (final, whole, final[final["status"] == "diverged"])
    )
    protocols: dict[Key, set[str]] = {}
    for dataset, variant, protocol in results[[*KEYS, "protocol_id"]].drop_duplicates().itertuples(index=False):
        protocols.setdefault((dataset, variant), set()).add(str(protocol))
    found = {}
    for settings in results.drop_duplicates(KEYS)[[*KEYS, *SETTING, "data_checksum"]].to_dict("records"):
        key = settings.pop("dataset"), settings.pop("variant")
        found[key] = Group(
            cells[key], diverged[key], cells[key] - ended[key] - diverged[key], frozenset(protocols[key]),
            {"epochs": longest[key], **settings}, first.get(key, NONE), last.get(key, NONE),
        )  # fmt: skip
    return found


def _longest(results: pd.DataFrame, final: pd.DataFrame) -> dict[Key, float]:
    """The last epoch of each data set and variant: of what ended well, if anything did, as what diverges ends early."""
    found: dict[Key, float] = results.groupby(KEYS, sort=False)["epoch"].max().to_dict()
    found.update(final[final["status"] == "ok"].groupby(KEYS, sort=False)["epoch"].max().to_dict())
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
