"""The interface between the runner and an executor: cells and a task go in, events come out."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from benchmarks.common.atomic_files import Record


class Cell(Protocol):
    """One unit of work. It contains only strings and numbers, so that it can be sent to another process.

    fields: the definition of the work, with a "name"; part of the manifest. columns: columns with the same value in
    all rows of its results. data_folder: path of the prepared data; empty if it reads none. label: name in messages.
    """

    @property
    def label(self) -> str: ...

    @property
    def seed(self) -> int: ...

    @property
    def protocol(self) -> Any: ...

    @property
    def fields(self) -> Record: ...

    @property
    def columns(self) -> Record: ...

    @property
    def data_folder(self) -> str: ...

    @property
    def data_checksum(self) -> str: ...

    @property
    def protocol_id(self) -> str: ...

    @property
    def cell_id(self) -> str: ...

    @property
    def commit(self) -> str: ...


@dataclass(frozen=True)
class Limits:
    """Limits of one cell; None means no limit.

    timeout: seconds. memory: MiB that may be allocated in addition to what the process holds at its start.
    """

    timeout: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Task:
    """The work to do on each cell. Both functions are module-level, so that another machine can call them.

    prepare: (cells, workers, limits) -> prepared cells; makes files that several cells share, before they start.
    run: (cell, folder); runs in a new process and writes the cell's files to the run folder.
    """

    prepare: Callable[[Sequence[Any], int, Limits], Sequence[Any]]
    run: Callable[[Any, str], None]


@dataclass(frozen=True)
class Exit:
    """How a cell's process ended.

    code: exit code, or -N for signal N. overtime: the time limit, seconds, if it was exceeded. log: the end of the
    printed output. unwritable: why the cell's files could not be written; empty if they were.
    """

    code: int = 0
    overtime: float | None = None
    log: str = ""
    unwritable: str = ""


@dataclass(frozen=True)
class Event:
    """A cell has started, or has ended and written its files; `idle` if nothing happened for a while."""

    kind: Literal["started", "ended", "idle"]
    cell: Any = None
    exit: Exit = Exit()


@dataclass(frozen=True)
class Executor:
    """Runs a task on each cell: (task, cells, folder) -> events. Closing the generator ends all running cells.

    name: local or dask. workers: number of cells that run at the same time, if it is known in advance.
    """

    name: str
    workers: int
    run: Callable[[Task, Sequence[Any], Path], Generator[Event]]
