"""Calls into a process of their own, forked from the server: what needs torch, or runs what a user wrote.

So the process that commands a run never holds torch, and no plug-in can end it. It waits for a call without limits as
long as that takes: a plug-in that hangs while it is imported is ended by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from benchmarks.errors import StoppedError, UserError
from benchmarks.executors.child import end_with_parent, limit_memory
from benchmarks.executors.events import Limits
from benchmarks.executors.server import context, forked, warm_up

P = ParamSpec("P")
T = TypeVar("T")


class LostError(StoppedError):
    """A call whose process ended, or took too long, without an answer."""


def call(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's value, or what it raised; it is known by name. Where this process has torch, it is called here."""
    return _called(None, function, args, kwargs)


def call_within(limits: Limits, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same in silence and within limits; a `LostError` where it exceeds them."""
    return _called(limits, function, args, kwargs)


def _called(limits: Limits | None, function: Callable[..., T], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> T:
    if "torch" in sys.modules:
        return function(*args, **kwargs)
    warm_up()
    reader, writer = context().Pipe(duplex=False)
    with reader:
        with writer:
            process = forked(_answer, writer, limits, function, args, kwargs)
        try:
            if not reader.poll(limits and limits.timeout):
                raise LostError("what was to be done before the cells took too long")
            value, error = reader.recv()
        except EOFError as end:
            process.join()
            raise LostError(
                f"the process that was to plan ended with exit code {process.exitcode} and no answer; does a plug-in "
                "end it, or is memory short?"
            ) from end
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
            process.join()
    if error is not None:
        raise error
    result: T = value
    return result


def _answer(
    output: Connection,
    limits: Limits | None,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    os.setsid()  # Ctrl-C is for the process that commands it
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
