"""Cells are the truth, one file each, and every other file is made from them. Needs no torch."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.csvs import numbers, read_table, write_table
from benchmarks.errors import DamageError, UserError
from benchmarks.files import NAME, WORD, Record, read_json, write, write_json
from benchmarks.metrics import ADDED, BY_NAME, RESULT_COLUMNS

FINISHED = ("ok", "diverged")
STATUSES = (*FINISHED, "failed", "timeout", "out-of-memory", "killed")
NUMBERS = ("seed", "epoch", "step", *BY_NAME, "train_seconds", "draws", "peak_memory_mib", "processor_seconds")
IDENTITY = ("dataset", "variant", "protocol_id", "seed")  # of a cell, in words
VARIANCES = ("gradient_variance", "decoder_gradient_variance")
WORDS = (
    "variant", "dataset", "status", "objective", "estimator", "baseline", "cell_id", "error", "commit",
    "protocol_id", "data_checksum", "torch", "processor", "mode", "device", "precision", "likelihood", "binarization",
    "started", "ended",
)  # fmt: skip


def write_cell(folder: Path, record: Record, arrays: Mapping[str, NDArray[Any]]) -> None:
    """A cell's files: the pictures' arrays first, then the record that says that it is finished."""
    path = folder / "cells" / f"{record['cell_id']}.json"
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write(path.with_suffix(".npz"), buffer.getvalue())
    write_json(path, record)


def read_cell(folder: Path, cell_id: str) -> Record | None:
    """The record of a cell, None where there is none; `DamageError` where its file is not whole, or another's."""
    try:
        record = read_json(folder / "cells" / f"{cell_id}.json")
    except FileNotFoundError:
        return None
    try:
        fault = _fault(record, cell_id)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamageError("it has not the parts of a cell") from error
    if fault:
        raise DamageError(fault)
    return record


def _fault(record: Record, cell_id: str) -> str | None:
    """Why no table can be made of it; what is refused in a results.csv is refused here."""
    own = rows(record)
    laboratory = "objective" not in record["common"] and all("study" in row or not row for row in record["rows"])
    trained = [] if laboratory else own
    epochs = [row.get("epoch") for row in trained]
    named = [row[name] for row in own for name in ("variant", "dataset", "commit", "torch")]
    faults = {
        f"it holds the cell {record['cell_id']}": not record["cell_id"] == cell_id == record["common"]["cell_id"],
        "a name is none": not all(isinstance(name, str) and name.isprintable() for name in named),
        "it has no rows": not own,
        "a number is none": not all(_is_number(row.get(name)) for row in own for name in NUMBERS),
        "it has no seed": not all(isinstance(row["seed"], int) for row in trained),
        "a word is none": not all(isinstance(row.get(name) or "", str) for row in own for name in WORDS),
        "a variant or data set can't be named so": not all(
            NAME.fullmatch(row[name]) for row in trained for name in ("variant", "dataset")
        ),
        "a word is one that no run writes": not all(
            WORD.fullmatch(row.get(name) or "") for row in trained for name in ("objective", "estimator", "baseline")
        ),
        "its status is unknown": not {record["status"], *(row["status"] for row in trained)} <= {*STATUSES},
        "a checkpoint has no epoch": any(row["status"] == "ok" and row.get("epoch") is None for row in trained),
        "it repeats a checkpoint": len(set(epochs)) < len(epochs),
        "its words are none": not all(isinstance(record[name], str) for name in ("error", "log")),
    }
    return next((fault for fault, found in faults.items() if found), None)


def has_whole_pictures(folder: Path, cell_id: str) -> bool:
    """Whether the arrays that a cell left, if it did, end as they should."""
    path = folder / "cells" / f"{cell_id}.npz"
    return not path.exists() or zipfile.is_zipfile(path)


def _is_number(value: object) -> bool:
    try:
        return value is None or (type(value) in (int, float) and math.isfinite(value))  # type: ignore[arg-type]
    except OverflowError:
        return False


def rows(record: Record) -> list[Record]:
    """A record's rows of results.csv, one a checkpoint."""
    return [{**record["common"], **row} for row in record["rows"]]


def write_results(folder: Path, records: Iterable[Record]) -> None:
    """results.csv, sorted so that it does not depend on the order in which cells ended."""
    table = [row for record in records for row in rows(record)]
    order = {name: i for i, name in enumerate(dict.fromkeys(row["variant"] for row in table))}
    table.sort(key=lambda row: (order[row["variant"]], row["dataset"], row["seed"], _epoch(row)))
    write_table(folder / "results.csv", RESULT_COLUMNS, table)


def _epoch(row: Record) -> float:
    """A row that says how a cell failed has no epoch, and comes last."""
    epoch = row.get("epoch")
    return math.inf if epoch is None else epoch


def read_results(path: Path) -> pd.DataFrame:
    """A results.csv as a table, or a `UserError` where it is none."""
    table = read_table(path, RESULT_COLUMNS, ADDED, WORDS)
    if table.empty:
        raise UserError(f"{path} has no rows, so there is nothing to show; finish its run first, or name another")
    for name in NUMBERS:
        values = numbers(table[name])
        wrong = table.index[values.isna() & table[name].notna() | np.isinf(values)]
        if len(wrong):
            raise UserError(f"{path}, line {wrong[0] + 2}: {name} is {table[name][wrong[0]]}, which is no number")
        table[name] = values
    _check_rows(table, path)
    return table


def _check_rows(table: pd.DataFrame, path: Path) -> None:
    """Rows that name no cell, no known outcome, or the same checkpoint twice."""
    faults = {
        "has no variant, data set, seed or cell_id": table[["variant", "dataset", "seed", "cell_id"]]
        .isna()
        .any(axis=1),
        "has a variant or data set that can't be named so": ~_named(table["variant"], NAME)
        | ~_named(table["dataset"], NAME),
        "has a word that no run writes": ~(
            _named(table["objective"], WORD) & _named(table["estimator"], WORD) & _named(table["baseline"], WORD)
        ),
        "has a cell_id that is none": ~_named(table["cell_id"], NAME),
        f"has a status that is none of {', '.join(STATUSES)}": ~table["status"].isin(STATUSES),
        "is ok and has no epoch": (table["status"] == "ok") & table["epoch"].isna(),
        "has a seed that is no whole number": (table["seed"] % 1 != 0) | (table["seed"].abs() >= 2**53),
        "has a variance below 0": (table[list(VARIANCES)] < 0).any(axis=1),
        "repeats a checkpoint of a cell": table.duplicated(["cell_id", "epoch"]),
        "repeats a seed under another cell_id": table.duplicated([*IDENTITY, "epoch"]),
        "comes after a later checkpoint of its cell": table["epoch"] < table.groupby("cell_id")["epoch"].cummax(),
    }
    for fault, rows in faults.items():
        if rows.any():
            line = int(rows.to_numpy().argmax()) + 2
            raise UserError(f"{path}, line {line} {fault}; give a results.csv as a run writes it")


def _named(words: pd.Series, pattern: re.Pattern[str]) -> pd.Series:
    return words.fillna("").str.fullmatch(pattern.pattern)


def read_pictures(folder: Path, cell_id: str) -> dict[str, NDArray[Any]]:
    """The pictures' arrays of a cell; empty where it left none."""
    path = folder / "cells" / f"{cell_id}.npz"
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # archives fail in a dozen ways
        raise UserError(f"{path} is damaged; delete it and its .json, and run the cell again") from error
