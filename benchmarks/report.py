"""What a run leaves to be read: summary, figures, and the last lines in the terminal. Needs no torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks import formats, manifests, store, tables
from benchmarks.errors import DamageError, printable
from benchmarks.files import Record

COMPLAINTS = 10


def conclude(folder: Path, records: Sequence[Record]) -> int:
    """Write summary and figures, print table and headline, and return the exit code: 0, or 2 where a cell failed."""
    results = store.read_results(folder / "results.csv")
    found = tables.summaries(results)
    tables.write_summary(folder / "summary.csv", found)
    drawn = list(figures(results, folder))
    print(formats.render(found, formats.choose([]), "text"))
    sentence = tables.headline(results)
    if sentence:
        print(f"\n{sentence}")
    print(f"\n{folder}: results.csv, summary.csv and {len(drawn)} figures in {folder / 'figures'}")
    failed = [record for record in records if record["status"] not in store.FINISHED]
    faults = tables.inconsistencies(results)
    complain([_failure(record, folder) for record in failed])
    complain([f"inconsistent result, a fault of the program: {fault}" for fault in faults])
    if failed:
        print(f"{len(failed)} of {len(records)} cells failed; the same command runs them again", file=sys.stderr)
    return 2 if failed or faults else 0


def shortfall(path: Path, results: pd.DataFrame) -> str:
    """What a results.csv lacks of the plan beside it: a run that is not finished, or a file that was cut."""
    try:
        manifest = manifests.read(path.parent)
    except DamageError as damage:
        return (
            f"{path.parent / manifests.FILE} is damaged ({damage}), so nobody knows whether the run is whole; "
            "run the same command again"
        )
    if manifest is None:
        return ""
    last = results.groupby("cell_id").agg({"status": "last", "epoch": "last"})
    whole = set(last.index[(last["status"] != "ok") | (last["epoch"] == manifest["protocol"].get("epochs"))])
    planned = {cell["cell_id"] for cell in manifest["cells"]}
    if planned <= whole:
        return ""
    return (
        f"{path} holds {len(planned & whole)} of {len(planned)} planned cells whole; finish the run, or make it anew "
        f"with 'python -m benchmarks rebuild {path.parent}'"
    )


def doubts(path: Path, results: pd.DataFrame) -> list[str]:
    """Why the numbers of a results.csv are not those of a whole run, a line each."""
    wrong = next(tables.contradictions(results), None)
    lines = [shortfall(path, results)]
    if wrong:
        row, reason = wrong
        lines.append(
            f"{path} contradicts itself: {row['variant']}, seed {row['seed']:.0f}, epoch {row['epoch']:.0f}: {reason}"
        )
    return [line for line in lines if line]


def _failure(record: Record, folder: Path) -> str:
    cell = record["common"]
    what = f"{cell['variant']} seed {cell['seed']}: {record['status']}, {record['error']}"
    return f"{what} (its log: {folder / 'cells' / record['cell_id']}.json)"


def complain(lines: Sequence[str]) -> None:
    """The first of them on standard error, and how many more there are."""
    for line in lines[:COMPLAINTS]:
        print(printable(line), file=sys.stderr)
    if len(lines) > COMPLAINTS:
        print(f"... and {len(lines) - COMPLAINTS} more of this kind", file=sys.stderr)


def figures(results: pd.DataFrame, folder: Path) -> Iterator[Path]:
    """Draw every figure that the results (and the pictures that cells left in the folder) allow; yields the files."""
    from benchmarks import galleries, plots  # matplotlib and seaborn take a second to import

    many = results["dataset"].nunique() > 1
    for dataset, rows in results.groupby("dataset", sort=False):
        drawn = {**plots.figures(rows), **galleries.figures(rows, folder)}
        for name, figure in drawn.items():
            suffix = f"-{re.sub('[^A-Za-z0-9_-]+', '-', str(dataset))}" if many else ""
            yield plots.save(figure, folder / "figures" / f"{name}{suffix}")
