"""Function calls in a separate process, so that the main process never imports torch, and no plug-in can end it.

A call without limits may take any time; Ctrl-C ends it, also if a plug-in hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar, TypeVarTuple

from benchmarks.common.errors import StoppedError, UserError
from benchmarks.execution.child_process import end_with_parent, limit_memory
from benchmarks.execution.forkserver import CONTEXT, fork_process, start_forkserver
from benchmarks.execution.interface import Limits

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


class NoAnswerError(StoppedError):
    """The process of a call ended, or reached its time limit, without returning a value."""


def call_isolated(function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Call a module-level function in a new process; return its value, or raise what it raised."""
    return call_within_limits(None, function, *arguments)


def call_within_limits(limits: Limits | None, function: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Do the same; with limits, without output, and raise `NoAnswerError` if the call exceeds one."""
    start_forkserver()
    timeout = None if limits is None else limits.timeout
    reader, writer = CONTEXT.Pipe(duplex=False)
    with reader:
        with writer:
            process = fork_process(_send_answer, writer, limits, function, arguments)
        try:
            if not reader.poll(timeout):
                raise NoAnswerError(f"the call took more than {timeout} s")
            value, error = reader.recv()
        except EOFError as end:
            process.join()
            raise NoAnswerError(
                f"the planning process ended with exit code {process.exitcode} and no answer; check that no plug-in "
                "ends it, and that enough memory is free"
            ) from end
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
            process.join()
    if error is not None:
        raise error
    answer: T = value
    return answer


def _send_answer(
    output: Connection, limits: Limits | None, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    os.setsid()  # a new session: Ctrl-C reaches only the parent
    end_with_parent()
    if limits is not None:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        limit_memory(limits.memory)
    answer: tuple[Any, Exception | None]
    try:
        answer = function(*arguments), None
    except Exception as error:
        if not isinstance(error, OSError | StoppedError | UserError):
            error.add_note(traceback.format_exc())
        answer = None, error
    output.send(answer)
