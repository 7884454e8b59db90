"""Cells on the workers of a Dask cluster: one that runs already, or one that is started here."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import uuid
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import environment, files
from benchmarks.errors import StoppedError, UserError
from benchmarks.executors.devices import slots
from benchmarks.executors.events import Event, Executor, Exit, Limits, Task
from benchmarks.executors.local import PATIENCE, Slot
from benchmarks.executors.server import deaf

try:
    import dask
    from distributed import Client, Future, KilledWorker, Nanny, Scheduler, SpecCluster

    from benchmarks.executors import remote
except ImportError as missing:
    raise UserError(f"--executor dask: {missing}; install it with pip install 'vaezoo[dask]'") from missing

AHEAD = 2  # cells a worker knows of, so that it need not wait for the next
DEATHS = 3  # of the workers that had a cell, after which it is given up
SECONDS = 30  # to find a scheduler
GOING_ON = "what is finished is kept, and the same command goes on"
SETTINGS = {
    "distributed.worker.daemon": False,  # the cells' processes are a worker's children
    "distributed.scheduler.allowed-failures": 0,  # what is run again is decided here
    "distributed.scheduler.worker-saturation": 1.0,  # with more, cells that only waited are blamed too
    "distributed.scheduler.worker-ttl": None,  # a busy worker is not a dead one
}


def executor(address: str | None, device: str, workers: int | None, limits: Limits) -> Executor:
    """On the cluster of that scheduler; without one, on workers of this machine."""
    places = slots(device, workers) if address is None else [{}] * (workers or 1)

    def execute(task: Task, cells: Sequence[Any], folder: Path) -> Generator[Event]:
        if not cells:
            return
        with dask.config.set(SETTINGS), _connected(address, places, device) as client:
            print(f"dashboard: {client.dashboard_link}", file=sys.stderr)
            _check(client, device)
            parcels = {own: remote.parcel(Path(own)) for cell in cells if (own := task.data(cell))}
            data = remote.Data(list(parcels.values()))
            client.register_plugin(data)
            try:
                yield from _run(client, task, cells, folder, limits, device)
            finally:
                with contextlib.suppress(Exception):  # the scheduler may be gone
                    client.unregister_worker_plugin(data.name)

    return Executor("dask", len(places), execute)


@contextlib.contextmanager
def _connected(address: str | None, places: Sequence[Slot], device: str) -> Iterator[Client]:
    for name in [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "tornado"))]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is said here
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(_here(places, device)) if address is None else address
        try:
            client = Client(target, timeout=SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"--scheduler {address}: no scheduler answers there ({' '.join(str(error).split())[:200]}); start one "
                "with 'dask scheduler', or leave it out"
            ) from error
        yield stack.enter_context(client)


def _here(places: Sequence[Slot], device: str) -> SpecCluster:
    """A scheduler and a worker for each place, which only this machine can reach."""
    common = {"nthreads": 1, "host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    common |= {"resources": {"GPU": 1} if device == "cuda" else {}}
    workers = {i: {"cls": Nanny, "options": common | {"env": dict(place)}} for i, place in enumerate(places)}
    options = {"host": "127.0.0.1", "port": 0, "dashboard": True, "dashboard_address": "127.0.0.1:0"}
    with deaf():
        return SpecCluster(workers, {"cls": Scheduler, "options": options}, silence_logs=logging.CRITICAL)


def _check(client: Client, device: str) -> None:
    """Refuse a cluster that can't give these numbers, or would wait for ever."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if not workers:
        print("no worker has joined yet; waiting for one", file=sys.stderr)
    if device == "cuda" and workers and not any(own["resources"].get("GPU") for own in workers.values()):
        raise UserError(
            f"--device cuda: none of the {len(workers)} workers has a GPU; start them with --resources GPU=1 and "
            "CUDA_VISIBLE_DEVICES set to one"
        )
    mine = environment.versions()
    for worker, theirs in client.run(environment.versions, on_error="return").items():
        if isinstance(theirs, Exception):
            raise UserError(f"the worker {worker} can't load vaezoo ({theirs}); install {mine['vaezoo']} there")
        remote.refuse_others(mine, theirs, worker)


def _run(
    client: Client, task: Task, cells: Sequence[Any], folder: Path, limits: Limits, device: str
) -> Generator[Event]:
    """A few cells ahead of the workers; what a dead worker had is given to another."""
    waiting, mine = iter(cells), environment.versions()
    resources = {"GPU": 1} if device == "cuda" else None
    tries = max(1, DEATHS // (1 + client.run_on_scheduler(remote.allowed_failures)))
    running: dict[Future, tuple[Any, int]] = {}
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()

    def submit(cell: Any, deaths: int) -> None:
        key = f"cell-{uuid.uuid4().hex}"  # one prefix: Dask keeps an account of each for ever
        future = client.submit(remote.perform, task, cell, limits, mine, key=key, pure=False, resources=resources)
        running[future] = cell, deaths
        future.add_done_callback(ended.put)

    while True:
        while len(running) < _ahead(client) and (cell := next(waiting, None)) is not None:
            submit(cell, 0)
            yield Event("started", cell)
        if not running:
            return
        try:
            future = ended.get(timeout=PATIENCE)
        except queue.Empty:
            _check_scheduler(client)
            yield Event("idle")
            continue
        cell, deaths = running.pop(future)
        try:
            done = future.result()
        except KilledWorker as error:
            if deaths + 1 < tries:
                submit(cell, deaths + 1)
                continue
            done = remote.Done(Exit(-9, log=f"workers died that had it, {error.last_worker.address} the last"), {})
        except remote.OtherVersionsError as error:
            _send_away(client, error)
            submit(cell, deaths)
            continue
        except Exception as error:
            _check_scheduler(client)
            raise StoppedError(f"the cluster failed: {type(error).__name__}: {error}; {GOING_ON}") from error
        for name, content in done.files.items():
            files.write(folder / "cells" / name, content)
        yield Event("ended", cell, done.exit)


def _send_away(client: Client, error: remote.OtherVersionsError) -> None:
    """A worker that joined later and can't be used; the others go on."""
    if len(client.scheduler_info(n_workers=-1)["workers"]) <= 1:
        raise error
    print(f"{error}; it is sent away", file=sys.stderr)
    client.retire_workers([error.args[1]], close_workers=True)


def _ahead(client: Client) -> int:
    threads: dict[str, int] = client.nthreads()
    return AHEAD * max(1, sum(threads.values()))


def _check_scheduler(client: Client) -> None:
    if client.status != "running":
        raise StoppedError(f"the scheduler at {client.scheduler.address} is gone; {GOING_ON} once there is one again")
