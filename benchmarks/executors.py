"""Executors: how cells are mapped to events. A cell writes its own files; an executor only says when it ended."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Literal

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
PATIENCE = 0.5


@dataclass(frozen=True)
class Event:
    """A cell has started or ended (exit_code 0, or -N for signal N); `idle` where nothing happened for a while."""

    kind: Literal["started", "ended", "idle"]
    case: Any = None
    exit_code: int = 0


def warm_up() -> None:
    """Start the server that forks the cells' processes, so that it imports torch while this process does.

    It is born deaf to Ctrl-C, as the cells are: that is for the process that commands them, and reaches it here as
    soon as the server runs.
    """
    if METHOD == "forkserver":
        multiprocessing.set_forkserver_preload(["benchmarks.preload"])
        multiprocessing.resource_tracker.ensure_running()  # it unblocks SIGINT where it starts
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            multiprocessing.forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)


def processes(work: Callable[[Any, str], None], cases: Iterable[Any], folder: str, workers: int) -> Generator[Event]:
    """Each case in a process of its own, `workers` of them side by side.

    Leaving the generator ends those that run.
    """
    context: Any = multiprocessing.get_context(METHOD)  # typeshed knows no common type with Process
    warm_up()
    waiting = iter(cases)
    running: dict[Any, tuple[BaseProcess, Any]] = {}
    try:
        while True:
            while len(running) < workers and (case := next(waiting, None)) is not None:
                process = context.Process(target=_shielded, args=(work, case, folder), daemon=True)
                process.start()
                running[process.sentinel] = (process, case)
                yield Event("started", case)
            if not running:
                return
            ended = multiprocessing.connection.wait(list(running), timeout=PATIENCE)
            if not ended:
                yield Event("idle")
            for sentinel in ended:
                process, case = running.pop(sentinel)
                process.join()
                yield Event("ended", case, process.exitcode or 0)
    finally:
        for process, _ in running.values():
            process.kill()
        for process, _ in running.values():
            process.join()


def _shielded(work: Callable[[Any, str], None], case: Any, folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    work(case, folder)


def _die_with_parent() -> None:
    """No cell outlives the run, however the run ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
