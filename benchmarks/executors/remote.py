"""What a worker of a cluster does: it watches its cell's process as the local executor does, and sends the files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from benchmarks import environment, places
from benchmarks.errors import UserError
from benchmarks.executors import child, local
from benchmarks.executors.events import Exit, Limits, Task
from benchmarks.locks import locked


class OtherVersionsError(UserError):
    """A worker computes with something else than the process that commands it: (text, address)."""

    def __str__(self) -> str:
        return str(self.args[0])


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
        self.name = f"vaezoo-data-{uuid.uuid4().hex}"  # another run on the cluster takes its own away, not this

    def setup(self, worker: Worker) -> None:
        """Unpack them, each whole or not at all."""
        for own in self.parcels:
            folder = unpacked(worker, own.name)
            if not folder.is_dir():  # where it is, cells read it
                temporary = folder.with_name(f".{folder.name}")
                temporary.mkdir(parents=True, exist_ok=True)
                for name, content in own.files.items():
                    (temporary / name).write_bytes(content)
                temporary.rename(folder)


def unpacked(worker: Worker, name: str) -> Path:
    """Where a worker has that data set."""
    return Path(worker.local_directory) / "vaezoo-data" / name


def perform(task: Task, cell: Any, limits: Limits, expected: Mapping[str, str]) -> Done:
    """Run the cell in a process of its own; raises an `OtherVersionsError` where this worker has others."""
    worker = get_worker()
    refuse_others(expected, environment.versions(), worker.address)
    child.allow_children()
    own = task.moved(cell, str(unpacked(worker, Path(task.data(cell)).name)))
    try:
        with _scratch(own.cell_id) as folder:
            _collected(folder / "cells", own.cell_id)  # what an attempt left whose worker died
            exit_ = _watched(task, own, folder, limits)
            log = exit_.log + (f"{worker.address}: {exit_.unwritable}" if exit_.unwritable else "")
            done = dataclasses.replace(exit_, log=log, unwritable="")  # it is this worker's disk, not the run's
            return Done(done, _collected(folder / "cells", own.cell_id))
    except OSError as error:
        return Done(Exit(1, log=f"{worker.address}: {error.strerror or error}: {error.filename}"), {})


def refuse_others(mine: Mapping[str, str], theirs: Mapping[str, str], address: str) -> None:
    """An `OtherVersionsError` where a worker computes with something else."""
    for what, here in mine.items():
        if theirs.get(what) != here:
            text = (
                f"the worker {address} has {what} {theirs.get(what, 'none')}, and here it is {here}; "
                "equal numbers take equal versions: install the same there"
            )
            raise OtherVersionsError(text, address)


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
    folder = places.cache_root() / "cluster" / cell_id
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except UserError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "cells").mkdir()
        yield folder
        if not any((folder / "cells").iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def allowed_failures(dask_scheduler: Any) -> int:
    """How often a scheduler gives a cell to another worker by itself."""
    return int(dask_scheduler.allowed_failures)


def _collected(folder: Path, cell_id: str) -> dict[str, bytes]:
    """The cell's files, which are taken away; the one that says that it is finished comes last."""
    found = {}
    for name in (f"{cell_id}.npz", f"{cell_id}.json"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = (folder / name).read_bytes()
            (folder / name).unlink()
    return found
