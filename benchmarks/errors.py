"""What ends a command: one line that says what is wrong, why, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

UNFINISHED, USAGE = 2, 64  # exit codes: a cell failed or is missing; wrong usage
LONGEST = 2000


class UserError(Exception):
    """A user's mistake: shown as one line on standard error; the command ends with exit code 64."""


class StoppedError(Exception):
    """A run can't go on, through no mistake of its user's: shown the same way, exit code 2; what is done is kept."""


class DamageError(Exception):
    """A file that a run wrote is no longer whole; says how that is seen."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that isn't registered, with the nearest ones that are."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UserError(f"unknown {kind} '{name[:60]}'; {hint}known: {', '.join(names)}")


def printable(text: str) -> str:
    """The text without what a terminal would obey, and not without end."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}..."
