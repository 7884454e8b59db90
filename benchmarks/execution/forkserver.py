"""The server that forks the cells' processes, so that torch is imported only once."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
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
    with inherited_settings.neutral_environment(), defer_signals():  # the server inherits the blocked SIGINT
        folders.choose_cache()
        os.environ["PYTHONSAFEPATH"] = "1"  # the server imports this project, not a file of the working folder
        multiprocessing.forkserver.ensure_running()


@contextlib.contextmanager
def defer_signals() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of the context; processes started there have SIGINT blocked."""
    # the tracker frees the semaphores of killed processes; the filter stops it from printing a warning for each
    sys.warnoptions.append(TRACKER_WARNINGS)
    try:
        multiprocessing.resource_tracker.ensure_running()  # starting it later would unblock SIGINT
    finally:
        sys.warnoptions.remove(TRACKER_WARNINGS)
    deferred = list[int]()
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    # the mask is that of this thread: a thread of NumPy can receive a signal, and Python then calls its handler here
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM) if is_main else ()
    handlers = {number: signal.signal(number, lambda number, frame: deferred.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)
        for deferred_number in deferred:
            signal.raise_signal(deferred_number)


def fork_process(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process that calls `target`; raises `StoppedError` if the server dies repeatedly."""
    main = sys.modules["__main__"]
    for _ in range(FORK_ATTEMPTS):
        process = CONTEXT.Process(target=target, args=arguments, daemon=True)
        try:
            with defer_signals():  # an interrupted start would make the server print a traceback
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
