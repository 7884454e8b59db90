"""`rebuild`: write the tables of a run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.cli.options import Out, Run
from benchmarks.common.atomic_files import Record


def rebuild(run: Run = "latest", out: Out = Path("results")) -> int:
    """Write a run's tables again, from the files of its cells. Exit code 2 if a cell is missing or damaged."""
    from benchmarks.runs import folders, recovery

    return recovery.rebuild_tables(folders.find_run(run, out), _write_tables)


def _write_tables(folder: Path, records: Sequence[Record]) -> str:
    if any("study" in row for record in records for row in record["rows"]):
        from benchmarks.gradient_studies.report import tables

        tables.write_gradients(folder, records)
        return tables.GRADIENTS_FILE
    from benchmarks.reporting import results_table, summaries

    results_table.write_results(folder, records)
    results = results_table.read_results(folder / "results.csv")
    summaries.write_summary(folder / "summary.csv", summaries.summarize(results))
    return "results.csv and summary.csv"
