"""What a worker of a cluster does: it watches its cell's process as the local executor does, and sends the files."""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from benchmarks import data, environment
from benchmarks.errors import UserError
from benchmarks.executors import child, local
from benchmarks.executors.events import UNWRITABLE, Exit, Limits, Task
from benchmarks.locks import locked


@dataclass(frozen=True)
class Done:
    """How a cell ended, and the files that it left, in the order in which they are to be written."""

    exit: Exit
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Parcel:
    """A data set on its way: its folder's name and its files."""

    name: str
    files: Mapping[str, bytes]


def parcel(folder: Path) -> Parcel:
    """The data set that lies there."""
    return Parcel(folder.name, {path.name: path.read_bytes() for path in sorted(folder.iterdir())})


class Data(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Sends the data sets once to each worker, also to those that join later."""

    def __init__(self, parcels: list[Parcel]) -> None:
        self.parcels = parcels
        self.name = f"vaezoo-data-{'-'.join(own.name for own in parcels)}"

    def setup(self, worker: Worker) -> None:
        """Unpack them; the last file is the one that says that a folder is whole."""
        for own in self.parcels:
            folder = unpacked(worker, own.name)
            folder.mkdir(parents=True, exist_ok=True)
            for name in sorted(own.files, key=lambda name: name.endswith(".json")):
                (folder / name).write_bytes(own.files[name])


def unpacked(worker: Worker, name: str) -> Path:
    """Where a worker has that data set."""
    return Path(worker.local_directory) / "vaezoo-data" / name


def perform(task: Task, cell: Any, limits: Limits, expected: Mapping[str, str]) -> Done:
    """Run the cell in a process of its own; raises a `UserError` where this worker has other versions."""
    worker = get_worker()
    refuse_others(expected, environment.versions(), worker.address)
    child.allow_children()
    own = task.moved(cell, str(unpacked(worker, Path(task.data(cell)).name)))
    try:
        with _scratch(own.cell_id) as folder:
            exit_ = _watched(task, own, folder, limits)
            return Done(exit_, _collected(folder / "cells", own.cell_id))
    except OSError as error:
        return Done(Exit(UNWRITABLE, log=f"{worker.address}: {error.strerror or error}: {error.filename}"), {})


def refuse_others(mine: Mapping[str, str], theirs: Mapping[str, str], address: str) -> None:
    """A `UserError` where a worker computes with something else."""
    for what, here in mine.items():
        if theirs.get(what) != here:
            raise UserError(
                f"the worker {address} has {what} {theirs.get(what, 'none')}, and here it is {here}; "
                "equal numbers take equal versions: install the same there"
            )


def _watched(task: Task, cell: Any, folder: Path, limits: Limits) -> Exit:
    worker = get_worker()
    key = worker.get_current_task()
    slots: list[local.Slot] = [{}]
    whole = functools.partial(child.prepared, task)
    with contextlib.closing(local.processes(whole, [cell], str(folder), slots, limits)) as events:
        for event in events:
            if event.kind == "ended":
                return event.exit
            own = worker.state.tasks.get(key)
            if own is None or own.state == "cancelled":  # the run has ended, or has been killed
                break
    return Exit(1, log="the run that wanted it has gone")


@contextlib.contextmanager
def _scratch(cell_id: str) -> Iterator[Path]:
    """Where the cell writes; its snapshot stays there for the next attempt, unless another run has the same cell."""
    folder = data.cache_root() / "cluster" / cell_id
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            yield folder
            if not any((folder / "cells").iterdir()):
                shutil.rmtree(folder, ignore_errors=True)
    except UserError:
        with tempfile.TemporaryDirectory() as other:
            (Path(other) / "cells").mkdir()
            yield Path(other)


def _collected(folder: Path, cell_id: str) -> dict[str, bytes]:
    """The cell's files, which are taken away; the one that says that it is finished comes last."""
    found = {}
    for name in (f"{cell_id}.npz", f"{cell_id}.json"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = (folder / name).read_bytes()
            (folder / name).unlink()
    return found
