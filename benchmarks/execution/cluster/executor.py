"""The Dask executor: cells run on the workers of an existing cluster, or of a cluster started on this machine."""

from __future__ import annotations

import contextlib
import queue
import sys
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError

from benchmarks.common import atomic_files, environment
from benchmarks.common.errors import StoppedError
from benchmarks.execution.cluster import connection, worker
from benchmarks.execution.interface import Event, Executor, Exit, Limits, Task
from benchmarks.execution.local import IDLE_SECONDS, Slot

CELLS_PER_WORKER = 2  # submitted cells per worker thread, so that no worker waits for the next cell
MAX_DEATHS = 3  # a cell is "killed" after this number of its workers died
RESULT_SECONDS = 10  # time limit for fetching the result of a cell; its worker may have vanished
DASK_SETTINGS = {
    "distributed.worker.daemon": False,  # a daemonic worker could not start the cells' processes
    "distributed.scheduler.allowed-failures": 0,  # this module decides which cells run again
    "distributed.scheduler.worker-saturation": 1.0,  # with more, cells that only wait count as killed too
    "distributed.scheduler.worker-ttl": None,  # a worker that is busy for long must not count as dead
}


def make_dask_executor(address: str | None, slots: Sequence[Slot], device: str, limits: Limits) -> Executor:
    """Make an executor on the cluster of the scheduler; without an address, on workers of this machine."""

    def execute(task: Task, cells: Sequence[Any], folder: Path) -> Generator[Event]:
        if not cells:
            return
        with dask.config.set(DASK_SETTINGS), connection.connect_client(address, slots, device) as client:
            print(f"dashboard: {client.dashboard_link}", file=sys.stderr)
            with connection.stop_if_lost(client):
                connection.check_workers(client, device)
            events = _run_cells(client, task, cells, limits, device)
            with _send_datasets(client, cells), contextlib.closing(events):
                for event, files in events:
                    for name, content in files.items():
                        atomic_files.write_bytes(folder / "cells" / name, content)
                    yield event

    return Executor("dask", len(slots), execute)


@contextlib.contextmanager
def _send_datasets(client: Client, cells: Sequence[Any]) -> Iterator[None]:
    """Send the data sets of the cells to all workers, also to workers that join later."""
    data = worker.DatasetPlugin([Path(path) for path in sorted({cell.data_folder for cell in cells} - {""})])
    with connection.stop_if_lost(client):
        client.register_plugin(data)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            unregister = client.scheduler.unregister_worker_plugin
            client.sync(unregister, name=data.name, callback_timeout=connection.RELEASE_SECONDS)


def _run_cells(
    client: Client, task: Task, cells: Sequence[Any], limits: Limits, device: str
) -> Generator[tuple[Event, Mapping[str, bytes]]]:
    """Keep CELLS_PER_WORKER cells submitted per worker; submit a cell again if its worker died.

    Yields what happens to the cells, and the files of a cell that has ended.
    """
    waiting, versions = iter(cells), environment.list_versions()
    resources = {"GPU": 1} if device == "cuda" else None
    running: dict[Future, tuple[Any, int]] = {}
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    unfetched: set[Future] = set()  # their workers vanished before they sent the results
    threads: int | None = None

    def submit(cell: Any, deaths: int) -> None:
        key = f"cell-{uuid.uuid4().hex}"  # one prefix: Dask keeps statistics of each prefix for ever
        future = client.submit(
            worker.run_remotely, task, cell, limits, versions, key=key, pure=False, resources=resources
        )
        running[future] = cell, deaths
        future.add_done_callback(ended.put)

    with connection.stop_if_lost(client):
        tries = max(1, MAX_DEATHS // (1 + client.run_on_scheduler(worker.read_allowed_failures)))
        while True:
            threads = _count_threads(client, device, threads)
            while len(running) < CELLS_PER_WORKER * max(1, threads) and (cell := next(waiting, None)) is not None:
                submit(cell, 0)
                yield Event("started", cell), {}
            if not running:
                return
            for future in [future for future in unfetched if future.status not in ("pending", "lost")]:
                unfetched.remove(future)
                ended.put(future)
            try:
                future = ended.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                yield Event("idle"), {}
                continue
            cell, deaths = running.pop(future)
            try:
                exit_, files = future.result(timeout=RESULT_SECONDS)
            except KilledWorker as error:
                if deaths + 1 < tries:
                    submit(cell, deaths + 1)
                    continue
                log = f"all workers that ran the cell died; the last was {error.last_worker.address}"
                exit_, files = Exit(-9, log=log), {}
            except worker.VersionMismatchError as error:  # a worker that joined later; the others continue
                if len(client.scheduler_info(n_workers=-1)["workers"]) <= 1:
                    raise
                print(f"{error}; the worker is removed from the run", file=sys.stderr)
                client.retire_workers([error.args[1]], close_workers=True)
                submit(cell, deaths)
                continue
            except Exception as error:
                if future.status == "error":
                    text = f"the cluster failed: {type(error).__name__}: {error}"
                    raise StoppedError(f"{text}; {connection.CONTINUE_HINT}") from error
                if not isinstance(error, TimeoutError):
                    raise
                print(f"the worker of {cell.label} does not send its result; asking again", file=sys.stderr)
                running[future] = cell, deaths
                unfetched.add(future)
                continue
            future.release()  # else Dask computes the cell again if its worker vanishes
            yield Event("ended", cell, exit_), files


def _count_threads(client: Client, device: str, before: int | None) -> int:
    """Return how many threads can run cells; say so if the last has gone, or if there are some again."""
    if client.status != "running":
        raise ClosedClientError
    if device == "cuda":
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        counts = [worker["nthreads"] for worker in workers if worker["resources"].get("GPU")]
    else:
        counts = client.nthreads().values()
    threads: int = sum(counts)
    if not threads and before != 0:
        print(f"the cluster has no worker{' with a GPU' * (device == 'cuda')}; waiting for one", file=sys.stderr)
    if threads and before == 0:
        print("the cluster has a worker; the run continues", file=sys.stderr)
    return threads
