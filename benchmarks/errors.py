"""A user's mistake: one line that says what is wrong, why, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Shown as one line on standard error; the command ends with exit code 64."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that isn't registered, with the nearest ones that are."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UserError(f"unknown {kind} '{name[:60]}'; {hint}known: {', '.join(names)}")
