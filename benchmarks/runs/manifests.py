"""Manifests: the planned cells of a run folder. Needs no torch."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks.common.atomic_files import NAME_PATTERN, SCHEMA_VERSION, Record, read_json
from benchmarks.common.errors import DamageError, UserError
from benchmarks.execution.interface import Cell
from benchmarks.planning.cases import describe_protocol
from benchmarks.reporting import results_table

MANIFEST_FILE = "manifest.json"


def describe_cell(cell: Cell) -> Record:
    """Return the description of a cell for the manifest and the cell file."""
    return {
        "cell_id": cell.cell_id,
        "protocol_id": cell.protocol_id,
        "variant": cell.fields,
        "dataset": cell.protocol.dataset,
        "seed": cell.seed,
        "protocol": describe_protocol(cell.protocol),
        "data_checksum": cell.data_checksum,
    }


def read_manifest(folder: Path) -> Record | None:
    """Return the folder's manifest, or None if it has no manifest file; raises `DamageError` if the file is damaged."""
    try:
        content = read_json(folder / MANIFEST_FILE)
    except FileNotFoundError:
        return None
    _check(content)
    return content


def _check(content: Record) -> None:
    try:
        if not isinstance(content["protocol"], dict) or not isinstance(content["data_checksum"], str):
            raise DamageError("it has no protocol")
        for cell in content["cells"]:
            has_name = isinstance(cell["variant"]["name"], str) and isinstance(cell["variant"], dict)
            if not has_name or not NAME_PATTERN.fullmatch(cell["cell_id"]):
                raise DamageError("the name of a variant or the cell_id of a cell is invalid")
    except (KeyError, TypeError) as error:
        raise DamageError(f"a part of a manifest is missing or has a wrong type ({error})") from error


def rebuild_manifest(records: Iterable[Record]) -> Record | None:
    """Make a manifest from the plans in cell records; None if no record has a plan, as in schema 1."""
    plans = []
    for record in records:
        with contextlib.suppress(DamageError, KeyError, TypeError):
            _check(_manifest([record["planned"]]))
            plans.append(record["planned"])
    return _manifest(plans) if plans else None


def _manifest(plans: Sequence[Record]) -> Record:
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    shared = {key: plans[0][key] for key in ("protocol", "data_checksum")}
    cells = [{key: plan[key] for key in plan if key not in shared} for plan in plans]
    return {"schema_version": SCHEMA_VERSION, "created": created, **shared, "cells": cells}


def merge_manifest(folder: Path, existing: Record | None, plans: Sequence[Record]) -> Record:
    """Add these cells to the existing manifest; raises `UserError` if the protocol, data or variants differ."""
    planned: Record = json.loads(json.dumps(_manifest(plans)))  # with the types that a file gives, to compare
    if existing is None:
        return planned
    _check_same_protocol(folder, existing, planned)
    cells = {cell["cell_id"]: cell for cell in [*existing["cells"], *planned["cells"]]}
    return {**existing, "schema_version": SCHEMA_VERSION, "cells": list(cells.values())}


def _check_same_protocol(folder: Path, existing: Record, planned: Record) -> None:
    there, here = existing["protocol"], planned["protocol"]
    for key in {**here, **there}:
        if there.get(key) != here.get(key):
            values = [content.get(key, "the default") for content in (there, here)]
            raise UserError(
                f"{folder} has another protocol: {key} is {values[0]} there and {values[1]} here; "
                "use another --name, or the settings of that run"
            )
    if existing["data_checksum"] != planned["data_checksum"]:
        raise UserError(
            f"{folder} was made with other data of the same name (the checksums differ); use another --name"
        )
    variants = {cell["variant"]["name"]: cell["variant"] for cell in existing["cells"]}
    for cell in planned["cells"]:
        name = cell["variant"]["name"]
        for key, value in cell["variant"].items() if name in variants else ():
            if variants[name].get(key) != value:
                raise UserError(
                    f"{folder} has another definition of {name}: {key} is {variants[name].get(key)} there and {value} "
                    "here; use another --name"
                )


def describe_shortfall(path: Path, results: pd.DataFrame) -> str:
    """Return a line if a results.csv lacks planned cells or checkpoints, or its manifest is damaged; else \"\"."""
    try:
        manifest = read_manifest(path.parent)
    except DamageError as damage:
        return (
            f"{path.parent / MANIFEST_FILE} is damaged ({damage}), so the planned cells are unknown; "
            "run the same command again"
        )
    if manifest is None:
        return ""
    last = results.groupby("cell_id").agg({"status": "last", "epoch": "last"})
    complete = set(last.index[(last["status"] != "ok") | (last["epoch"] == manifest["protocol"].get("epochs"))])
    planned = {cell["cell_id"] for cell in manifest["cells"]}
    if planned <= complete:
        return ""
    return (
        f"{path} has {len(planned & complete)} of {len(planned)} planned cells; finish the run, or write the table "
        f"again with 'python -m benchmarks rebuild {path.parent}'"
    )


def list_problems(path: Path, results: pd.DataFrame) -> list[str]:
    """Return a line if cells of a results.csv are missing, and one if numbers in a row contradict each other."""
    contradiction = next(results_table.find_contradictions(results), None)
    lines = [describe_shortfall(path, results)]
    if contradiction:
        row, reason = contradiction
        lines.append(
            f"{path} contradicts itself: {row['variant']}, seed {row['seed']:.0f}, epoch {row['epoch']:.0f}: {reason}"
        )
    return [line for line in lines if line]
