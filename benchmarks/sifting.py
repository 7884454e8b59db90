"""What lies in a run folder: its cells, and what is damaged or foreign, which is set aside. Needs no torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import manifests, store
from benchmarks.errors import DamageError, printable
from benchmarks.files import SNAPSHOT, Record

SET_ASIDE = "set-aside"
SUFFIXES = (".json", ".npz", SNAPSHOT)
LEFTOVER = re.compile(r"\..+\.(json|npz|snapshot|csv)-[a-z0-9_]{8}")  # as files.write names what it is writing


def _cells(folder: Path) -> Iterator[tuple[Path, Record | DamageError]]:
    """Each cell's file with its record, or with what is wrong with it."""
    for path in sorted((folder / "cells").glob("*.json")):
        try:
            if record := store.read_cell(folder, path.stem):
                yield path, record
        except DamageError as damage:
            yield path, damage


def readable(folder: Path) -> Iterator[Record]:
    """The records that can be read, whatever else lies there."""
    return (found for _, found in _cells(folder) if not isinstance(found, DamageError))


def records(folder: Path) -> dict[str, Record]:
    """The records of a run folder by cell; what is damaged is named on standard error."""
    found = {}
    for path, record in _cells(folder):
        if isinstance(record, DamageError):
            print(printable(f"{path} is damaged: {record}"), file=sys.stderr)
        else:
            found[path.stem] = record
    return found


def sift(folder: Path) -> tuple[Record | None, dict[str, Record]]:
    """The manifest and the records of a folder that is held; what is damaged or foreign is named and set aside.

    What a dead process was writing is removed.
    """
    for path in [*folder.iterdir(), *(folder / "cells").iterdir()]:
        if LEFTOVER.fullmatch(path.name):
            path.unlink()
    found: dict[str, Record] = {}
    for path, record in _cells(folder):
        if not store.has_whole_pictures(folder, path.stem):
            record = DamageError("its pictures are cut off")
        if isinstance(record, DamageError):
            for file in (path, path.with_suffix(".npz")):
                _set_aside(folder, file, f"is damaged ({record}) and its cell runs again")
            continue
        found[path.stem] = record
        if record["status"] in store.FINISHED:
            path.with_suffix(SNAPSHOT).unlink(missing_ok=True)
    try:
        manifest = manifests.read(folder)
    except DamageError as damage:
        manifest = None
        _set_aside(folder, folder / manifests.FILE, f"is damaged ({damage}) and is made anew from the cells")
    manifest = manifest or manifests.rebuilt(found.values())
    return manifest, found


def set_aside_foreign(folder: Path, ids: set[str]) -> None:
    """What in cells/ belongs to none of these cells."""
    for path in sorted((folder / "cells").iterdir()):
        if path.suffix not in SUFFIXES or path.stem not in ids:
            _set_aside(folder, path, "belongs to no cell of this run")


def _set_aside(folder: Path, path: Path, why: str) -> None:
    if not path.exists():
        return
    (folder / SET_ASIDE).mkdir(exist_ok=True)
    names = (folder / SET_ASIDE / f"{path.name}{suffix}" for suffix in ("", *(f".{i}" for i in range(1, 10_000))))
    target = next(name for name in names if not name.exists())
    path.rename(target)
    print(printable(f"{path} {why}; it now lies in {target.parent}"), file=sys.stderr)
