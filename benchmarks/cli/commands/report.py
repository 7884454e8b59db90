"""`report`: one HTML page of a run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.cli.options import Run, option

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.common.atomic_files import Record
    from benchmarks.reporting.page.contents import Extras
RESULTS = Path("results")  # names of runs are looked up here


def report(
    run: Run = "latest",
    against: Annotated[
        str | None, option("Compare with this reference run, and show the verdicts.", "none", metavar="BASE")
    ] = None,
    laboratory: Annotated[
        str | None, option("Show the draws for one from this run of gradient studies.", "none", metavar="RUN")
    ] = None,
    out: Annotated[Path | None, option("Write the page to this file.", "report.html in the run folder")] = None,
) -> None:
    """Write one HTML page with the tables, curves, pictures and verdicts of a run; it works without a network."""
    from benchmarks.gradient_studies.report import tables
    from benchmarks.reporting import results_table
    from benchmarks.reporting.page import contents, document
    from benchmarks.reproduction import references
    from benchmarks.runs import folders

    if studies := folders.find_study_table(run, RESULTS):
        print(write_study_page(tables.read_gradients(studies), studies, out))
        return
    path = folders.find_results(run, RESULTS)
    results = results_table.read_results(path)
    extras = contents.Extras()
    if laboratory:
        extras = _read_laboratory(laboratory)
    if against:
        extras = dataclasses.replace(extras, verdicts=_compare(against, results, path))
    extras = dataclasses.replace(extras, published=references.list_published(results))
    target = out or path.with_name(document.PAGE)
    document.write_page(results, path, target, extras)
    print(target)


def write_study_page(table: pd.DataFrame, path: Path, out: Path | None = None) -> Path:
    """Write the page of gradient studies, by default beside their gradients.csv; return its path."""
    from benchmarks.gradient_studies.columns import CHECKPOINTS
    from benchmarks.reporting.figures import backend

    backend.import_matplotlib()
    from benchmarks.gradient_studies.report import exchange_figures, findings
    from benchmarks.reporting.page import contents, document

    extras = contents.Extras(exchange_figures.list_exchange_rates(table), CHECKPOINTS)
    target = out or path.with_name(document.PAGE)
    document.write_study_page(table, path, target, findings.list_findings(table), extras)
    return target


def _read_laboratory(laboratory: str) -> Extras:
    from benchmarks.cli.commands.show import read_laboratory
    from benchmarks.gradient_studies.columns import CHECKPOINTS
    from benchmarks.reporting.page.contents import Extras

    table, rates = read_laboratory(laboratory, RESULTS)
    from benchmarks.gradient_studies.report import exchange_figures

    return Extras(exchange_figures.list_exchange_rates(table), CHECKPOINTS, rates)


def _compare(base: str, results: pd.DataFrame, path: Path) -> Record:
    from benchmarks.comparison import run_comparison, verdict_tables
    from benchmarks.reporting import results_table
    from benchmarks.runs import folders

    base_path = folders.find_results(base, RESULTS)
    reference = results_table.read_results(base_path)
    verdicts = run_comparison.compare_runs(reference, results)
    sides = verdict_tables.describe_sides((base_path, path), (reference, results))
    return verdict_tables.describe_for_page(verdicts, sides)
