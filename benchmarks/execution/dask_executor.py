"""The Dask executor: cells run on the workers of an existing cluster, or of a cluster started on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sys
import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import atomic_files, environment
from benchmarks.common.errors import StoppedError, UserError
from benchmarks.execution.forkserver import block_sigint
from benchmarks.execution.interface import Event, Executor, Exit, Limits, Task
from benchmarks.execution.local import IDLE_SECONDS, Slot

try:
    import dask
    from distributed import Client, Future, KilledWorker, Nanny, Scheduler, Security, SpecCluster
    from distributed.client import ClosedClientError, FutureCancelledError
    from distributed.comm import CommClosedError, connect

    from benchmarks.execution import dask_worker
except ImportError as missing:
    raise UserError(f"--executor dask: {missing}; install it with pip install 'vaezoo[dask]'") from missing

ATTEMPTS = 2  # to ask a worker that does not answer
CELLS_PER_WORKER = 2  # submitted cells per worker thread, so that no worker waits for the next cell
MAX_DEATHS = 3  # a cell is "killed" after this number of its workers died
CONNECT_SECONDS = 30  # time limit for connecting to the scheduler
RESULT_SECONDS = 10  # time limit for fetching the result of a cell; its worker may have vanished
RELEASE_SECONDS = 5  # time limit for removing the data sets from the workers at the end
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
            with _stop_if_lost(client):
                _check_workers(client, device)
            events = _run_cells(client, task, cells, limits, device)
            with _send_datasets(client, cells), contextlib.closing(events):
                for event, files in events:
                    for name, content in files.items():
                        atomic_files.write_bytes(folder / "cells" / name, content)
                    yield event

    return Executor("dask", len(slots), execute)


@contextlib.contextmanager
def _connect(address: str | None, slots: Sequence[Slot], device: str) -> Iterator[Client]:
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "tornado"))]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # this module reports the errors that matter
    with contextlib.ExitStack() as stack:
        if address is not None:
            _try_connection(address)
        target = stack.enter_context(_start_local_cluster(slots, device)) if address is None else address
        client = Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
        try:
            yield client
        finally:
            with contextlib.suppress(OSError):  # the scheduler may be gone
                client.close(timeout=RELEASE_SECONDS)


def _try_connection(address: str) -> None:
    """Raise `UserError` if the scheduler can't be reached. A `Client` that fails prints a traceback a minute later."""

    async def connect_once() -> None:
        security = Security().get_connection_args("client")
        if address.startswith("tls:") and not security["ssl_context"]:
            raise ValueError("TLS needs a certificate: name it in Dask's configuration, as docs/clusters.md says")
        comm = await asyncio.wait_for(connect(address, timeout=CONNECT_SECONDS, **security), CONNECT_SECONDS + 1)
        await comm.close()

    try:
        asyncio.run(connect_once())
    except Exception as error:  # of the address, sockets, TLS, or of a service that is no scheduler
        reason = " ".join(str(error).split())[:200] or f"nothing within {CONNECT_SECONDS} seconds"
        hint = "check the certificates, or start one" if address.startswith("tls:") else "start one, or leave it out"
        raise UserError(f"--scheduler {address}: no scheduler answers ({reason}); {hint}") from error


def _start_local_cluster(slots: Sequence[Slot], device: str) -> SpecCluster:
    # on 127.0.0.1, so that no other machine can connect
    common = {"nthreads": 1, "host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    common |= {"resources": {"GPU": 1} if device == "cuda" else {}}
    workers = {i: {"cls": Nanny, "options": common | {"env": dict(slot)}} for i, slot in enumerate(slots)}
    scheme = "tls" if dask.config.get("distributed.comm.require-encryption") else "tcp"
    options = {"host": "127.0.0.1", "port": 0, "protocol": scheme, "dashboard": True}
    options |= {"dashboard_address": "127.0.0.1:0"}
    with block_sigint():
        return SpecCluster(workers, {"cls": Scheduler, "options": options}, silence_logs=logging.CRITICAL)


def _check_workers(client: Client, device: str) -> None:
    """Raise `UserError` if the workers have no GPU that the run needs, or other versions than this machine."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if device == "cuda" and workers and not any(worker["resources"].get("GPU") for worker in workers.values()):
        raise UserError(
            f"--device cuda: none of the {len(workers)} workers has a GPU; start them with --resources GPU=1 and "
            "CUDA_VISIBLE_DEVICES set to one"
        )
    expected = environment.list_versions()
    for address, versions in _ask_versions(client).items():
        if isinstance(versions, Exception):
            raise UserError(
                f"the worker {address} can't load vaezoo ({versions}); install vaezoo {expected['vaezoo']} on it"
            )
        dask_worker.check_versions(expected, versions, address)


def _ask_versions(client: Client) -> dict[str, Any]:
    """Return the versions of each worker, or its error; raise `UserError` if the scheduler can't connect to one."""
    for _ in range(ATTEMPTS):  # Dask removes a worker that has vanished after about the same time
        answers = client.run(environment.list_versions, on_error="return")
        heard = {address: answer for address, answer in answers.items() if not isinstance(answer, OSError)}
        silent = sorted((answers.keys() - heard.keys()) & client.scheduler_info(n_workers=-1)["workers"].keys())
        if not silent:
            return heard
        print(f"the worker {silent[0]} does not answer the scheduler", file=sys.stderr)
    raise UserError(f"the scheduler can't reach the worker {silent[0]}; open the worker's port, or stop the worker")


@contextlib.contextmanager
def _send_datasets(client: Client, cells: Sequence[Any]) -> Iterator[None]:
    """Send the data sets of the cells to all workers, also to workers that join later."""
    data = dask_worker.DatasetPlugin([Path(path) for path in sorted({cell.data_folder for cell in cells} - {""})])
    with _stop_if_lost(client):
        client.register_plugin(data)
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # the scheduler may be gone
            client.sync(client.scheduler.unregister_worker_plugin, name=data.name, callback_timeout=RELEASE_SECONDS)


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
            dask_worker.run_remotely, task, cell, limits, versions, key=key, pure=False, resources=resources
        )
        running[future] = cell, deaths
        future.add_done_callback(ended.put)

    with _stop_if_lost(client):
        tries = max(1, MAX_DEATHS // (1 + client.run_on_scheduler(dask_worker.read_allowed_failures)))
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
            except dask_worker.VersionMismatchError as error:  # a worker that joined later; the others continue
                if len(client.scheduler_info(n_workers=-1)["workers"]) <= 1:
                    raise
                print(f"{error}; the worker is removed from the run", file=sys.stderr)
                client.retire_workers([error.args[1]], close_workers=True)
                submit(cell, deaths)
                continue
            except Exception as error:
                if future.status == "error":
                    text = f"the cluster failed: {type(error).__name__}: {error}"
                    raise StoppedError(f"{text}; {CONTINUE_HINT}") from error
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


@contextlib.contextmanager
def _stop_if_lost(client: Client) -> Iterator[None]:
    """Raise `StoppedError` if the connection to the scheduler is lost."""
    address = client.scheduler.address
    try:
        yield
    except (CommClosedError, ClosedClientError, FutureCancelledError) as error:
        text = f"the connection to the scheduler at {address} is lost; if it has ended, start another scheduler"
        raise StoppedError(f"{text}; {CONTINUE_HINT}") from error
    except OSError as error:
        raise StoppedError(f"the cluster failed: {error}; {CONTINUE_HINT}") from error
