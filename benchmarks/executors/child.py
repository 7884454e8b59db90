"""A cell's process, from inside: a group of its own, a ceiling, its output to a pipe, and one clean exit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.executors.events import Limits, Task

UNWRITABLE = "\0can't be written\0"  # what no cell prints by chance begins the line that says so


def enter(
    work: Callable[[Any, str], None],
    cell: Any,
    folder: str,
    output: Connection,
    memory: int | None,
    environment: Mapping[str, str],
) -> None:
    """Run the cell and leave; the exit code says whether its files lie in the folder.

    memory: MiB that may be allocated beyond what this process starts with.
    """
    os.setsid()  # what it starts ends with it, and Ctrl-C is for the process that commands it
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    os.environ.update(environment)
    end_with_parent()
    limit_memory(memory)
    code = _code(work, cell, folder)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _code(work: Callable[[Any, str], None], cell: Any, folder: str) -> int:
    """What a cell computes fails within it, and is written down; what fails here is the writing."""
    try:
        work(cell, folder)
    except OSError as error:
        print(f"\n{UNWRITABLE}{error.strerror or error}: {error.filename or folder}", file=sys.stderr)
        return 1
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def prepared(task: Task, cell: Any, folder: str) -> None:
    """Prepare and run the cell in its own process: what a user wrote is to hang or die there, not in the worker."""
    allow_children()
    (ready,) = task.prepare([cell], 1, Limits())
    task.work(ready, folder)


def lift_limit() -> None:
    """What this process allocates from here on is no cell's, such as a compiler's memory."""
    if sys.platform.startswith("linux"):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def allow_children() -> None:
    """A process that its parent takes along when it ends may start others all the same: they end with it too."""
    multiprocessing.current_process().daemon = False


def check_limit(memory: int | None) -> None:
    """Refuse a ceiling that this system does not hold."""
    if memory is not None and not sys.platform.startswith("linux"):
        raise UserError(f"--memory {memory}: only Linux holds a process to a ceiling; leave it out on {sys.platform}")


def limit_memory(memory: int | None) -> None:
    """Allocation beyond so many MiB more fails, in this process and in what it starts."""
    if memory is None:
        return
    import resource

    lines = Path("/proc/self/status").read_text().splitlines()
    held = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + memory * 2**20, resource.RLIM_INFINITY))


def end_with_parent() -> None:
    """No process of a run, and nothing that it started, outlives the one that commands it, however that ends."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
