"""Standard streams that are closed, full, or whose reader is gone: they end no run, and change no result."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from benchmarks.common.errors import ExitCode


class MessageStream:
    """Standard error. A message that can't be written is dropped, because it must not end a run.

    reader_gone: whether a message was dropped because the program that reads them has ended.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.reader_gone = stream, False

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
        except (OSError, ValueError) as error:
            self.reader_gone |= isinstance(error, BrokenPipeError)
        return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except (OSError, ValueError) as error:
            self.reader_gone |= isinstance(error, BrokenPipeError)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def prepare_streams() -> None:
    """Open the standard streams that are closed, so that no file of a run takes their place."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
    sys.stdin = sys.stdin or _open(0, "r")
    sys.stdout, sys.stderr = sys.stdout or _open(1, "w"), sys.stderr or _open(2, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # print ? if the terminal lacks a character such as ±
    sys.stderr = MessageStream(sys.stderr)


def _open(descriptor: int, mode: str) -> Any:
    return open(descriptor, mode, encoding="utf-8", closefd=False)


def flush_streams(code: int) -> int:
    """Flush both outputs, and return the exit code: 141 if a reader is gone, 2 if the output can't be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        code = ExitCode.READER_GONE if isinstance(error, BrokenPipeError) else ExitCode.INCOMPLETE
        if code == ExitCode.INCOMPLETE:
            print(f"error: standard output: {error.strerror}; fix that and run again", file=sys.stderr)
    sys.stderr.flush()
    return ExitCode.READER_GONE if getattr(sys.stderr, "reader_gone", False) else code
