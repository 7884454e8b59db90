"""Run folders: cells are the truth, one file each; every other file is made from them. Needs no torch."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.metrics import RESULT_COLUMNS

SCHEMA_VERSION = 1
FINISHED = ("ok", "diverged")
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
    write(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


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
        return record if record["cell_id"] == cell_id and {"status", "common", "rows"} <= record.keys() else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def rows(record: Record) -> list[Record]:
    """A record's rows of results.csv, one a checkpoint."""
    return [{**record["common"], **row} for row in record["rows"]]


def write_results(folder: Path, records: Iterable[Record]) -> None:
    """results.csv, sorted so that it does not depend on the order in which cells ended."""
    table = [row for record in records for row in rows(record)]
    order = {name: i for i, name in enumerate(dict.fromkeys(row["variant"] for row in table))}
    table.sort(key=lambda row: (order[row["variant"]], row["dataset"], row["seed"], row.get("epoch", float("inf"))))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(RESULT_COLUMNS)
    writer.writerows([_number(row.get(name)) for name in RESULT_COLUMNS] for row in table)
    write(folder / "results.csv", text.getvalue().encode())


def _number(value: object) -> object:
    return "" if value is None else repr(value) if isinstance(value, float) else value


def manifest(folder: Path) -> Record | None:
    """What a run folder was planned to hold; None where it holds no plan."""
    path = folder / "manifest.json"
    if not path.is_file():
        return None
    try:
        content: Record = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(content["protocol"], dict) and isinstance(content["cells"], list)):
            raise ValueError("no protocol or cells")
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"can't read {path} ({error}); use another --name, or delete that folder") from error


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
            raise UserError(
                f"{path} has no results.csv, so there is nothing to show; finish its run first, or name another"
            )
    raise UserError(f"there is no run {run}; give a run folder, its results.csv, a name under {out}, or 'latest'")


def read_results(path: Path) -> pd.DataFrame:
    """A results.csv as a table, or a `UserError` where it is none."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
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
    return table


def read_pictures(folder: Path, cell_id: str) -> dict[str, NDArray[Any]]:
    """The pictures' arrays of a cell; empty where it left none."""
    path = folder / "cells" / f"{cell_id}.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
