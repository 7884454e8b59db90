"""`show`, `plot` and `rebuild`: tables and figures of a run."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.cli.options import Out, Run, option, split_names
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.reporting.summaries import DrawsForOne


def show(
    run: Run = "latest",
    metrics: Annotated[
        str, option("Show these metrics, separated by commas; see 'list metrics'.", "the four main metrics")
    ] = "",
    all_metrics: Annotated[bool, option("Show all metrics.", "no")] = False,
    means: Annotated[bool, option("Show means with 95 % t-intervals.", "medians with ranges")] = False,
    format_: Annotated[str, option("Print the table as text, markdown, csv or latex.", "text", "--format")] = "text",
    epoch: Annotated[int | None, option("Show the checkpoint of this epoch.", "the last")] = None,
    out: Out = Path("results"),
) -> None:
    """Print the table of a run: each metric of each variant, with its spread over seeds.

    Of gradient studies, print the findings.
    """
    from benchmarks.reporting import formats, results_table, summaries
    from benchmarks.reporting.metrics import METRICS
    from benchmarks.runs import folders, manifests

    if not metrics and epoch is None and format_ == "text" and (studies := folders.find_study_table(run, out)):
        from benchmarks.gradient_studies.report import findings, tables

        print(findings.describe_table(tables.read_gradients(studies)))
        return
    if metrics and all_metrics:
        raise UserError("--metrics and --all-metrics exclude each other; use one of them")
    table_metrics = list(METRICS) if all_metrics else formats.choose_metrics(split_names(metrics))
    path = folders.find_results(run, out)
    results = results_table.read_results(path)
    if epoch is not None and epoch not in set(results["epoch"].dropna()):
        known = ", ".join(f"{e:.0f}" for e in sorted(results["epoch"].dropna().unique()))
        raise UserError(f"--epoch {epoch}: the run has no such checkpoint; it has {known}")
    print(formats.render_table(summaries.summarize(results, epoch), table_metrics, format_, means))
    if absent := results_table.list_absent(results, split_names(metrics)):
        print(f"{path} has no values of {', '.join(absent)}", file=sys.stderr)
    if shortfall := manifests.describe_shortfall(path, results):
        print(shortfall, file=sys.stderr)
    if format_ in ("text", "markdown") and (headline := summaries.make_headline(results)):
        print(f"\n{textwrap.fill(headline, formats.terminal_width())}")


def plot(
    run: Run = "latest",
    laboratory: Annotated[
        str | None,
        option(
            "Take the draws for one of the figure hero from this run of gradient studies.",
            "the initial weights of RUN",
            metavar="RUN",
        ),
    ] = None,
    out: Out = Path("results"),
) -> None:
    """Draw the figures of a run, or of gradient studies, to the folder figures inside the run folder."""
    from benchmarks.runs import folders

    if table := folders.find_study_table(run, out):
        from benchmarks.gradient_studies.report import tables

        figure_paths = draw_studies(tables.read_gradients(table), table.parent)
    else:
        from benchmarks.reporting import report, results_table

        path = folders.find_results(run, out)
        rates = read_laboratory(laboratory, out)[1] if laboratory else None
        figure_paths = list(report.write_figures(results_table.read_results(path), path.parent, rates))
    print(*figure_paths, sep="\n")


def draw_studies(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Draw the figures of gradient studies to the folder figures inside the run folder; return their paths."""
    from benchmarks.reporting.figures import backend

    backend.import_matplotlib()
    from benchmarks.gradient_studies.report import figures

    return figures.write_figures(table, folder / "figures")


def read_laboratory(laboratory: str, out: Path) -> tuple[pd.DataFrame, DrawsForOne]:
    """Return the table of the gradient studies that --laboratory names, and its draws for one."""
    from benchmarks.reporting.figures import backend

    backend.import_matplotlib()
    from benchmarks.gradient_studies.report import exchange_figures, tables
    from benchmarks.runs import folders

    if not (path := folders.find_study_table(laboratory, out)):
        raise UserError(f"--laboratory {laboratory}: it has no gradients.csv; name a run of 'gradients'")
    table = tables.read_gradients(path)
    rates = exchange_figures.describe_draws_for_one(table)
    if not rates.texts:
        raise UserError(f"--laboratory {laboratory}: it lacks the study training; run 'gradients --study training'")
    return table, rates


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
