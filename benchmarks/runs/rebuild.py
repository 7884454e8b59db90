"""The tables of a run folder, written again from its cell files. Needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import DamageError, ExitCode, UserError
from benchmarks.runs import manifests, recovery


def rebuild_tables(folder: Path, write_tables: Callable[[Path, list[Record]], str]) -> ExitCode:
    """Write the tables again from the cells. write_tables: (folder, records) -> the names of the files."""
    records = recovery.read_records(folder)
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
