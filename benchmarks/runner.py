"""A run from plan to verdict: run what is missing in the folder, and make every file from the cells.

Needs no torch: that is for the cells' processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import environment, files, folders, manifests, sifting, store
from benchmarks.errors import DamageError, StoppedError, UserError, printable
from benchmarks.executors import apart
from benchmarks.executors.events import Event, Executor, Exit, Task
from benchmarks.files import Record
from benchmarks.locks import locked
from benchmarks.manifests import Cell
from benchmarks.progress import Display

REBUILD_SECONDS = 5.0
REBUILD_SHARE = 50  # tables are rebuilt on the way in a fiftieth of the time at most
OUT_OF_MEMORY = ("can't allocate memory", "bad_alloc", "MemoryError")


@dataclass(frozen=True)
class Kind:
    """What differs between kinds of cells.

    planned: what the manifest holds of a cell. task: how cells are run. lost: the record of a cell that left none:
    (cell, status, error, log) -> record. write: the table made of the records. note: on a finished cell. cost: how
    long a cell takes beside others of its run, in any unit.
    """

    planned: Callable[[Any], Record]
    task: Task
    lost: Callable[[Any, str, str, str], Record]
    write: Callable[[Path, list[Record]], None]
    note: Callable[[Record], str]
    cost: Callable[[Any], float]


def refuse_stale(folder: Path, records: Sequence[Record], commit: str) -> None:
    """Cells made by other code or another torch are not mixed in unasked."""
    for record in records:
        made = record["common"]
        for what, there, here in (
            ("commit", made["commit"], commit),
            ("torch", made["torch"], environment.torch_version()),
        ):
            if there != here:
                raise UserError(
                    f"{folder} holds cells made by {what} {there or 'unknown'}, and this is {here or 'unknown'}; "
                    "accept them with --keep-stale, or use another --name"
                )


def execute(folder: Path, plan: Sequence[Cell], executor: Executor, keep_stale: bool, kind: Kind) -> list[Record]:
    """Run what is missing in the folder; returns the records of the plan, in its order."""
    folders.claim(folder)
    try:
        with locked(folder):
            return _execute(folder, plan, executor, keep_stale, kind)
    except OSError as error:
        raise StoppedError(
            f"{error.filename or folder}: {error.strerror or error}; what is finished is kept, and the same command "
            "goes on once that is mended"
        ) from error


def _execute(folder: Path, plan: Sequence[Cell], executor: Executor, keep_stale: bool, kind: Kind) -> list[Record]:
    held, found = sifting.sift(folder)
    manifest = manifests.merged(folder, held, [kind.planned(cell) for cell in plan])
    ids = [cell["cell_id"] for cell in manifest["cells"]]
    records = {i: _small(found[i]) for i in ids if folders.is_finished(found.get(i))}
    del held, found
    if not keep_stale:
        refuse_stale(folder, list(records.values()), plan[0].commit)
    sifting.set_aside_foreign(folder, set(ids))
    missing = [cell for cell in plan if cell.cell_id not in records]
    missing.sort(key=kind.cost, reverse=True)  # so that no core idles while the last cell runs
    files.write_json(folder / manifests.FILE, manifest)
    files.write_json(folder / "environment.json", _environment(plan[0].protocol, executor))
    display = Display({cell.label: kind.cost(cell) for cell in missing}, len(plan) - len(missing))
    due = time.monotonic() + REBUILD_SECONDS
    try:
        with contextlib.closing(executor.run(kind.task, missing, folder)) as events:
            for event in events:
                if event.kind == "started":
                    display.started(event.cell)
                elif event.kind == "ended":
                    records[event.cell.cell_id] = record = _small(_settle(folder, event, kind))
                    display.ended(event.cell, record["status"], _note(record, kind))
                display.refresh()
                if not folder.is_dir():
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
                if records and (began := time.monotonic()) > due:
                    kind.write(folder, [records[i] for i in ids if i in records])
                    took = time.monotonic() - began
                    due = time.monotonic() + max(REBUILD_SECONDS, REBUILD_SHARE * took)
    finally:
        display.close()
        if records:
            kind.write(folder, [records[i] for i in ids if i in records])
    return [records[cell.cell_id] for cell in plan]


def _small(record: Record) -> Record:
    """What tables are made of: ten thousand records are held until the run ends."""
    return {key: value for key, value in record.items() if key not in ("log", "planned")}


def _environment(protocol: Any, executor: Executor) -> Record:
    found = {"schema_version": files.SCHEMA_VERSION, "executor": executor.name}
    found |= environment.describe(protocol.threads, executor.workers)
    return found | apart.call(_kernels, protocol.threads, executor.workers, protocol.precision)


def _kernels(threads: int, workers: int, precision: str) -> Record:
    from benchmarks import kernels  # it needs torch

    return kernels.describe(threads, workers, precision)


def _settle(folder: Path, event: Event, kind: Kind) -> Record:
    """The record that the cell left, with the end of what it printed; or one that says how its process ended."""
    exit_ = event.exit
    if exit_.unwritable:
        raise OSError(None, exit_.unwritable, str(folder))
    record, damage = None, ""
    try:
        record = store.read_cell(folder, event.cell.cell_id)
    except DamageError as fault:
        damage = f", but a file that is damaged: {fault}"
    # what is not finished may be an earlier attempt's; what is can only be this one's, however its process ended
    if record is None or (exit_.code and not folders.is_finished(record)):
        status, error = outcome(exit_)
        error += damage
        record = kind.lost(event.cell, status, error, exit_.log)
        store.write_cell(folder, record, {})
    elif exit_.log:
        record["log"] = exit_.log + record["log"]
        store.write_cell(folder, record, {})
    return record


def outcome(exit_: Exit) -> tuple[str, str]:
    """Status and error of a cell that left no result."""
    if exit_.overtime is not None:
        return "timeout", f"it took more than --timeout {exit_.overtime:g} seconds"
    last = (exit_.log.strip().splitlines() or [""])[-1]
    if any(words in last for words in OUT_OF_MEMORY):
        return "out-of-memory", f"{last[:200]} (its process ended with it)"
    if exit_.code == -signal.SIGKILL:
        how = "signal 9 (SIGKILL) and left no result; the system does that where memory runs out"
        return "killed", f"its process ended with {how}"
    if exit_.code < 0:
        return "killed", f"its process ended with signal {-exit_.code} and left no result"
    return "failed", f"its process ended with exit code {exit_.code} and left no result"


def _note(record: Record, kind: Kind) -> str:
    return kind.note(record) if record["status"] == "ok" else f" ({printable(record['error'])})"
