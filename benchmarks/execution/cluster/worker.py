"""Code that runs on a worker of a Dask cluster: run a cell as the local executor does, and return its files."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import multiprocessing
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin, get_worker

from benchmarks.common import cache_paths, environment
from benchmarks.common.atomic_files import MODEL_SUFFIX, PARTIAL_SUFFIX
from benchmarks.common.errors import UserError
from benchmarks.common.locks import lock_folder
from benchmarks.common.machine import folders
from benchmarks.execution import child_process, local
from benchmarks.execution.interface import Exit, Limits, Task


class VersionMismatchError(UserError):
    """A worker has other versions than the scheduler's client; the arguments are the text and the worker's address."""

    def __str__(self) -> str:
        return str(self.args[0])


class DatasetPlugin(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Send the data sets once to each worker, also to workers that join later."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.datasets = {folder.name: {path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders}
        self.name = f"vaezoo-data-{uuid.uuid4().hex}"  # unique, so that another run does not unregister it

    def setup(self, worker: Worker) -> None:
        """Unpack the data sets; an interrupted attempt leaves no folder under the final name."""
        for dataset, files in self.datasets.items():
            folder = unpacked_folder(worker, dataset)
            if not folder.is_dir():
                temporary = folder.with_name(f".{folder.name}")
                temporary.mkdir(parents=True, exist_ok=True)
                for name, content in files.items():
                    (temporary / name).write_bytes(content)
                temporary.rename(folder)


def unpacked_folder(worker: Worker, name: str) -> Path:
    return Path(worker.local_directory) / "vaezoo-data" / name


def run_remotely(
    task: Task, cell: Any, limits: Limits, expected: Mapping[str, str]
) -> tuple[Exit, Mapping[str, bytes]]:
    """Run the cell in a new process; return how it ended, and its files in the order in which they must be written.

    Raises `VersionMismatchError` if this worker has other versions.
    """
    folders.choose_cache()
    worker = get_worker()
    check_versions(expected, environment.list_versions(), worker.address)
    multiprocessing.current_process().daemon = False  # so that it may start children, which are killed together with it
    local_cell = dataclasses.replace(cell, data_folder=str(unpacked_folder(worker, Path(cell.data_folder).name)))
    try:
        with _scratch_folder(cell.cell_id) as folder:
            _take_files(folder / "cells", cell.cell_id)  # removes files of an attempt whose worker died
            exit_ = _run_cell(task, local_cell, folder, limits)
            log = exit_.log + (f"{worker.address}: {exit_.unwritable}" if exit_.unwritable else "")
            # a full disk of this worker fails the cell, and must not stop the run
            return dataclasses.replace(exit_, log=log, unwritable=""), _take_files(folder / "cells", cell.cell_id)
    except OSError as error:
        return Exit(1, log=f"{worker.address}: {error.strerror or error}: {error.filename}"), {}


def check_versions(expected: Mapping[str, str], versions: Mapping[str, str], address: str) -> None:
    """Raise `VersionMismatchError` if a worker's versions are not the expected ones."""
    for package, version in expected.items():
        if versions.get(package) != version:
            text = (
                f"the worker {address} has {package} {versions.get(package, 'none')}, and this machine has {version}; "
                "equal results need equal versions; install the same version on the worker"
            )
            raise VersionMismatchError(text, address)


def _run_cell(task: Task, cell: Any, folder: Path, limits: Limits) -> Exit:
    worker = get_worker()
    key = worker.get_current_task()
    work = functools.partial(child_process.prepare_and_run, task)
    with contextlib.closing(local.run_processes(work, [cell], str(folder), [{}], limits)) as events:
        for event in events:
            if event.kind == "ended":
                return event.exit
            dask_task = worker.state.tasks.get(key)
            if dask_task is None or dask_task.state == "cancelled":  # the run has ended, or was killed
                break
    return Exit(1, log="the run that submitted the cell has ended")


@contextlib.contextmanager
def _scratch_folder(cell_id: str) -> Iterator[Path]:
    # a snapshot stays in the cache for the next attempt, unless another run computes the same cell now
    folder = cache_paths.cache_root() / "cluster" / cell_id
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(folder))
        except UserError:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            (folder / "cells").mkdir()
        yield folder
        if not any((folder / "cells").iterdir()):
            shutil.rmtree(folder, ignore_errors=True)


def read_allowed_failures(dask_scheduler: Any) -> int:
    """Return how often the scheduler itself retries a task whose worker died."""
    return int(dask_scheduler.allowed_failures)


def _take_files(folder: Path, cell_id: str) -> dict[str, bytes]:
    contents = {}
    for suffix in (".npz", MODEL_SUFFIX, ".json"):  # the record last: it marks the cell as finished
        name = f"{cell_id}{suffix}"
        with contextlib.suppress(FileNotFoundError):
            contents[name] = (folder / name).read_bytes()
            (folder / name).unlink()
    (folder / f"{cell_id}{PARTIAL_SUFFIX}").unlink(missing_ok=True)  # of a cell that was killed
    return contents
