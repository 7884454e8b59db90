"""Running cells: the partial records that they write, and the state of a run that `show` prints. Needs no torch.

Only `show` and the progress display read partial records. No other table, figure or comparison contains their rows.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.common import locks
from benchmarks.common.atomic_files import PARTIAL_SUFFIX, Record, format_json, write_bytes
from benchmarks.common.errors import DamageError
from benchmarks.execution.interface import Cell
from benchmarks.reporting import results_table, summaries
from benchmarks.reporting.csv_tables import TEXT_KINDS
from benchmarks.reporting.results_table import FINISHED_STATUSES, RESULT_COLUMNS, RESULT_KINDS
from benchmarks.reporting.summaries import Summary
from benchmarks.runs import cell_files, manifests

HEARTBEAT_SECONDS = 5.0  # between two reports of the epoch of a running cell
MAX_NAMED = 8  # running cells that the status line names


class Reporter:
    """Writes the partial record of a running cell. rows, model_columns: those so far; the caller extends them.

    path: None writes nothing.
    """

    def __init__(
        self, path: Path | None, cell: Cell, rows: Sequence[Record], model_columns: Mapping[str, object], started: str
    ) -> None:
        self.path, self.cell, self.rows = path, cell, rows
        self.model_columns, self.started = model_columns, started
        self.due = 0.0

    def report(self, epoch: int, is_checkpoint: bool) -> None:
        """Write the epoch and the rows at a checkpoint, and otherwise if the last report is `HEARTBEAT_SECONDS` old.

        If that fails, print a line and write no more, because a cell can finish without it.
        """
        if self.path is None or not (is_checkpoint or time.monotonic() >= self.due):
            return
        record = cell_files.make_record(self.cell, list(self.rows), started=self.started)
        record["common"] |= self.model_columns
        record |= {"status": cell_files.RUNNING, "label": self.cell.label}
        record |= {"epoch": epoch, "epochs": self.cell.protocol.epochs}
        try:
            write_bytes(self.path, format_json(record).encode(), flush=False)
        except OSError as error:
            print(f"can't write {self.path}: {error.strerror}; the cell continues without it")
            self.path = None
        self.due = time.monotonic() + HEARTBEAT_SECONDS


def read_partials(folder: Path) -> dict[str, Record]:
    """Return the partial records of a run that a process runs now, by cell_id."""
    ids = [path.stem for path in sorted((folder / "cells").glob(f"*{PARTIAL_SUFFIX}"))]
    return {i: record for i in ids if (record := cell_files.read_partial(folder, i))}


def remove_partials(folder: Path, ids: Container[str]) -> None:
    """Delete the partial records of these cells, which do not run any more."""
    for path in (folder / "cells").glob(f"*{PARTIAL_SUFFIX}"):
        if path.stem in ids:
            path.unlink(missing_ok=True)


def is_training(folder: Path) -> bool:
    """Return whether a process trains the cells of this folder now; gradient studies do not count."""
    with contextlib.suppress(DamageError):
        if locks.is_locked(folder) and (manifest := manifests.read_manifest(folder)):
            return all("objective" in cell["variant"] for cell in manifest["cells"])
    return False


def describe_epoch(partial: Record) -> str:
    return f"epoch {partial['epoch']} of {partial['epochs']}"


@dataclass(frozen=True)
class RunState:
    """A run at one moment.

    results: rows of finished cells, and of the finished checkpoints of running cells. partials: of the running cells,
    by cell_id. is_running: whether a process runs it now. planned, finished: numbers of cells, 0 if the manifest is
    damaged. checkpoints: epochs at which cells are measured.
    """

    results: pd.DataFrame
    partials: Mapping[str, Record]
    is_running: bool
    planned: int = 0
    finished: int = 0
    checkpoints: Container[int] = ()

    def describe(self, folder: Path) -> str:
        """Return how many cells are finished, and which are running at which epoch."""
        names = [f"{partial['label']} ({describe_epoch(partial)})" for partial in self.partials.values()]
        named = "; ".join(names[:MAX_NAMED]) + (f"; {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
        return (
            f"{folder}: finished cells: {self.finished} of {self.planned or 'an unknown number'}; "
            f"running: {named or 'no cell'}"
        )

    def summarize(self, epoch: int | None) -> list[Summary]:
        """Summarize the results. Running cells are summarized apart from finished ones, by their last checkpoint.

        epoch: only this checkpoint, of all cells that have it.
        """
        last = self.results.groupby("cell_id")["epoch"].max()
        lasts = {i: last[i] for i, partial in self.partials.items() if i in last and last[i] < partial["epochs"]}
        if epoch is not None:
            late = [i for i, value in lasts.items() if value < epoch]
            rows = self.results[~self.results["cell_id"].isin(late)]
            return summaries.summarize(rows, epoch) if len(rows) else []
        group = self.results["cell_id"].map(lasts).fillna(float("inf"))
        return [s for _, rows in sorted(self.results.groupby(group), reverse=True) for s in summaries.summarize(rows)]


def read_state(table: Path) -> RunState:
    """Return the state of the run whose results.csv is `table`; while a process runs it, the file may be missing.

    Raises `UserError` as `read_results` does.
    """
    folder = table.parent
    is_running = locks.is_locked(folder)
    if not is_running:
        return RunState(results_table.read_results(table), {}, False)
    partials = read_partials(folder)  # before the finished cells, so that no cell is missed
    written = table.stat().st_mtime_ns if table.is_file() else 0
    results = results_table.read_results(table) if written else _tabulate([])
    recent = {record["cell_id"]: record for record in _read_recent(folder, written, set(results["cell_id"]))}
    results = pd.concat([results[~results["cell_id"].isin(recent)], _tabulate(recent.values())], ignore_index=True)
    last = results.groupby("cell_id")["status"].last()
    finished = set(last.index[last.isin(FINISHED_STATUSES)])
    planned, checkpoints = _read_plan(folder)
    partials = {i: partials[i] for i in planned or partials if i in partials and i not in finished}
    results = pd.concat([results[~results["cell_id"].isin(partials)], _tabulate(partials.values())], ignore_index=True)
    place = {i: number for number, i in enumerate(planned)}
    order = results.assign(place=results["cell_id"].map(place)).sort_values("place", kind="stable").index
    return RunState(results.loc[order], partials, True, len(planned), len(finished & set(planned)), checkpoints)


def _read_plan(folder: Path) -> tuple[list[str], Container[int]]:
    """Return the planned cells and checkpoints of a run; none if its manifest is missing or damaged."""
    with contextlib.suppress(DamageError):
        if manifest := manifests.read_manifest(folder):
            return [cell["cell_id"] for cell in manifest["cells"]], manifest["protocol"].get("checkpoints", ())
    return [], ()


def _read_recent(folder: Path, written: int, known: set[str]) -> Iterator[Record]:
    """Yield the records that results.csv does not contain yet: a run writes the file only every few seconds.

    written: time of the file. known: the cell_ids that it contains.
    """
    for path in sorted((folder / "cells").glob("*.json")):
        if path.stem not in known or path.stat().st_mtime_ns >= written:
            with contextlib.suppress(DamageError):
                record = cell_files.read_cell(folder, path.stem)
                if record and "objective" in record["common"]:  # not of a gradient study
                    yield record


def _tabulate(records: Iterable[Record]) -> pd.DataFrame:
    rows = [row for record in records for row in results_table.record_rows(record)]
    table = pd.DataFrame(rows, columns=list(RESULT_COLUMNS), dtype=object)
    return table.astype({name: float for name, kind in RESULT_KINDS.items() if kind not in TEXT_KINDS})
