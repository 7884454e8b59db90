"""SIGINT (Ctrl-C) and SIGTERM: the first lets the run write its files, the second ends the program at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any, NoReturn

from benchmarks.cli.standard_streams import flush_streams
from benchmarks.common.errors import ExitCode


def install_handlers() -> None:
    """Make the first SIGINT or SIGTERM raise `KeyboardInterrupt`, and the second end the program."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def exit_program(code: int) -> NoReturn:
    """Flush the output and end the program with the exit code; 141 if the reader of the output was closed.

    The registered exit functions run. Then the process ends without Python, for three reasons: Python needs up to half
    a second to free all modules. After Ctrl-C inside `exec`, Python ends by SIGINT although the exception was caught.
    And `python -i` asks for commands. Under a profiler Python ends as usual, because the profiler then writes its file.
    """
    if sys.getprofile():
        sys.exit(flush_streams(code))
    atexit._run_exitfuncs()
    os._exit(flush_streams(code))


def _interrupt(number: int, frame: Any) -> None:
    for later in (signal.SIGINT, signal.SIGTERM):  # the processes of cells end when their parent has ended
        signal.signal(later, lambda number, frame: os._exit(ExitCode.INTERRUPTED))
    raise KeyboardInterrupt
