"""The server that forks the cells' processes, so that torch is imported only once."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.common.errors import StoppedError
from benchmarks.common.machine import folders, inherited_settings

CONTEXT = multiprocessing.get_context("forkserver")
TRACKER_WARNINGS = "ignore::UserWarning:multiprocessing.resource_tracker"
FORK_ATTEMPTS = 3  # the server may have died


def start_forkserver() -> None:
    """Start the server if it does not run; it imports torch in the background.

    It starts with SIGINT blocked, so that only this process handles Ctrl-C.
    """
    multiprocessing.set_forkserver_preload(["benchmarks.preload"])
    with inherited_settings.neutral_environment(), block_sigint():  # the server inherits it
        folders.choose_cache()
        os.environ["PYTHONSAFEPATH"] = "1"  # the server imports this project, not a file of the working folder
        multiprocessing.forkserver.ensure_running()


@contextlib.contextmanager
def block_sigint() -> Iterator[None]:
    """Block SIGINT within the context, also in processes started there; a pending SIGINT is raised at the end."""
    # the tracker frees the semaphores of killed processes; the filter stops it from printing a warning for each
    sys.warnoptions.append(TRACKER_WARNINGS)
    try:
        multiprocessing.resource_tracker.ensure_running()  # starting it later would unblock SIGINT
    finally:
        sys.warnoptions.remove(TRACKER_WARNINGS)
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


def fork_process(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process that calls `target`; raises `StoppedError` if the server dies repeatedly."""
    main = sys.modules["__main__"]
    for _ in range(FORK_ATTEMPTS):
        process = CONTEXT.Process(target=target, args=arguments, daemon=True)
        try:
            with block_sigint():  # an interrupted start would make the server print a traceback
                sys.modules["__main__"] = types.ModuleType("__main__")  # else the process imports the main program too
                process.start()
            return process
        except (EOFError, ConnectionError):
            start_forkserver()
        finally:
            sys.modules["__main__"] = main
    raise StoppedError(
        f"the fork server died {FORK_ATTEMPTS} times; free memory, raise the limits of memory and time (ulimit -a), or "
        "run fewer cells with --workers"
    )
