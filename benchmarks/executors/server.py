"""The server that forks cells' processes, so that each finds torch imported."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import sys
import types
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.errors import StoppedError

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
TRACKED = "ignore::UserWarning:multiprocessing.resource_tracker"
STARTS = 3  # attempts to fork, since the server that forks may have died


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
    _start_tracker()  # it unblocks SIGINT where it starts
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)


def _start_tracker() -> None:
    """Python's process that frees the semaphores of processes that were ended, without a word about each."""
    sys.warnoptions.append(TRACKED)
    try:
        multiprocessing.resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(TRACKED)


def forked(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that has started; where the server that forks them has died, by the next one."""
    for _ in range(STARTS):
        process: BaseProcess = context().Process(target=target, args=arguments, daemon=True)
        try:
            with _without_main():
                process.start()
            return process
        except (EOFError, ConnectionError):
            warm_up()
    raise StoppedError(f"the server that forks the cells' processes died {STARTS} times; is there memory left?")


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """A process that starts meanwhile does not import the program that starts it: cells need nothing of it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
