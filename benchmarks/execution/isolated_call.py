"""Function calls in a separate process, for code that needs torch or imports a plug-in.

So the main process never imports torch, and no plug-in can end it. A call without limits may take any time; Ctrl-C ends
it, also if a plug-in hangs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from benchmarks.common.errors import StoppedError, UserError
from benchmarks.execution.child_process import end_with_parent, limit_memory
from benchmarks.execution.forkserver import fork_process, process_context, start_forkserver
from benchmarks.execution.interface import Limits

P = ParamSpec("P")
T = TypeVar("T")


class NoAnswerError(StoppedError):
    """The process of a call ended, or reached its time limit, without returning a value."""


def call_isolated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a module-level function in a new process; return its value, or raise what it raised."""
    return _call(None, function, args, kwargs)


def call_within_limits(limits: Limits, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do the same without output; raise `NoAnswerError` if the call exceeds a limit."""
    return _call(limits, function, args, kwargs)


def _call(limits: Limits | None, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
    start_forkserver()
    reader, writer = process_context().Pipe(duplex=False)
    with reader:
        with writer:
            process = fork_process(_send_answer, writer, limits, function, args, kwargs)
        try:
            if not reader.poll(limits and limits.timeout):
                raise NoAnswerError(f"the call took more than {limits and limits.timeout} s")
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
    output: Connection,
    limits: Limits | None,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    os.setsid()  # a new session: Ctrl-C reaches only the parent
    end_with_parent()
    if limits is not None:
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        limit_memory(limits.memory)
    answer: tuple[Any, Exception | None]
    try:
        answer = function(*args, **kwargs), None
    except Exception as error:
        if not isinstance(error, OSError | StoppedError | UserError):
            error.add_note(traceback.format_exc())
        answer = None, error
    output.send(answer)
