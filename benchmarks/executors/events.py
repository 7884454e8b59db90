"""What an executor is told, and what it tells."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Limits:
    """What a cell may take. timeout: seconds. memory: MiB beyond what its process starts with. None: no limit."""

    timeout: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Task:
    """What is done with a cell; both functions are known by name, so that they can be called on another machine.

    prepare: makes what several cells share before they start: (cells, workers, limits) -> the cells, ready. work: runs
    one in a process of its own and leaves its files in the folder: (cell, folder). data: the folder of what it reads,
    empty where it reads nothing. moved: the cell with its data in another folder: (cell, folder) -> cell.
    """

    prepare: Callable[[Sequence[Any], int, Limits], Sequence[Any]]
    work: Callable[[Any, str], None]
    data: Callable[[Any], str]
    moved: Callable[[Any, str], Any]


@dataclass(frozen=True)
class Exit:
    """How a cell's process ended.

    code: 0, or N, or -N for signal N. overtime: the seconds that it had, where they were up. log: the end of what it
    printed. unwritable: why its files could not be written, where that is what it failed at.
    """

    code: int = 0
    overtime: float | None = None
    log: str = ""
    unwritable: str = ""


@dataclass(frozen=True)
class Event:
    """A cell has started or ended, its files lying in the folder then; `idle` where nothing happened for a while."""

    kind: Literal["started", "ended", "idle"]
    cell: Any = None
    exit: Exit = Exit()


@dataclass(frozen=True)
class Executor:
    """Runs a task on each cell, with the folder to write to; leaving the generator ends all that runs.

    name: of the engine. workers: how many cells run side by side, as far as that is known in advance.
    """

    name: str
    workers: int
    run: Callable[[Task, Sequence[Any], Path], Generator[Event]]
