"""The connection to a Dask cluster: its scheduler, its workers, and the loss of either."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, Security, SpecCluster
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.comm import CommClosedError, connect

from benchmarks.common import environment
from benchmarks.common.errors import StoppedError, UserError
from benchmarks.execution.cluster import worker
from benchmarks.execution.forkserver import defer_signals
from benchmarks.execution.local import Slot

ATTEMPTS = 2  # to ask a worker that does not answer
CONNECT_SECONDS = 30  # time limit for connecting to the scheduler
RELEASE_SECONDS = 5  # time limit for removing the data sets from the workers at the end
CONTINUE_HINT = "finished cells are kept; run the same command again to continue"


@contextlib.contextmanager
def connect_client(address: str | None, slots: Sequence[Slot], device: str) -> Iterator[Client]:
    """Connect to the scheduler, or start a cluster on this machine; raise `UserError` if no scheduler answers."""
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
    with defer_signals():
        return SpecCluster(workers, {"cls": Scheduler, "options": options}, silence_logs=logging.CRITICAL)


def check_workers(client: Client, device: str) -> None:
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
        worker.check_versions(expected, versions, address)


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
def stop_if_lost(client: Client) -> Iterator[None]:
    """Raise `StoppedError` if the connection to the scheduler is lost."""
    address = client.scheduler.address
    try:
        yield
    except (CommClosedError, ClosedClientError, FutureCancelledError) as error:
        text = f"the connection to the scheduler at {address} is lost; if it has ended, start another scheduler"
        raise StoppedError(f"{text}; {CONTINUE_HINT}") from error
    except OSError as error:
        raise StoppedError(f"the cluster failed: {error}; {CONTINUE_HINT}") from error
