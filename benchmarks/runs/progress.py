"""The progress display: finished cells, running cells with their epochs, and the remaining time."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from tqdm import tqdm

from benchmarks.common.atomic_files import Record
from benchmarks.execution.interface import Cell
from benchmarks.runs.running_cells import describe_epoch

LINE_SECONDS = 60.0  # least time between two lines of a running cell


@dataclass
class RunningCell:
    """What is known of a running cell. line_due: earliest time of its next line. checkpoints: those that it printed."""

    cell: Cell
    line_due: float
    checkpoints: int = 0
    progress: str = ""


class Display:
    """A progress bar in a terminal; elsewhere one line for each finished cell, and for checkpoints of long cells.

    costs: relative run time of each cell, in any unit, by its label. skipped: number of cells that need not run.
    """

    def __init__(self, costs: Mapping[str, float], skipped: int, stream: TextIO | None = None) -> None:
        stream = stream or sys.stderr  # of now: a notebook replaces it
        self.costs, self.total, self.stream = costs, len(costs), stream
        self.total_cost = sum(costs.values())
        self.running: dict[str, RunningCell] = {}
        self.done, self.done_cost, self.start = 0, 0.0, time.monotonic()
        self.bar = tqdm(
            total=self.total,
            file=stream,
            disable=not stream.isatty(),
            unit="cell",
            bar_format="{n_fmt}/{total_fmt} cells |{bar:10}| {elapsed}, {desc}",
        )
        if skipped:
            tqdm.write(f"{skipped} finished cells are kept", file=stream)

    def add_running(self, cell: Cell) -> None:
        self.running[cell.label] = RunningCell(cell, time.monotonic() + LINE_SECONDS)

    def list_running(self) -> list[Cell]:
        return [running.cell for running in self.running.values()]

    def add_progress(self, cell: Cell, partial: Record, note: str) -> None:
        """Take over the epoch of a running cell; without a terminal, print its last checkpoint if a line is due.

        note: text for the last checkpoint.
        """
        running, rows, now = self.running[cell.label], partial["rows"], time.monotonic()
        running.progress = f" ({describe_epoch(partial)}{note})"
        if self.bar.disable and len(rows) > running.checkpoints and now >= running.line_due:
            line = f"{cell.label}: {describe_epoch(partial)}; at epoch {rows[-1]['epoch']}{note}"
            tqdm.write(line, file=self.stream)
            running.checkpoints, running.line_due = len(rows), now + LINE_SECONDS

    def add_finished(self, cell: Cell, status: str, note: str) -> None:
        """Advance by a cell that is no longer running, and print its status and note."""
        del self.running[cell.label]
        self.done += 1
        self.done_cost += self.costs[cell.label]
        if self.bar.disable or status != "ok":
            width = len(str(self.total))
            line = f"[{self.done:{width}}/{self.total}] {cell.label}: {status}{note}; {self.remaining_time()}"
            tqdm.write(line, file=self.stream)
        self.bar.update()

    def remaining_time(self) -> str:
        """Return the remaining time in words, estimated from the costs and times of the finished cells."""
        if self.done == self.total:
            return "all done"
        if not self.done:
            return "time left unknown"
        seconds = (time.monotonic() - self.start) * (self.total_cost / self.done_cost - 1)
        return f"about {seconds:.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"

    def refresh(self) -> None:
        """Show the remaining time and the running cells beside the bar."""
        cells = [f"{label}{running.progress}" for label, running in self.running.items()]
        running = f", running: {'; '.join(cells)}" if cells else ""
        self.bar.set_description_str(self.remaining_time() + running)
