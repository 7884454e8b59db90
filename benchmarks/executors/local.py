"""Cells on this machine, some of them side by side, each in a process that is watched."""

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

from benchmarks.executors.child import UNWRITABLE, enter
from benchmarks.executors.events import Event, Executor, Exit, Limits, Task
from benchmarks.executors.server import context, forked, warm_up

PATIENCE = 0.5  # seconds between idle events
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
TAIL = 8192  # bytes kept of what a cell prints
UNLIMITED = Limits()
Slot = Mapping[str, str]  # environment variables of what runs there, such as the GPU that is its own


@dataclass
class Running:
    """A cell's process, and what is known of it.

    allowed: seconds that it has. deadline: when it is asked to end, and then ended. open: whether its output may bring
    more. asked: whether it was asked to end. log: the end of its output.
    """

    cell: Any
    process: BaseProcess
    output: connection.Connection
    slot: Slot
    allowed: float | None
    deadline: float
    open: bool = True
    asked: bool = False
    log: bytearray = field(default_factory=bytearray)

    def read(self) -> None:
        """Take over what it has printed, of which the end is kept: a cell may print without end."""
        with contextlib.suppress(BlockingIOError):
            while self.open and (text := os.read(self.output.fileno(), 1 << 16)):
                self.log = (self.log + text)[-TAIL:]
                if len(text) < 1 << 16:
                    return
            self.open = False

    def signal(self, number: int) -> None:
        """To it and to all that it started; to it alone where it hasn't its group yet."""
        pid = self.process.pid or 0
        with contextlib.suppress(ProcessLookupError, PermissionError):
            try:
                os.killpg(pid, number)
            except (ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def check_time(self, now: float) -> None:
        """First asks it to end, then ends it."""
        if now >= self.deadline:
            self.signal(signal.SIGKILL if self.asked else signal.SIGTERM)
            self.asked, self.deadline = True, now + GRACE

    def ended(self) -> Exit:
        """After its process has ended: ends what that started, and says how it ended."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        self.read()
        self.output.close()
        overtime = self.allowed if self.asked else None
        log, _, unwritable = self.log.decode(errors="replace").partition(UNWRITABLE)
        return Exit(self.process.exitcode or 0, overtime, log, unwritable.strip())


def executor(slots: Sequence[Slot], limits: Limits) -> Executor:
    """As many cells side by side as there are slots."""

    def execute(task: Task, cells: Sequence[Any], folder: Path) -> Generator[Event]:
        yield from processes(task.work, task.prepare(cells, len(slots), limits), str(folder), slots, limits)

    return Executor("local", len(slots), execute)


def processes(
    work: Callable[[Any, str], None],
    cells: Iterable[Any],
    folder: str,
    slots: Sequence[Slot],
    limits: Limits = UNLIMITED,
) -> Generator[Event]:
    """Each cell in a process of its own, one a slot. Leaving the generator ends those that run."""
    warm_up()
    waiting, free = iter(cells), list(slots)
    running: dict[int, Running] = {}
    try:
        while True:
            while free and (cell := next(waiting, None)) is not None:
                one = _start(work, cell, folder, free.pop(), limits)
                running[one.process.sentinel] = one
                yield Event("started", cell)
            if not running:
                return
            ready = set(connection.wait(_watched(running), _patience(running)))
            for one in running.values():
                if one.output in ready:
                    one.read()
                one.check_time(time.monotonic())
            ended = [sentinel for sentinel in running if sentinel in ready]
            for sentinel in ended:
                one = running.pop(sentinel)
                free.append(one.slot)
                yield Event("ended", one.cell, one.ended())
            if not ended:
                yield Event("idle")
    finally:
        for one in running.values():
            one.signal(signal.SIGKILL)
        for one in running.values():
            one.ended()


def _start(work: Callable[[Any, str], None], cell: Any, folder: str, slot: Slot, limits: Limits) -> Running:
    reader, writer = context().Pipe(duplex=False)
    with writer:
        process = forked(enter, work, cell, folder, writer, limits.memory, slot)
    os.set_blocking(reader.fileno(), False)
    allowed = limits.timeout
    return Running(cell, process, reader, slot, allowed, time.monotonic() + (allowed or float("inf")))


def _watched(running: Mapping[int, Running]) -> list[Any]:
    return [*running, *(one.output for one in running.values() if one.open)]


def _patience(running: Mapping[int, Running]) -> float:
    nearest = min(one.deadline for one in running.values()) - time.monotonic()
    return max(0.0, min(PATIENCE, nearest))
