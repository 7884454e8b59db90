"""Exit codes, and errors that end a command with one line: the problem, its cause, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    VERDICT = 1  # a metric regressed, or a variant failed a test of check; nothing else exits with 1
    INCOMPLETE = 2  # a cell failed or is missing, or a result is inconsistent
    INCOMPARABLE = 3  # the two runs can't be compared
    USAGE = 64
    FAULT = 70  # a fault of this program
    INTERRUPTED = 130
    READER_GONE = 141  # the program that read the output was closed, as by | head


class UserError(Exception):
    """A user's mistake: printed as one line on standard error; exit code 64."""


class StoppedError(Exception):
    """A run can't continue, without a user's mistake: printed in the same way; exit code 2."""


class DamageError(Exception):
    """A file of a run is damaged; the message says why."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an unknown name, with the most similar known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UserError(f"unknown {kind} '{name[:60]}'; {hint}known: {', '.join(names)}")


def printable(text: str) -> str:
    """Return the text with control characters escaped, cut to 2,000 characters."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shorten(plain, 2000)


def shorten(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}..."
