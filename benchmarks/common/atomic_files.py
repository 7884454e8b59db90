"""Files of a run: check their names and folders, write them atomically, check the schema version when reading."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.common.errors import DamageError, UserError

SCHEMA_VERSION = 7  # of every file of a run; older versions can be read
# names of runs, variants and cells: they name files, so no path separators, and appear in figures, so no markup
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
# names of objectives, estimators and baselines: they appear in figures, where $ starts a formula
WORD_PATTERN = re.compile(r"[^$\x00-\x1f\x7f-\x9f]*")
SNAPSHOT_SUFFIX = ".snapshot"
MODEL_SUFFIX = ".safetensors"
PARTIAL_SUFFIX = ".partial"  # the rows so far of a running cell
Record = dict[str, Any]


def check_run_name(name: str | None) -> str | None:
    """Return the name of a run; raises `UserError` if it is not allowed."""
    if name is not None and (not NAME_PATTERN.fullmatch(name) or name == "latest"):
        raise UserError(f"--name {name!r} is not allowed; use letters, digits and . _ + - ('latest' is reserved)")
    return name


def check_writable(folder: Path) -> Path:
    """Return the folder; raises `UserError` if files can't be created in it, or in its nearest parent that exists."""
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise UserError(
            f"--out: results can't be written to {folder} ({parent}: {error.strerror}); give another folder with --out"
        ) from error
    return folder


def write_bytes(path: Path, content: bytes, flush: bool = True) -> None:
    """Write the file atomically: to a temporary file in the same folder, flushed to disk, then renamed.

    flush: False for a file that may be lost if the machine stops.
    """
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:  # the umask decides who can read it
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # the folder may have vanished
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # the error of a full disk names no file
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write the content as indented JSON, atomically."""
    write_bytes(path, format_json(content).encode(errors="backslashreplace"))  # a path may have bytes that are no text


def format_json(content: Mapping[str, Any]) -> str:
    """Return the content as JSON in the format of all files of a run: one key on each line."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Record:
    """Read a JSON object that has a schema_version.

    Raises `FileNotFoundError`, `DamageError` if it is not such an object, or `UserError` if its schema is newer.
    """
    try:
        content: Record = json.loads(path.read_text(encoding="utf-8"))
        version = content["schema_version"]
    except FileNotFoundError:
        raise
    except (KeyError, TypeError) as error:
        raise DamageError("it is not a JSON object with a schema_version") from error
    except (OSError, ValueError, RecursionError) as error:
        is_empty = isinstance(error, json.JSONDecodeError) and not error.doc
        raise DamageError("it is empty" if is_empty else f"{type(error).__name__}: {error}"[:120]) from error
    check_version(version, path)
    return content


def check_version(version: object, path: Path) -> None:
    """Raise `UserError` if the schema version is newer than this code, `DamageError` if it is not a version."""
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DamageError(f"its schema_version is {str(version)[:40]!r}, not a positive integer")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} was written by a newer vaezoo (schema {version}; this one reads up to {SCHEMA_VERSION}); "
            "update vaezoo to read it"
        )
