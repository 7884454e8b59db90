"""Ctrl-C, and a request to end: the first lets the run put its files in order, the second is obeyed at once."""

from __future__ import annotations

import os
import signal
from typing import Any

INTERRUPTED = 130


def install() -> None:
    """From here on an interruption raises `KeyboardInterrupt`, once."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _first)


def _first(number: int, frame: Any) -> None:
    for later in (signal.SIGINT, signal.SIGTERM):
        signal.signal(later, _second)
    raise KeyboardInterrupt


def _second(number: int, frame: Any) -> None:
    os._exit(INTERRUPTED)  # the cells' processes see that and end
