"""Files of a run: written whole or not at all, and read by those who know their schema."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.errors import DamageError, UserError

SCHEMA_VERSION = 3  # of every file that a run leaves; older ones are read
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")  # of a run, a variant, a cell: leaves no folder, draws no markup
WORD = re.compile(r"[^$\x00-\x1f\x7f-\x9f]*")  # of an objective, an estimator, a baseline: draws no markup either
SNAPSHOT = ".snapshot"
Record = dict[str, Any]


def write(path: Path, content: bytes) -> None:
    """Whole or not at all: into a temporary file beside it, flushed to disk, then renamed."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the folder may have vanished
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say whose write it stopped
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """The content as indented JSON, whole or not at all."""
    write(path, as_json(content).encode())


def as_json(content: Mapping[str, Any]) -> str:
    """As every file of a run is written: indented, a line each."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Record:
    """A JSON object that says which schema it has; `DamageError` or `FileNotFoundError` where not."""
    try:
        content: Record = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamageError(_reason(path, error)) from error
    check_version(version, path)
    return content


def check_version(version: object, path: Path) -> None:
    """Refuse a schema that came after this one."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DamageError(f"its schema_version is {str(version)[:40]!r}")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} was written by a newer vaezoo (schema {version}; this one reads up to {SCHEMA_VERSION}); "
            "update vaezoo to read it"
        )


def _reason(path: Path, error: Exception) -> str:
    with contextlib.suppress(OSError):
        if not path.stat().st_size:
            return "it is empty"
    if isinstance(error, KeyError | TypeError):
        return "it is no JSON object with a schema_version"
    return f"{type(error).__name__}: {error}"[:120]
