"""Tables made anew from the cells, which are the truth. Needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import manifests, sifting, store, tables
from benchmarks.errors import DamageError, UserError
from benchmarks.files import Record
from benchmarks.laboratory import tables as laboratory


def rebuild(folder: Path) -> int:
    """Make the tables anew from the cells; 0, or 2 where one of the plan is missing or damaged."""
    found = sifting.records(folder)
    try:
        manifest = manifests.read(folder)
    except DamageError as damage:
        print(f"{folder / manifests.FILE} is damaged: {damage}; the same run makes it anew", file=sys.stderr)
        manifest = manifests.rebuilt(found.values())
    ids = [cell["cell_id"] for cell in manifest["cells"]] if manifest else sorted(found)
    records = [found[i] for i in ids if i in found]
    if not records:
        raise UserError(f"{folder} has no cell that can be read, so there is nothing to rebuild; run it again")
    _write_tables(folder, records)
    lost = len(ids) - len(records)
    if lost:
        print(f"{lost} of {len(ids)} planned cells are missing; the same run makes them", file=sys.stderr)
    return 2 if lost else 0


def _write_tables(folder: Path, records: Sequence[Record]) -> None:
    if any("study" in row for record in records for row in record["rows"]):
        laboratory.write(folder, records)
        print(f"{folder / laboratory.FILE} is made anew from {len(records)} cells")
        return
    store.write_results(folder, records)
    tables.write_summary(folder / "summary.csv", tables.summaries(store.read_results(folder / "results.csv")))
    print(f"results.csv and summary.csv in {folder} are made anew from {len(records)} cells")
