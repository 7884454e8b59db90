"""The server that forks cells' processes, so that each finds torch imported."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
from collections.abc import Iterator
from typing import Any

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def context() -> Any:  # typeshed knows no common type of contexts with Process
    """Where the cells' processes come from."""
    return multiprocessing.get_context(METHOD)


def warm_up() -> None:
    """Start the server, so that it imports torch while this process does.

    It is born deaf to Ctrl-C: that is for the process that commands it, and reaches it here as soon as the server
    runs.
    """
    if METHOD == "forkserver":
        multiprocessing.set_forkserver_preload(["benchmarks.preload"])
        with deaf():
            multiprocessing.forkserver.ensure_running()


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """What starts meanwhile never hears Ctrl-C; this process does, when it is over."""
    multiprocessing.resource_tracker.ensure_running()  # it unblocks SIGINT where it starts
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
