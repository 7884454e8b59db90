"""The Dask executor: cells run on the workers of an existing cluster, or of a cluster started on this machine."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import uuid
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import atomic_files, environment
from benchmarks.common.errors import StoppedError, UserError
from benchmarks.execution.forkserver import block_sigint
from benchmarks.execution.interface import Event, Executor, Exit, Limits, Task
from benchmarks.execution.local import IDLE_SECONDS, Slot

try:
    import dask
    from distributed import Client, Future, KilledWorker, Nanny, Scheduler, SpecCluster

    from benchmarks.execution import dask_worker
except ImportError as missing:
    raise UserError(f"--executor dask: {missing}; install it with pip install 'vaezoo[dask]'") from missing

CELLS_PER_WORKER = 2  # submitted cells per worker thread, so that no worker waits for the next cell
MAX_DEATHS = 3  # a cell is "killed" after this number of its workers died
CONNECT_SECONDS = 30  # time limit for connecting to the scheduler
CONTINUE_HINT = "finished cells are kept; run the same command again to continue"
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
        with dask.config.set(DASK_SETTINGS), _connect(address, slots, device) as client:
            print(f"dashboard: {client.dashboard_link}", file=sys.stderr)
            _check_workers(client, device)
            data_folders = sorted({cell.data_folder for cell in cells} - {""})
            data = dask_worker.DatasetPlugin([Path(path) for path in data_folders])
            client.register_plugin(data)
            try:
                yield from _run_cells(client, task, cells, folder, limits, device)
            finally:
                with contextlib.suppress(Exception):  # the scheduler may be gone
                    client.unregister_worker_plugin(data.name)

    return Executor("dask", len(slots), execute)


@contextlib.contextmanager
def _connect(address: str | None, slots: Sequence[Slot], device: str) -> Iterator[Client]:
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "tornado"))]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # this module reports the errors that matter
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(_start_local_cluster(slots, device)) if address is None else address
        try:
            client = Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"--scheduler {address}: no scheduler answers ({' '.join(str(error).split())[:200]}); start one "
                "with 'dask scheduler', or leave the option out"
            ) from error
        yield stack.enter_context(client)


def _start_local_cluster(slots: Sequence[Slot], device: str) -> SpecCluster:
    # on 127.0.0.1, so that no other machine can connect
    common = {"nthreads": 1, "host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    common |= {"resources": {"GPU": 1} if device == "cuda" else {}}
    workers = {i: {"cls": Nanny, "options": common | {"env": dict(slot)}} for i, slot in enumerate(slots)}
    options = {"host": "127.0.0.1", "port": 0, "dashboard": True, "dashboard_address": "127.0.0.1:0"}
    with block_sigint():
        return SpecCluster(workers, {"cls": Scheduler, "options": options}, silence_logs=logging.CRITICAL)


def _check_workers(client: Client, device: str) -> None:
    """Raise `UserError` if the workers have no GPU that the run needs, or other versions than this machine."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        print("the cluster has no worker yet; waiting for one", file=sys.stderr)
    if device == "cuda" and workers and not any(worker["resources"].get("GPU") for worker in workers.values()):
        raise UserError(
            f"--device cuda: none of the {len(workers)} workers has a GPU; start them with --resources GPU=1 and "
            "CUDA_VISIBLE_DEVICES set to one"
        )
    expected = environment.list_versions()
    for address, versions in client.run(environment.list_versions, on_error="return").items():
        if isinstance(versions, Exception):
            raise UserError(
                f"the worker {address} can't load vaezoo ({versions}); install vaezoo {expected['vaezoo']} on it"
            )
        dask_worker.check_versions(expected, versions, address)


def _run_cells(
    client: Client, task: Task, cells: Sequence[Any], folder: Path, limits: Limits, device: str
) -> Generator[Event]:
    """Keep CELLS_PER_WORKER cells submitted per worker; submit a cell again if its worker died."""
    waiting, versions = iter(cells), environment.list_versions()
    resources = {"GPU": 1} if device == "cuda" else None
    tries = max(1, MAX_DEATHS // (1 + client.run_on_scheduler(dask_worker.read_allowed_failures)))
    running: dict[Future, tuple[Any, int]] = {}
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()

    def submit(cell: Any, deaths: int) -> None:
        key = f"cell-{uuid.uuid4().hex}"  # one prefix: Dask keeps statistics of each prefix for ever
        future = client.submit(
            dask_worker.run_remotely, task, cell, limits, versions, key=key, pure=False, resources=resources
        )
        running[future] = cell, deaths
        future.add_done_callback(ended.put)

    while True:
        limit = CELLS_PER_WORKER * max(1, sum(client.nthreads().values()))
        while len(running) < limit and (cell := next(waiting, None)) is not None:
            submit(cell, 0)
            yield Event("started", cell)
        if not running:
            return
        try:
            future = ended.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            _check_scheduler(client)
            yield Event("idle")
            continue
        cell, deaths = running.pop(future)
        try:
            exit_, files = future.result()
        except KilledWorker as error:
            if deaths + 1 < tries:
                submit(cell, deaths + 1)
                continue
            log = f"all workers that ran the cell died; the last was {error.last_worker.address}"
            exit_, files = Exit(-9, log=log), {}
        except dask_worker.VersionMismatchError as error:  # a worker that joined later; the others continue
            if len(client.scheduler_info(n_workers=-1)["workers"]) <= 1:
                raise
            print(f"{error}; the worker is removed from the run", file=sys.stderr)
            client.retire_workers([error.args[1]], close_workers=True)
            submit(cell, deaths)
            continue
        except Exception as error:
            _check_scheduler(client)
            raise StoppedError(f"the cluster failed: {type(error).__name__}: {error}; {CONTINUE_HINT}") from error
        for name, content in files.items():
            atomic_files.write_bytes(folder / "cells" / name, content)
        yield Event("ended", cell, exit_)


def _check_scheduler(client: Client) -> None:
    if client.status != "running":
        address = client.scheduler.address
        raise StoppedError(f"the scheduler at {address} has ended; start another scheduler; {CONTINUE_HINT}")
