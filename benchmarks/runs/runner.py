"""Runs the missing cells of a run folder, and writes tables from the cell files. Does not import torch."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import atomic_files, environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import DamageError, StoppedError, UserError, printable
from benchmarks.common.locks import lock_folder
from benchmarks.execution import isolated_call
from benchmarks.execution.interface import Cell, Event, Executor, Exit, Task
from benchmarks.runs import cell_files, folders, manifests, recovery, running_cells
from benchmarks.runs.progress import Display

TABLES_SECONDS = 5.0  # least time between two writes of the tables during a run
PROGRESS_SECONDS = 2.0  # time between two looks at the progress of running cells
TABLES_FACTOR = 50  # and this multiple of the time that the last write took
OUT_OF_MEMORY_WORDS = ("can't allocate memory", "bad_alloc", "MemoryError")


@dataclass(frozen=True)
class Kind:
    """The functions that differ between kinds of cells.

    task: prepares and runs cells. write_tables: (folder, records); writes the tables. note: text for the progress line
    of an ok cell. cost: run time of a cell relative to other cells of its run, in any unit. lacks_files: whether a
    finished cell must run again, because a file that the plan asks for is missing in the folder.
    """

    task: Task
    write_tables: Callable[[Path, list[Record]], None]
    note: Callable[[Record], str]
    cost: Callable[[Any], float]
    lacks_files: Callable[[Path, Any, Record], bool] = lambda folder, cell, record: False


def check_provenance(folder: Path, records: Sequence[Record], commit: str) -> None:
    """Raise `UserError` if a record was made by other code or another torch."""
    if origin := folders.describe_other_origin(records, commit):
        raise UserError(f"{folder} {origin}; accept them with --keep-stale, or use another --name")


def check_snapshots(folder: Path, ids: Sequence[str], commit: str, keep_stale: bool) -> None:
    """Raise `UserError` if other code or another torch made a snapshot, because hours of training would be lost."""
    if stale := recovery.describe_stale_snapshot(folder, ids, commit):
        if not keep_stale:
            raise UserError(f"{stale}; continue with that version, or delete the file to start the cell again")
        print(printable(f"{stale}; the cell starts from epoch 0"), file=sys.stderr)


def run_cells(
    out: Path, name: str | None, plan: Sequence[Cell], executor: Executor, keep_stale: bool, kind: Kind
) -> tuple[Path, list[Record]]:
    """Run the missing cells of a plan; return its run folder and its records, in the order of the plan."""
    folder = folders.choose_folder(out, name, plan, keep_stale)
    folders.claim_folder(folder)
    try:
        with lock_folder(folder):
            return folder, _execute(folder, plan, executor, keep_stale, kind)
    except OSError as error:
        raise StoppedError(
            f"{error.filename or folder}: {error.strerror or error}; finished cells are kept; fix the problem and run "
            "the same command again"
        ) from error


def _execute(folder: Path, plan: Sequence[Cell], executor: Executor, keep_stale: bool, kind: Kind) -> list[Record]:
    existing, recovered = recovery.recover_folder(folder)
    manifest = manifests.merge_manifest(folder, existing, [manifests.describe_cell(cell) for cell in plan])
    ids = [cell["cell_id"] for cell in manifest["cells"]]
    records = {i: _drop_texts(recovered[i]) for i in ids if cell_files.is_finished(recovered.get(i))}
    del existing, recovered
    if not keep_stale:
        check_provenance(folder, list(records.values()), plan[0].commit)
    check_snapshots(folder, ids, plan[0].commit, keep_stale)
    running_cells.remove_partials(folder, ids)  # of a run that was killed
    recovery.set_aside_foreign(folder, set(ids))
    missing = [
        cell for cell in plan if cell.cell_id not in records or kind.lacks_files(folder, cell, records[cell.cell_id])
    ]
    missing.sort(key=kind.cost, reverse=True)  # the longest first, so that no core idles at the end
    atomic_files.write_json(folder / manifests.MANIFEST_FILE, manifest)
    atomic_files.write_json(folder / "environment.json", _describe_environment(plan[0].protocol, executor))
    with contextlib.suppress(FileNotFoundError):  # cells without data
        facts = (Path(plan[0].data_folder) / "facts.json").read_bytes()
        atomic_files.write_bytes(folder / "dataset.json", facts)
    display = Display({cell.label: kind.cost(cell) for cell in missing}, len(plan) - len(missing))
    due = time.monotonic() + TABLES_SECONDS
    progress_due = 0.0
    try:
        with contextlib.closing(executor.run(kind.task, missing, folder)) as events:
            for event in events:
                if event.kind == "started":
                    display.add_running(event.cell)
                elif event.kind == "ended":
                    records[event.cell.cell_id] = record = _drop_texts(_complete_record(folder, event))
                    status = record["status"]
                    note = kind.note(record) if status == "ok" else f" ({printable(record['error'])})"
                    display.add_finished(event.cell, status, note)
                if (now := time.monotonic()) >= progress_due:
                    _add_progress(display, folder, kind)
                    progress_due = now + PROGRESS_SECONDS
                display.refresh()
                if not folder.is_dir():
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
                if records and (start := time.monotonic()) > due:
                    kind.write_tables(folder, [records[i] for i in ids if i in records])
                    took = time.monotonic() - start
                    due = time.monotonic() + max(TABLES_SECONDS, TABLES_FACTOR * took)
    finally:
        display.bar.close()
        if records:
            kind.write_tables(folder, [records[i] for i in ids if i in records])
        running_cells.remove_partials(folder, ids)
    return [records[cell.cell_id] for cell in plan]


def _add_progress(display: Display, folder: Path, kind: Kind) -> None:
    for cell in display.list_running():
        if partial := cell_files.read_partial(folder, cell.cell_id):
            display.add_progress(cell, partial, kind.note(partial) if partial["rows"] else "")


def _drop_texts(record: Record) -> Record:
    # the tables do not need them, and memory holds the records of the whole run
    return {key: value for key, value in record.items() if key not in ("log", "planned")}


def _describe_environment(protocol: Any, executor: Executor) -> Record:
    description = {"schema_version": atomic_files.SCHEMA_VERSION, "executor": executor.name}
    description |= environment.describe_environment(protocol.threads, executor.workers)
    return description | isolated_call.call_isolated(
        _describe_kernels, protocol.threads, executor.workers, protocol.precision, protocol.batch_size
    )


def _describe_kernels(threads: int, workers: int, precision: str, batch_size: int) -> Record:
    from benchmarks.common import kernels  # imports torch

    return kernels.describe_kernels(threads, workers, precision, batch_size)


def _complete_record(folder: Path, event: Event) -> Record:
    """Return the record of an ended cell with its log; write one with the reason if the cell did not."""
    exit_ = event.exit
    if exit_.unwritable:
        raise OSError(None, exit_.unwritable, str(folder))
    record, damage = None, ""
    try:
        record = cell_files.read_cell(folder, event.cell.cell_id)
    except DamageError as fault:
        damage = f"; its file is damaged: {fault}"
    # an unfinished record may be from an earlier attempt; a finished one is from this attempt, whatever the exit code
    if record is None or (exit_.code and not cell_files.is_finished(record)):
        status, error = classify_exit(exit_)
        error += damage
        record = cell_files.make_record(event.cell, [], status, error, exit_.log)
        cell_files.write_cell(folder, record)
    elif exit_.log:
        record["log"] = exit_.log + record["log"]
        cell_files.write_cell(folder, record)
    return record


def classify_exit(exit_: Exit) -> tuple[str, str]:
    """Return status and error of a cell without a result."""
    if exit_.overtime is not None:
        return "timeout", f"it took more than --timeout {exit_.overtime:g} seconds"
    last = (exit_.log.strip().splitlines() or [""])[-1]
    if any(words in last for words in OUT_OF_MEMORY_WORDS):
        return "out-of-memory", f"{last[:200]} (its process ended with it)"
    if exit_.code == -signal.SIGKILL:
        hint = "the system sends it when memory is exhausted"
        return "killed", f"its process ended with signal 9 (SIGKILL) and left no result; {hint}"
    if exit_.code < 0:
        return "killed", f"its process ended with signal {-exit_.code} and left no result"
    return "failed", f"its process ended with exit code {exit_.code} and left no result"
