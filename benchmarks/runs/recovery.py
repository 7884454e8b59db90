"""Reading a run folder, setting damaged and foreign files aside, and rebuilding the tables. Needs no torch."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import environment
from benchmarks.common.atomic_files import MODEL_SUFFIX, SNAPSHOT_SUFFIX, Record
from benchmarks.common.errors import DamageError, ExitCode, UserError, printable
from benchmarks.runs import cell_files, manifests

SET_ASIDE = "set-aside"
# temporary files of atomic_files.write_bytes, of this version and of earlier ones
LEFTOVER = re.compile(r"\..+\.(json|npz|safetensors|snapshot|partial|csv)-([0-9]+-)?[a-z0-9_]{8}")


def _cells(folder: Path) -> Iterator[tuple[Path, Record | DamageError]]:
    """Yield the path of each cell file with its record, or with the error if it is damaged."""
    for path in sorted((folder / "cells").glob("*.json")):
        try:
            if record := cell_files.read_cell(folder, path.stem):
                yield path, record
        except DamageError as damage:
            yield path, damage


def readable_records(folder: Path) -> Iterator[Record]:
    """Return the records of all undamaged cell files."""
    return (record for _, record in _cells(folder) if not isinstance(record, DamageError))


def rebuild_tables(folder: Path, write_tables: Callable[[Path, list[Record]], str]) -> ExitCode:
    """Write the tables again from the cells. write_tables: (folder, records) -> the names of the files."""
    records = {}
    for path, record in _cells(folder):
        if isinstance(record, DamageError):
            print(printable(f"{path} is damaged: {record}"), file=sys.stderr)
        else:
            records[path.stem] = record
    try:
        manifest = manifests.read_manifest(folder)
    except DamageError as damage:
        print(
            f"{folder / manifests.MANIFEST_FILE} is damaged: {damage}; run the same command again to restore it",
            file=sys.stderr,
        )
        manifest = manifests.rebuild_manifest(records.values())
    ids = [cell["cell_id"] for cell in manifest["cells"]] if manifest else sorted(records)
    planned = [records[i] for i in ids if i in records]
    if not planned:
        raise UserError(f"{folder} has no readable cell, so there is nothing to rebuild; run the same command again")
    print(f"{write_tables(folder, planned)} in {folder}: written again from {len(planned)} cells")
    missing = len(ids) - len(planned)
    if missing:
        print(f"{missing} of {len(ids)} planned cells are missing; run the same command again", file=sys.stderr)
    return ExitCode.INCOMPLETE if missing else ExitCode.OK


def recover_folder(folder: Path) -> tuple[Record | None, dict[str, Record]]:
    """Return the manifest and the records by cell_id of a locked folder.

    Damaged files are set aside with a line on standard error. Temporary files of killed processes and snapshots of
    finished cells are deleted.
    """
    for path in [*folder.iterdir(), *(folder / "cells").iterdir()]:
        if LEFTOVER.fullmatch(path.name):
            path.unlink()
    records: dict[str, Record] = {}
    for path, record in _cells(folder):
        if not cell_files.has_complete_images(folder, path.stem):
            record = DamageError("its images are cut off")
        if isinstance(record, DamageError):
            for file in (path, path.with_suffix(".npz"), path.with_suffix(MODEL_SUFFIX)):
                _set_aside(folder, file, f"is damaged ({record}); its cell runs again")
            continue
        records[path.stem] = record
        if cell_files.is_finished(record):
            path.with_suffix(SNAPSHOT_SUFFIX).unlink(missing_ok=True)
    try:
        manifest = manifests.read_manifest(folder)
    except DamageError as damage:
        manifest = None
        _set_aside(folder, folder / manifests.MANIFEST_FILE, f"is damaged ({damage}); it is restored from the cells")
    return manifest or manifests.rebuild_manifest(records.values()), records


def describe_stale_snapshot(folder: Path, ids: Iterable[str], commit: str) -> str:
    """Say in words which snapshot of these cells another version of the code or torch made; empty if none."""
    for path in (folder / "cells" / f"{cell_id}{SNAPSHOT_SUFFIX}" for cell_id in ids):
        try:
            with np.load(path, allow_pickle=False) as archive:
                about = json.loads(archive["about"].tobytes())
        except Exception:  # missing, or damaged in one of many ways: then its cell starts from epoch 0
            continue
        versions = {"commit": commit, "torch": environment.read_torch_version(), "code": environment.hash_source()}
        for key, version in versions.items():
            if about.get(key) != version:
                return (
                    f"{path} was saved at epoch {about.get('epoch')} by {key} {about.get(key)}, and this is {version}"
                )
    return ""


def set_aside_foreign(folder: Path, ids: set[str]) -> None:
    """Set aside the files in cells/ that do not belong to these cell_ids."""
    for path in sorted((folder / "cells").iterdir()):
        if path.suffix not in (".json", ".npz", MODEL_SUFFIX, SNAPSHOT_SUFFIX) or path.stem not in ids:
            _set_aside(folder, path, "belongs to no cell of this run")


def _set_aside(folder: Path, path: Path, reason: str) -> None:
    if not path.exists():
        return
    (folder / SET_ASIDE).mkdir(exist_ok=True)
    names = (folder / SET_ASIDE / f"{path.name}{suffix}" for suffix in ("", *(f".{i}" for i in range(1, 10_000))))
    target = next(name for name in names if not name.exists())
    path.rename(target)
    print(printable(f"{path} {reason}; it was moved to {target.parent}"), file=sys.stderr)
