"""`merge`: make one run of several run folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from benchmarks.cli import options
from benchmarks.cli.options import argument, option
from benchmarks.common.atomic_files import check_run_name
from benchmarks.common.errors import ExitCode, UserError, printable


def merge(
    runs: Annotated[list[str], argument("RUN", "Run folders, or names of runs in --out.")],
    name: Annotated[str, option("Name the new run folder.", callback=check_run_name)] = "merged",
    out: options.Destination = Path("results"),
    keep_stale: Annotated[bool, option("Accept cells that other code or another torch version made.", "no")] = False,
    figures: options.Figures = True,
    report: options.Report = True,
) -> int:
    """Merge the parts of a job array into one run, and print its table. Exit code 2 if cells are missing."""
    from benchmarks.reporting import results_table
    from benchmarks.reporting.report import report_run
    from benchmarks.runs import folders, manifests, merging

    for run in runs:
        if studies := folders.find_study_table(run, out):
            raise UserError(f"{studies} is of gradient studies; give folders that 'run' made")
    sources = [folders.find_run(run, out) for run in runs]
    records = merging.merge_runs(sources, out / name, keep_stale)
    results_table.write_results(out / name, records)
    code = report_run(out / name, records, figures, report)
    path = out / name / "results.csv"
    if shortfall := manifests.describe_shortfall(path, results_table.read_results(path)):
        print(printable(shortfall), file=sys.stderr)
        return ExitCode.INCOMPLETE
    return code
