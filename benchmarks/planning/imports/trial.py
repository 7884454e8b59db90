"""A trial import in a process of its own, so that no package can end or stop the process that needs it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any

TRIAL_SECONDS = 60.0
POLL_SECONDS = 0.01


def try_import(load: Callable[[], Any]) -> str:
    """Call `load` in a copy of this process, without output; return why it fails, or an empty text."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _report(load, writer)
    os.close(writer)
    deadline = time.monotonic() + TRIAL_SECONDS
    while (ended := os.waitpid(pid, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if ended[0] == 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as answers:
        reason = answers.read().decode(errors="replace") if ended[0] else ""
    if ended[0] == 0:
        return f"its import takes more than {TRIAL_SECONDS:.0f} s"
    code = os.waitstatus_to_exitcode(ended[1])
    if code or not reason:
        return f"its import ends the process ({'signal' if code < 0 else 'exit code'} {abs(code)})"
    return reason.removeprefix("loaded")


def _report(load: Callable[[], Any], writer: int) -> None:
    """Write the outcome of `load` to the pipe, and end this process."""
    for stream in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), stream)
    try:
        load()
        outcome = "loaded"
    except BaseException as error:
        outcome = f"{type(error).__name__}: {error}"
    os.write(writer, outcome.encode(errors="replace")[:2000])
    os._exit(0)
