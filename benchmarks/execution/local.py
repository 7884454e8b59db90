"""The local executor: several cells at a time on this machine, each in a monitored process."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from benchmarks.execution.child_process import UNWRITABLE_MARK, run_in_child
from benchmarks.execution.forkserver import CONTEXT, fork_process, start_forkserver
from benchmarks.execution.interface import Event, Executor, Exit, Limits, Task

IDLE_SECONDS = 0.5  # seconds between idle events
GRACE_SECONDS = 5.0  # seconds between SIGTERM and SIGKILL
LOG_BYTES = 8192  # bytes kept of what a cell prints
NO_LIMITS = Limits()
Slot = Mapping[str, str]  # environment variables of a process, such as the GPU that it uses


@dataclass
class RunningCell:
    """A cell's process and its state.

    timeout: seconds. deadline: time of the next signal, by the monotonic clock: first SIGTERM, then SIGKILL. open:
    whether more output can come. timed_out: whether SIGTERM was sent. log: the last LOG_BYTES of the output.
    """

    cell: Any
    process: BaseProcess
    output: connection.Connection
    slot: Slot
    timeout: float | None
    deadline: float
    open: bool = True
    timed_out: bool = False
    log: bytearray = field(default_factory=bytearray)

    def read_output(self) -> None:
        """Append new output to the log."""
        with contextlib.suppress(BlockingIOError):
            while self.open and (text := os.read(self.output.fileno(), 1 << 16)):
                self.log = (self.log + text)[-LOG_BYTES:]
                if len(text) < 1 << 16:
                    return
            self.open = False

    def send_signal(self, number: int) -> None:
        """Signal the process and its children; only the process if it has not created its group yet."""
        pid = self.process.pid or 0
        with contextlib.suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(pid, number)
            except (ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def enforce_timeout(self, now: float) -> None:
        """Send SIGTERM at the deadline, and SIGKILL if the process still runs GRACE_SECONDS later."""
        if now >= self.deadline:
            self.send_signal(signal.SIGKILL if self.timed_out else signal.SIGTERM)
            self.timed_out, self.deadline = True, now + GRACE_SECONDS

    def finish(self) -> Exit:
        """Wait for the end of the process, kill its children, and return how it ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        self.read_output()
        self.output.close()
        overtime = self.timeout if self.timed_out else None
        log, _, unwritable = self.log.decode(errors="replace").partition(UNWRITABLE_MARK)
        return Exit(self.process.exitcode or 0, overtime, log, unwritable.strip())


def make_local_executor(slots: Sequence[Slot], limits: Limits) -> Executor:
    """Make an executor that runs one cell per slot at a time."""

    def execute(task: Task, cells: Sequence[Any], folder: Path) -> Generator[Event]:
        yield from run_processes(task.run, task.prepare(cells, len(slots), limits), str(folder), slots, limits)

    return Executor("local", len(slots), execute)


def run_processes(
    work: Callable[[Any, str], None],
    cells: Iterable[Any],
    folder: str,
    slots: Sequence[Slot],
    limits: Limits = NO_LIMITS,
) -> Generator[Event]:
    """Run each cell in a new process, one per slot at a time. Closing the generator kills the running processes."""
    start_forkserver()
    waiting, free = iter(cells), list(slots)
    running: dict[int, RunningCell] = {}
    try:
        while True:
            while free and (cell := next(waiting, None)) is not None:
                started = _start(work, cell, folder, free.pop(), limits)
                running[started.process.sentinel] = started
                yield Event("started", cell)
            if not running:
                return
            outputs = [active.output for active in running.values() if active.open]
            seconds = min(active.deadline for active in running.values()) - time.monotonic()
            ready = set(connection.wait([*running, *outputs], max(0.0, min(IDLE_SECONDS, seconds))))
            for active in running.values():
                if active.output in ready:
                    active.read_output()
                active.enforce_timeout(time.monotonic())
            ended = [sentinel for sentinel in running if sentinel in ready]
            for sentinel in ended:
                finished = running.pop(sentinel)
                free.append(finished.slot)
                yield Event("ended", finished.cell, finished.finish())
            if not ended:
                yield Event("idle")
    finally:
        for active in running.values():
            active.send_signal(signal.SIGKILL)
        for active in running.values():
            active.finish()


def _start(work: Callable[[Any, str], None], cell: Any, folder: str, slot: Slot, limits: Limits) -> RunningCell:
    reader, writer = CONTEXT.Pipe(duplex=False)
    with writer:
        process = fork_process(run_in_child, work, cell, folder, writer, limits.memory, slot)
    os.set_blocking(reader.fileno(), False)
    deadline = time.monotonic() + (limits.timeout or float("inf"))
    return RunningCell(cell, process, reader, slot, limits.timeout, deadline)
