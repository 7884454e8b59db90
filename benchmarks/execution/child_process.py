"""Code that runs in a cell's process: its session, memory limit, output pipe and exit code."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.common.errors import UserError
from benchmarks.execution.interface import Limits, Task

UNWRITABLE_MARK = "\0can't be written\0"  # precedes the reason in the output; no cell prints it by chance


def run_in_child(
    work: Callable[[Any, str], None],
    cell: Any,
    folder: str,
    output: Connection,
    memory: int | None,
    environment: Mapping[str, str],
) -> None:
    """Run the cell and exit this process; exit code 0 means that its files are in the folder.

    memory: MiB that may be allocated in addition to what the process holds now; None means no limit.
    """
    os.setsid()  # a new session: its children can be killed with it, and Ctrl-C reaches only the parent
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)
    output.close()
    os.environ.update(environment)
    end_with_parent()
    limit_memory(memory)
    code = 1
    try:
        work(cell, folder)
        code = 0
    except OSError as error:  # only from writing files: `work` records the errors of the computation itself
        print(f"\n{UNWRITABLE_MARK}{error.strerror or error}: {error.filename or folder}", file=sys.stderr)
    except UserError as error:
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def prepare_and_run(task: Task, cell: Any, folder: str) -> None:
    """Prepare and run the cell in this process, so that a faulty plug-in can hang or end only this process."""
    multiprocessing.current_process().daemon = False  # so that it may start children, which are killed together with it
    (prepared,) = task.prepare([cell], 1, Limits())
    task.run(prepared, folder)


def lift_memory_limit() -> None:
    """Remove the memory limit of this process, for work that is not counted as a cell's, such as compilation."""
    if sys.platform.startswith("linux"):
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def limit_memory(memory: int | None) -> None:
    """Make allocation of more than `memory` further MiB fail, in this process and its children."""
    if memory is None:
        return
    lines = Path("/proc/self/status").read_text().splitlines()
    allocated = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (allocated + memory * 2**20, resource.RLIM_INFINITY))


def end_with_parent() -> None:
    """Start a thread that kills this process group as soon as the parent process has ended."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)
