"""A run from plan to verdict: choose the folder, run what is missing, and make every file from the cells."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Protocol as Structural

import torch

from benchmarks import cases, compiling, environment, experiment, kernels, store
from benchmarks.cases import Protocol
from benchmarks.errors import UserError
from benchmarks.executors import Event, processes
from benchmarks.progress import Display
from benchmarks.store import Record

REBUILD_SECONDS = 5.0
REBUILD_SHARE = 50  # tables are rebuilt on the way in a fiftieth of the time at most
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


class Cell(Structural):
    """What is planned, run and kept: a case, or a probe of the laboratory."""

    @property
    def label(self) -> str:
        """As a person calls it."""

    @property
    def protocol(self) -> Protocol: ...

    @property
    def seed(self) -> int: ...

    @property
    def cell_id(self) -> str: ...

    @property
    def protocol_id(self) -> str: ...

    @property
    def data_checksum(self) -> str: ...

    @property
    def commit(self) -> str: ...


@dataclass(frozen=True)
class Kind:
    """What differs between kinds of cells.

    fields: what a cell computes, with a "name". work: runs it, in a process of its own. lost: the record of a cell
    that left none: (cell, status, error) -> record. write: the table made of the records. note: on a finished cell.
    prepare: makes what several cells share before they start: (cells, workers) -> the cells, ready. cost: how long a
    cell takes beside others of its run, in any unit.
    """

    fields: Callable[[Any], Record]
    work: Callable[[Any, str], None]
    lost: Callable[[Any, str, str], Record]
    write: Callable[[Path, list[Record]], None]
    note: Callable[[Record], str]
    prepare: Callable[[Sequence[Any], int], Sequence[Any]]
    cost: Callable[[Any], float]


def choose_folder(out: Path, name: str | None, plan: Sequence[Cell]) -> Path:
    """Where to write: the named run, an unfinished one with an equal plan, or a new one stamped with the time (UTC)."""
    if name is not None:
        return out / name
    wanted = {case.cell_id for case in plan}
    for folder in reversed(store.run_folders(out)):
        with contextlib.suppress(UserError):  # a folder that can't be read is nothing to continue
            held = store.manifest(folder) or {"cells": []}
            if {cell["cell_id"] for cell in held["cells"]} == wanted and _unfinished(folder, plan):
                return folder
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (out / f"{stamp}{suffix}" for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(folder for folder in names if not folder.exists())


def holding(out: Path, plan: Sequence[Cell]) -> Path | None:
    """The latest run folder whose plan has all these cells among its own."""
    wanted = {case.cell_id for case in plan}
    for folder in reversed(store.run_folders(out)):
        with contextlib.suppress(UserError):
            held = store.manifest(folder) or {"cells": []}
            if wanted <= {cell["cell_id"] for cell in held["cells"]}:
                return folder
    return None


def _unfinished(folder: Path, plan: Sequence[Cell]) -> bool:
    return any(not _finished(store.read_cell(folder, case.cell_id)) for case in plan)


def _finished(record: Record | None) -> bool:
    return record is not None and record["status"] in store.FINISHED


def merged_manifest(folder: Path, plan: Sequence[Cell], fields: Callable[[Any], Record]) -> Record:
    """The folder's manifest with this plan's cells added; refused where the folder holds another protocol."""
    protocol: Protocol = plan[0].protocol
    mine = {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(protocol).items()}
    cells: dict[str, Record] = {
        case.cell_id: {
            "cell_id": case.cell_id,
            "protocol_id": case.protocol_id,
            "variant": fields(case),
            "dataset": protocol.dataset,
            "seed": case.seed,
        }
        for case in plan
    }
    held = store.manifest(folder)
    if held is None:
        stray = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        if stray:
            raise UserError(
                f"{folder} holds {stray[0]} but no manifest.json, so it is no run folder; use another --name"
            )
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        checksum = plan[0].data_checksum
        head = {"schema_version": store.SCHEMA_VERSION, "created": created, "protocol": mine, "data_checksum": checksum}
        return {**head, "cells": list(cells.values())}
    differing = [key for key in mine if held["protocol"].get(key) != mine[key]]
    if differing:
        key = differing[0]
        raise UserError(
            f"{folder} holds another protocol: {key} is {held['protocol'].get(key)} there and {mine[key]} here; "
            "use another --name, or the settings of that run"
        )
    if held.get("data_checksum") != plan[0].data_checksum:
        raise UserError(
            f"{folder} was made with other data of the same name (their checksums differ); use another --name"
        )
    there = {cell["variant"]["name"]: cell for cell in held["cells"]}
    for cell in cells.values():
        other = there.get(cell["variant"]["name"])
        if other and other["variant"] != cell["variant"]:
            key = next(key for key, value in cell["variant"].items() if other["variant"].get(key) != value)
            there_and_here = f"{other['variant'].get(key)} there and {cell['variant'][key]} here"
            raise UserError(
                f"{folder} holds another protocol: {cell['variant']['name']} has {key} {there_and_here}; "
                "use another --name"
            )
    return {**held, "cells": list({cell["cell_id"]: cell for cell in [*held["cells"], *cells.values()]}.values())}


def refuse_stale(folder: Path, records: Sequence[Record], commit: str) -> None:
    """Cells made by other code or another torch are not mixed in unasked."""
    for record in records:
        made = record["common"]
        for what, there, here in (("commit", made["commit"], commit), ("torch", made["torch"], torch.__version__)):
            if there != here:
                raise UserError(
                    f"{folder} holds cells made by {what} {there or 'unknown'}, and this is {here or 'unknown'}; "
                    "accept them with --keep-stale, or use another --name"
                )


def check_destination(out: Path, name: str | None) -> None:
    """Refuse a name that names no folder, and an output folder that can't be written, before anything is prepared."""
    if name is not None and (not NAME.fullmatch(name) or name == "latest"):
        raise UserError(f"--name {name!r} can't name a folder; use letters, digits and . _ + - ('latest' is taken)")
    check_writable(out)


def check_writable(folder: Path) -> None:
    """Refuse an output folder that can't be written, before anything is."""
    parent = folder
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise UserError(
            f"--out: results can't be written to {folder} ({parent}: {error.strerror}); name another folder with --out"
        ) from error


def execute(folder: Path, plan: Sequence[Cell], workers: int, keep_stale: bool, kind: Kind) -> list[Record]:
    """Run what is missing in the folder; returns the records of the plan, in its order."""
    check_writable(folder)
    manifest = merged_manifest(folder, plan, kind.fields)
    ids = [cell["cell_id"] for cell in manifest["cells"]]
    records = {i: record for i in ids if _finished(record := store.read_cell(folder, i)) and record}
    if not keep_stale:
        refuse_stale(folder, list(records.values()), plan[0].commit)
    missing = [case for case in plan if case.cell_id not in records]
    missing.sort(key=kind.cost, reverse=True)  # so that no core idles while the last cell runs
    store.write_json(folder / "manifest.json", manifest)
    protocol = plan[0].protocol
    found = environment.describe(protocol.threads, workers)
    found |= kernels.describe(protocol.threads, workers, protocol.precision)
    store.write_json(folder / "environment.json", found)
    missing = list(kind.prepare(missing, workers))
    display = Display({case.label: kind.cost(case) for case in missing}, len(plan) - len(missing))
    due = time.monotonic() + REBUILD_SECONDS
    try:
        with contextlib.closing(processes(kind.work, missing, str(folder), workers)) as events:
            for event in events:
                if event.case and event.kind == "started":
                    display.started(event.case)
                elif event.case and event.kind == "ended":
                    records[event.case.cell_id] = record = _settle(folder, event, event.case, kind)
                    display.ended(event.case, record["status"], _note(record, kind))
                display.refresh()
                if records and (began := time.monotonic()) > due:
                    kind.write(folder, [records[i] for i in ids if i in records])
                    took = time.monotonic() - began
                    due = time.monotonic() + max(REBUILD_SECONDS, REBUILD_SHARE * took)
    finally:
        display.close()
        if records:
            kind.write(folder, [records[i] for i in ids if i in records])
    return [records[case.cell_id] for case in plan]


def _settle(folder: Path, event: Event, case: Cell, kind: Kind) -> Record:
    """The record that the cell left, or one that says how its process ended."""
    record = store.read_cell(folder, case.cell_id) if event.exit_code == 0 else None
    if record is None:
        status = "killed" if event.exit_code < 0 else "failed"
        how = f"signal {-event.exit_code}" if event.exit_code < 0 else f"exit code {event.exit_code}"
        record = kind.lost(case, status, f"its process ended with {how} and left no result")
        store.write_cell(folder, record, {})
    return record


def _note(record: Record, kind: Kind) -> str:
    return kind.note(record) if record["status"] == "ok" else f" ({record['error']})"


def _score(record: Record) -> str:
    last: dict[str, Any] = record["rows"][-1]
    value = last.get("elbo")
    score = f", ELBO {value:.1f}" if value is not None else f", reconstruction error {last['reconstruction_error']:.1f}"
    return f"{score} nats, {last['processor_seconds']:.0f} s"


TRAINING = Kind(
    fields=lambda case: cases.fields(cases.entry(case)),
    work=experiment.work,
    lost=lambda case, status, error: experiment.record(case, status, error, "", [], experiment.utc()),
    write=store.write_results,
    note=_score,
    prepare=compiling.prepare,
    cost=lambda case: 1 + case.draws,  # a pass of the encoder, and as many of the decoder
)
