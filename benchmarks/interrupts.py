"""Ctrl-C, and a request to end: the first lets the run put its files in order, the second is obeyed at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any, NoReturn

INTERRUPTED, GONE = 130, 141


def install() -> None:
    """From here on an interruption raises `KeyboardInterrupt`, once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _first)


def leave(code: int) -> NoReturn:
    """End with that code.

    An interpreter that was interrupted while a library was in an `exec` ends by SIGINT instead, whoever caught it; so
    after an interruption what is registered to run at the end runs here, and the interpreter has no say.
    """
    if code == INTERRUPTED:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it is gone, and what is left is for nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = GONE
    sys.exit(code)


def _first(number: int, frame: Any) -> None:
    for later in (signal.SIGINT, signal.SIGTERM):
        signal.signal(later, _second)
    raise KeyboardInterrupt


def _second(number: int, frame: Any) -> None:
    os._exit(INTERRUPTED)  # the cells' processes see that and end
