"""Write the summary and figures of a finished run, and print its result. Does not import torch."""

from __future__ import annotations

import contextlib
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import ExitCode, printable, shorten
from benchmarks.reporting import formats, results_table, summaries
from benchmarks.reporting.summaries import DrawsForOne, Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LINES = 10


def report_run(folder: Path, records: Sequence[Record], with_figures: bool = True, with_page: bool = True) -> int:
    """Write the summary, print table and headline, then draw figures and page on request; return the exit code.

    records: of all planned cells. The exit code is 0, or 2 if a cell failed or a result is inconsistent. A failure to
    draw is one line, and changes neither results nor exit code.
    """
    results, variants = write_summary(folder)
    print(formats.render_table(variants, formats.choose_metrics([]), "text"))
    headline = summaries.make_headline(results)
    if headline:
        print(f"\n{textwrap.fill(headline, formats.terminal_width())}")
    print(f"\n{printable(str(folder))}: results.csv, summary.csv", flush=True)
    if with_figures:
        attempt(f"plot {folder}", lambda: print(describe_figures(list(write_figures(results, folder)), folder)))
    if with_page:
        attempt(f"report {folder}", lambda: print(write_report(results, folder / "results.csv")))
    is_complete = print_failures(folder, records)
    return ExitCode.OK if is_complete else ExitCode.INCOMPLETE


def write_summary(folder: Path) -> tuple[pd.DataFrame, list[Summary]]:
    """Write summary.csv; return the rows of results.csv and their summary."""
    results = results_table.read_results(folder / "results.csv")
    variants = summaries.summarize(results)
    summaries.write_summary(folder / "summary.csv", variants)
    return results, variants


def print_failures(folder: Path, records: Sequence[Record]) -> bool:
    """Print failed cells and inconsistent results on standard error; return whether every result is good."""
    results = results_table.read_results(folder / "results.csv")
    failed_records = [record for record in records if record["status"] not in results_table.FINISHED_STATUSES]
    inconsistencies = summaries.list_inconsistencies(results)
    print_limited([_describe_failure(record, folder) for record in failed_records])
    print_limited(
        [f"inconsistent result, caused by a bug in this program or in a plug-in: {line}" for line in inconsistencies]
    )
    if failed_records:
        print(
            f"{len(failed_records)} of {len(records)} cells failed; run the same command again to repeat them",
            file=sys.stderr,
        )
    return not failed_records and not inconsistencies


def attempt(command: str, draw: Callable[[], object]) -> None:
    """Draw; if that fails, print one line with the reason and the command that draws again."""
    try:
        draw()
    except Exception as error:  # whatever it is, the results are complete
        reason = shorten(" ".join(f"{type(error).__name__}: {error}".split()), 300)
        print(printable(f"not drawn: {reason}; to try again: python -m benchmarks {command}"), file=sys.stderr)


def write_report(results: pd.DataFrame, path: Path) -> Path:
    """Write report.html beside results.csv, and return its path."""
    from benchmarks.reporting.page import contents, document

    target = path.with_name(document.PAGE)
    document.write_page(results, path, target, contents.Extras())
    return target


def describe_figures(figures: Sequence[Path], folder: Path) -> str:
    """Return the number and place of the figures."""
    return f"{len(figures)} figures in {printable(str(folder / 'figures'))}"


def _describe_failure(record: Record, folder: Path) -> str:
    cell, path = record["common"], folder / "cells" / f"{record['cell_id']}.json"
    return f"{cell['variant']} seed {cell['seed']}: {record['status']}, {record['error']} (log: {path})"


def print_limited(lines: Sequence[str]) -> None:
    """Print at most `MAX_LINES` lines on standard error, and the number of further lines."""
    for line in lines[:MAX_LINES]:
        print(printable(line), file=sys.stderr)
    if len(lines) > MAX_LINES:
        print(f"... and {len(lines) - MAX_LINES} more of this kind", file=sys.stderr)


def write_figures(results: pd.DataFrame, folder: Path, rates: DrawsForOne | None = None) -> Iterator[Path]:
    """Write all figures for which the results and the cells' image arrays have data; yield the paths of the PNGs.

    rates: the draws for one of each variant, from gradient studies; by default those of the run at its initial weights.
    """
    _import_figures()
    from benchmarks.reporting.figures import style

    has_many = results["dataset"].nunique() > 1
    for dataset, rows in results.groupby("dataset", sort=False):
        suffix = f"-{re.sub('[^A-Za-z0-9_-]+', '-', str(dataset))}" if has_many else ""
        for name, figure in _draw_figures(str(dataset), rows, folder, rates).items():
            yield style.save_figure(figure, folder / "figures" / f"{name}{suffix}")


def import_figures() -> None:
    """Import what draws figures, which takes a second; an error is reported when they are drawn."""
    with contextlib.suppress(Exception):
        _import_figures()


def _import_figures() -> None:
    from benchmarks.reporting.figures import backend

    backend.import_matplotlib()
    from benchmarks.reporting.figures import codes, curves, hero, two_networks  # noqa: F401


def draw_run(results: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Return the figures of a run by name, with the name of the data set if there are several."""
    groups = results.groupby("dataset", sort=False)
    return {
        name if len(groups) == 1 else f"{name}-{dataset}": figure
        for dataset, rows in groups
        for name, figure in _draw_figures(str(dataset), rows, folder, None).items()
    }


def _draw_figures(dataset: str, rows: pd.DataFrame, folder: Path, rates: DrawsForOne | None) -> dict[str, Figure]:
    from benchmarks.reporting.figures import codes, curves, hero, images, looks, two_networks

    figures: dict[str, Figure | None] = {**curves.draw_figures(rows)}
    by_variant = images.read_first_seeds(rows, folder)
    if by_variant:
        variant_looks = looks.assign_looks(list(dict.fromkeys(rows["variant"])))
        figures |= images.draw_strips(by_variant, dataset, variant_looks)
        if pair := codes.choose_pair(rows, by_variant):
            figures["codes"] = codes.draw_codes(pair, dataset, variant_looks)
        figures["hero"] = hero.draw_hero(rows, by_variant, rates or summaries.describe_draws_for_one(rows))
    figures["two-networks"] = two_networks.draw_two_networks(rows)
    return {name: figure for name, figure in figures.items() if figure}
