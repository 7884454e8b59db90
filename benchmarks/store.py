"""Run folders: cells are the truth, one file each; every other file is made from them. Needs no torch."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.metrics import BY_NAME, RESULT_COLUMNS

SCHEMA_VERSION = 1
FINISHED = ("ok", "diverged")
STATUSES = (*FINISHED, "failed", "timeout", "out-of-memory", "killed")
NUMBERS = ("seed", "epoch", "step", *BY_NAME, "train_seconds", "draws")
WORDS = ("variant", "dataset", "status", "objective", "estimator", "baseline", "cell_id", "error", "commit")
Record = dict[str, Any]


def write(path: Path, content: bytes) -> None:
    """Whole or not at all: into a temporary file beside it, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """The content as indented JSON, whole or not at all."""
    write(path, as_json(content).encode())


def as_json(content: Mapping[str, Any]) -> str:
    """As every file of a run is written: indented, a line each."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def write_cell(folder: Path, record: Record, arrays: Mapping[str, NDArray[Any]]) -> None:
    """A cell's files: the pictures' arrays first, then the record that says that it is finished."""
    path = folder / "cells" / f"{record['cell_id']}.json"
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write(path.with_suffix(".npz"), buffer.getvalue())
    write_json(path, record)


def read_cell(folder: Path, cell_id: str) -> Record | None:
    """The record of a cell, or None where there is none, or none that can be read."""
    try:
        record: Record = json.loads((folder / "cells" / f"{cell_id}.json").read_text(encoding="utf-8"))
        common, rows = record["common"], record["rows"]
        whole = record["schema_version"] == SCHEMA_VERSION and record["cell_id"] == cell_id == common["cell_id"]
        named = all(isinstance(common[name], str) for name in ("variant", "dataset", "commit", "torch"))
        numbers = all(_is_number(row.get(name)) for row in rows for name in NUMBERS)
        return record if whole and named and numbers and rows and isinstance(record["status"], str) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def rows(record: Record) -> list[Record]:
    """A record's rows of results.csv, one a checkpoint."""
    return [{**record["common"], **row} for row in record["rows"]]


def write_results(folder: Path, records: Iterable[Record]) -> None:
    """results.csv, sorted so that it does not depend on the order in which cells ended."""
    table = [row for record in records for row in rows(record)]
    order = {name: i for i, name in enumerate(dict.fromkeys(row["variant"] for row in table))}
    table.sort(key=lambda row: (order[row["variant"]], row["dataset"], row["seed"], _epoch(row)))
    write_table(folder / "results.csv", RESULT_COLUMNS, table)


def write_table(path: Path, columns: Sequence[str], table: Iterable[Record]) -> None:
    """Rows as CSV, numbers in full; what is absent, or not a number, is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_number(row.get(name)) for name in columns] for row in table)
    write(path, text.getvalue().encode())


def _epoch(row: Record) -> float:
    """A row that says how a cell failed has no epoch, and comes last."""
    epoch = row.get("epoch")
    return math.inf if epoch is None else epoch


def _number(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return "" if value is None else value


def manifest(folder: Path) -> Record | None:
    """What a run folder was planned to hold; None where it holds no plan."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        content: Record = json.loads(path.read_text(encoding="utf-8"))
        fields = [cell["variant"]["name"] + cell["cell_id"] for cell in content["cells"]]
        if not isinstance(content["protocol"], dict) or not all(isinstance(field, str) for field in fields):
            raise ValueError("it has no protocol")
        return content | {"data_checksum": content["data_checksum"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"[:120]
        raise UserError(f"{path} is damaged ({reason}); use another --name, or delete that folder") from error


def run_folders(out: Path) -> list[Path]:
    """The run folders under `out`, oldest first."""
    found = [path.parent for path in out.glob("*/manifest.json")] if out.is_dir() else []
    return sorted(found, key=lambda folder: ((folder / "manifest.json").stat().st_mtime_ns, folder.name))


def find_results(run: str, out: Path) -> Path:
    """The results.csv that RUN means: a run folder, a results.csv, the name of a run under `out`, or `latest`."""
    if run == "latest":
        for folder in reversed(run_folders(out)):
            if (folder / "results.csv").is_file():
                return folder / "results.csv"
        raise UserError(
            f"no run with results in {out}; start one with 'python -m benchmarks run --all', or name its folder"
        )
    for path in (Path(run), out / run):
        if path.is_file():
            return path
        if path.is_dir():
            if (path / "results.csv").is_file():
                return path / "results.csv"
            if (path / "gradients.csv").is_file():
                raise UserError(
                    f"{path} is one of the laboratory, whose table is gradients.csv; 'python -m benchmarks plot' draws "
                    "it, and here a run with a results.csv is needed"
                )
            raise UserError(
                f"{path} has no results.csv, so there is nothing to show; finish its run first, or name another"
            )
    raise UserError(f"there is no run {run}; give a run folder, its results.csv, a name under {out}, or 'latest'")


def find_laboratory(run: str, out: Path) -> Path | None:
    """The gradients.csv that RUN means: a folder of the laboratory, or the file; None where it means none."""
    for path in (Path(run), out / run):
        if path.name == "gradients.csv" and path.is_file():
            return path
        if (path / "gradients.csv").is_file() and not (path / "results.csv").is_file():
            return path / "gradients.csv"
    return None


def read_results(path: Path) -> pd.DataFrame:
    """A results.csv as a table, or a `UserError` where it is none."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(WORDS, str), keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise UserError(f"can't read {path} as a results.csv: {' '.join(str(error).split())}; is it whole?") from error
    missing = [name for name in RESULT_COLUMNS if name not in table.columns]
    if missing:
        raise UserError(
            f"{path} lacks the columns {', '.join(missing[:5])}{' ...' if missing[5:] else ''}; "
            "give a results.csv as a run writes it"
        )
    if table.empty:
        raise UserError(f"{path} has no rows, so there is nothing to show; finish its run first, or name another")
    for name in NUMBERS:
        values = pd.to_numeric(table[name], errors="coerce")
        wrong = table.index[values.isna() & table[name].notna() | np.isinf(values)]
        if len(wrong):
            raise UserError(f"{path}, line {wrong[0] + 2}: {name} is {table[name][wrong[0]]}, which is no number")
        table[name] = values
    _check_rows(table, path)
    return table


def _check_rows(table: pd.DataFrame, path: Path) -> None:
    """Rows that name no cell, no known outcome, or the same checkpoint twice."""
    faults = {
        "has no variant, data set or cell_id": table[["variant", "dataset", "cell_id"]].isna().any(axis=1),
        f"has a status that is none of {', '.join(STATUSES)}": ~table["status"].isin(STATUSES),
        "is ok and has no epoch": (table["status"] == "ok") & table["epoch"].isna(),
        "repeats a checkpoint of a cell": table.duplicated(["cell_id", "epoch"]),
    }
    for fault, rows in faults.items():
        if rows.any():
            line = int(rows.to_numpy().argmax()) + 2
            raise UserError(f"{path}, line {line} {fault}; give a results.csv as a run writes it")


def read_pictures(folder: Path, cell_id: str) -> dict[str, NDArray[Any]]:
    """The pictures' arrays of a cell; empty where it left none."""
    path = folder / "cells" / f"{cell_id}.npz"
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged; delete it and its .json, and run the cell again") from error
