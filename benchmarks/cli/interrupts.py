"""SIGINT (Ctrl-C) and SIGTERM: the first lets the run write its files, the second ends the program at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any, NoReturn

from benchmarks.common.errors import ExitCode


def install_handlers() -> None:
    """Make the first SIGINT or SIGTERM raise `KeyboardInterrupt`, and the second end the program."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def exit_program(code: int) -> NoReturn:
    """Flush the output and end the program with the exit code; 141 if the reader of the output was closed.

    If Ctrl-C comes inside `exec`, Python ends by SIGINT although the exception was caught. Therefore, after an
    interruption, this function runs the registered exit functions and ends the process without Python.
    """
    if code == ExitCode.INTERRUPTED:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # Python flushes again at exit: discard the rest of the output
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.READER_GONE
    sys.exit(code)


def _interrupt(number: int, frame: Any) -> None:
    for later in (signal.SIGINT, signal.SIGTERM):  # the processes of cells end when their parent has ended
        signal.signal(later, lambda number, frame: os._exit(ExitCode.INTERRUPTED))
    raise KeyboardInterrupt
