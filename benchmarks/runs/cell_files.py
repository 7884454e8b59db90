"""Cell files: a JSON record, from which all tables are made, an .npz of images, the kept model, and a snapshot.

A running cell also has a partial record, of the checkpoints that it has finished.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, create_model

from benchmarks.common import atomic_files, environment
from benchmarks.common.atomic_files import MODEL_SUFFIX, NAME_PATTERN, PARTIAL_SUFFIX, WORD_PATTERN, Record
from benchmarks.common.errors import DamageError
from benchmarks.execution.interface import Cell
from benchmarks.reporting.results_table import FINISHED_STATUSES, RESULT_KINDS, STATUSES, record_rows
from benchmarks.runs.manifests import describe_cell


@dataclass(frozen=True)
class Attachments:
    """Files of a cell besides its record. arrays: of the images. model: content of the kept model; empty if none."""

    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    model: bytes = b""


NO_ATTACHMENTS = Attachments()
RUNNING = "running"  # status of a partial record; no cell of a table has it


def utc_now() -> str:
    """Return the time, UTC, in ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def elapsed_seconds(record: Record) -> float:
    """Return the seconds between a cell's start and its end."""
    start, end = (datetime.fromisoformat(record["common"][name]) for name in ("started", "ended"))
    return (end - start).total_seconds()


def make_record(
    cell: Cell, rows: list[Record], status: str = "ok", error: str = "", log: str = "", started: str = ""
) -> Record:
    """Return the content of a cell file: the cell's identity, status and a row for each checkpoint.

    started: time when the cell started, as from `utc_now`; default: now.
    """
    if status not in FINISHED_STATUSES:
        rows = [*rows, {"status": status, "error": error}]
    return {
        "schema_version": atomic_files.SCHEMA_VERSION,
        "cell_id": cell.cell_id,
        "status": status,
        "error": error,
        "log": log,
        "planned": describe_cell(cell),
        "common": {
            **cell.columns,
            "started": started or utc_now(),
            "ended": utc_now(),
            "processor": environment.read_processor()["model name"],
            "torch": environment.read_torch_version(),
            "commit": cell.commit,
            "cell_id": cell.cell_id,
        },
        "rows": rows,
    }


def write_cell(folder: Path, record: Record, attachments: Attachments = NO_ATTACHMENTS) -> None:
    """Write the record last, because it marks the cell as finished.

    The record replaces the partial record.
    """
    path = folder / "cells" / f"{record['cell_id']}.json"
    if attachments.arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **attachments.arrays)
        atomic_files.write_bytes(path.with_suffix(".npz"), buffer.getvalue())
    if attachments.model:
        atomic_files.write_bytes(path.with_suffix(MODEL_SUFFIX), attachments.model)
    atomic_files.write_json(path, record)
    path.with_suffix(PARTIAL_SUFFIX).unlink(missing_ok=True)


def write_snapshot(path: Path, about: Record, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write JSON and arrays; if that fails, print a line and continue, because a cell can finish without a snapshot."""
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{**arrays, "about": text})
    try:
        atomic_files.write_bytes(path, buffer.getvalue())
    except OSError as error:
        print(f"can't write the snapshot {path}: {error.strerror}; the cell continues without it")


def read_snapshot(path: Path) -> tuple[Record, dict[str, NDArray[Any]]] | None:
    """Read a snapshot, if the file exists; a damaged file raises one of many exceptions."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive}
    except FileNotFoundError:
        return None
    about: Record = json.loads(arrays.pop("about").tobytes())
    return about, arrays


def has_complete_images(folder: Path, cell_id: str) -> bool:
    """Return whether the cell's .npz file is absent or complete."""
    path = folder / "cells" / f"{cell_id}.npz"
    return not path.exists() or zipfile.is_zipfile(path)


def has_model(folder: Path, cell_id: str) -> bool:
    return (folder / "cells" / f"{cell_id}{MODEL_SUFFIX}").is_file()


def is_finished(record: Record | None) -> bool:
    """Return whether the cell need not run again."""
    return record is not None and record["status"] in FINISHED_STATUSES


def read_cell(folder: Path, cell_id: str) -> Record | None:
    """Read a cell's record; None if it has no file. Raises `DamageError` if the file can't be used in a table."""
    return _read_record(folder / "cells" / f"{cell_id}.json", _Record)


def read_partial(folder: Path, cell_id: str) -> Record | None:
    """Read the partial record of a running cell; None if it has no file, or one that can't be used in a table."""
    with contextlib.suppress(DamageError):
        return _read_record(folder / "cells" / f"{cell_id}{PARTIAL_SUFFIX}", _PartialRecord)
    return None


def _read_record(path: Path, model: type[BaseModel]) -> Record | None:
    try:
        record = atomic_files.read_json(path)
    except FileNotFoundError:
        return None
    try:
        content: Any = model.model_validate(record)
        rows = record_rows(record)
        if content.status == RUNNING:
            _check_checkpoints(rows)
        elif "objective" in content.common:
            _check_results(rows)
        else:  # a gradient study
            for row in rows or [content.common]:
                _StudyRow.model_validate(row)
    except OverflowError as error:
        raise DamageError("a number is too large") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise DamageError(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"[:200]) from error
    if not record["cell_id"] == path.stem == content.common.get("cell_id"):
        raise DamageError(f"it contains the cell {str(record['cell_id'])[:40]}")
    return record


def _check_results(rows: list[Record]) -> None:
    if not rows:
        raise DamageError("it has no rows")
    _check_checkpoints(rows)


def _check_checkpoints(rows: list[Record]) -> None:
    epochs = [_ResultRow.model_validate(row).epoch for row in rows]  # type: ignore[attr-defined]
    if any(epoch is None and row["status"] == "ok" for epoch, row in zip(epochs, rows, strict=True)):
        raise DamageError("a checkpoint has no epoch")
    if len(set(epochs)) < len(epochs):
        raise DamageError("it repeats a checkpoint")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("it contains control characters")
    return text


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)

    status: Literal[STATUSES]  # type: ignore[valid-type]
    error: str
    log: str
    common: dict[str, Any]
    rows: list[dict[str, Any]]


Label = Annotated[str, AfterValidator(_printable)]
TYPES: dict[str, Any] = {
    "name": Annotated[str, StringConstraints(pattern=f"^{NAME_PATTERN.pattern}$")],
    "word": Annotated[str, StringConstraints(pattern=f"^{WORD_PATTERN.pattern}$")],
    "label": Label,
    "text": str,
    "number": Annotated[float, Field(allow_inf_nan=False)],
}


class _PartialRow(BaseModel):
    status: Literal["ok"]


class _PartialRecord(BaseModel):
    model_config = ConfigDict(strict=True)

    status: Literal["running"]
    epoch: int
    epochs: int
    label: Label
    common: dict[str, Any]
    rows: list[_PartialRow]


def _row_model(name: str, types: Mapping[str, Any], required: Mapping[str, Any]) -> type[BaseModel]:
    # all columns except the required ones may be None
    optional: dict[str, Any] = {column: (types[kind] | None, None) for column, kind in RESULT_KINDS.items()}
    columns = optional | {column: (type_, ...) for column, type_ in required.items()}
    model: type[BaseModel] = create_model(name, __config__=ConfigDict(strict=True, extra="allow"), **columns)
    return model


_ResultRow = _row_model(
    "ResultRow",
    TYPES,
    {"variant": TYPES["name"], "dataset": TYPES["name"], "commit": Label, "torch": Label, "seed": int}
    | {"status": Literal[STATUSES]},
)
_StudyRow = _row_model(
    "StudyRow",
    TYPES | {"name": str, "word": str},
    dict.fromkeys(("variant", "dataset", "commit", "torch"), Label),
)
