"""`show`, `plot` and `rebuild`: tables and figures of a run."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.cli.follow import Page, follow_pages, print_page
from benchmarks.cli.options import Out, Run, option, split_names
from benchmarks.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.reporting.metrics import Metric
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
    follow: Annotated[
        bool, option("Print the table again at each checkpoint, until the run ends; Ctrl-C ends it earlier.", "no")
    ] = False,
    out: Out = Path("results"),
) -> None:
    """Print the table of a run: each metric of each variant, with its spread over seeds.

    Of a run that trains now, the table contains the finished checkpoints of running cells, apart from finished cells.
    Of gradient studies, print the findings.
    """
    from benchmarks.reporting import formats
    from benchmarks.reporting.metrics import METRICS
    from benchmarks.runs import folders

    studies = folders.find_study_table(run, out)
    if studies and follow:
        raise UserError(f"--follow: {studies} is of gradient studies, which have no checkpoints; leave the option out")
    if studies and not metrics and epoch is None and format_ == "text":
        from benchmarks.gradient_studies.report import findings, tables

        print(findings.describe_table(tables.read_gradients(studies)))
        return
    if metrics and all_metrics:
        raise UserError("--metrics and --all-metrics exclude each other; use one of them")
    table_metrics = list(METRICS) if all_metrics else formats.choose_metrics(split_names(metrics))
    path = folders.find_results(run, out, with_running=True)
    make_page = functools.partial(_make_page, path, table_metrics, split_names(metrics), format_, means, epoch)
    if follow:
        follow_pages(make_page)
        return
    page = make_page()
    if not page.table:
        raise UserError(f"there are no results yet: {'; '.join(page.notes)}; wait for a checkpoint, or add --follow")
    print_page(page)


def _make_page(
    path: Path, metrics: Sequence[Metric], named: Sequence[str], format_: str, means: bool, epoch: int | None
) -> Page:
    """Return the table of the run whose results.csv is `path`, and its status; the table may be empty while it runs.

    named: metrics that the user named; a note says which of them have no values.
    """
    from benchmarks.reporting import formats, results_table, summaries
    from benchmarks.runs import folders, manifests, running_cells

    if not path.is_file():  # the run may have ended without results
        folders.find_results(str(path.parent), path.parent, with_running=True)
    state = running_cells.read_state(path)
    results = state.results
    epochs = sorted(results["epoch"].dropna().unique())
    if epoch is not None and epoch not in epochs and epoch not in state.checkpoints:
        known = ", ".join(f"{e:.0f}" for e in epochs)
        raise UserError(f"--epoch {epoch}: the run has no such checkpoint; it has {known}")
    table = formats.render_table(state.summarize(epoch), metrics, format_, means)
    headline = summaries.make_headline(results) if table and format_ in ("text", "markdown") else ""
    if headline:
        table += f"\n\n{textwrap.fill(headline, formats.terminal_width())}"
    status = state.describe(path.parent) if state.is_running else manifests.describe_shortfall(path, results)
    absent = results_table.list_absent(results, named)
    notes = [f"{path} has no values of {', '.join(absent)}"] if absent else []
    notes += [status] if status else []
    return Page(table, tuple(notes), is_last=not state.is_running or state.finished == state.planned > 0)


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
