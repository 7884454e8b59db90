"""Format the comparison table as text, Markdown, CSV or LaTeX. Does not import torch."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest

import pandas as pd
from tabulate import tabulate

from benchmarks.common.errors import UserError, unknown
from benchmarks.common.seed_statistics import Interval
from benchmarks.reporting.metrics import METRIC_BY_NAME, TABLE_METRICS, Metric
from benchmarks.reporting.results_table import COLUMNS
from benchmarks.reporting.summaries import Summary, identify_rows

ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
TABLE_FORMATS = ("text", "markdown", "csv", "latex")
EXPLANATION = "mean ± 95 % t-interval over seeds; below it median [min, max]"


def format_number(metric: Metric, value: float) -> str:
    """Return a value with the metric's digits: "diverged" if it is infinite, empty if it is NaN."""
    if not math.isfinite(value):
        return "diverged" if math.isinf(value) else ""
    return format_scientific(value) if metric.scale == "log" else format_decimal(value, metric.decimals)


def format_decimal(value: float, decimals: int, sign: str = "-") -> str:
    """Return the value with this number of decimals, or as `format_scientific` if it is 1e9 or more."""
    if abs(value) < 1e9:
        return f"{value:{sign},.{decimals}f}"
    return ("+" if sign == "+" and value > 0 else "") + format_scientific(value)


def format_scientific(value: float) -> str:
    """Return the value with two digits, and with an exponent if it is long: 0.13, 680, 13,000, 6.9e16."""
    if value == 0 or 0.001 <= abs(value) < 1e6:
        return f"{float(f'{value:.2g}'):,.6g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def format_seeds(summary: Summary) -> str:
    """Return the number of seeds that are ok, and the numbers of diverged and failed seeds if there are any."""
    others = {"diverged": summary.diverged, "failed": summary.failed}
    return ", ".join([str(summary.ok), *(f"{count} {status}" for status, count in others.items() if count)])


def choose_metrics(names: Sequence[str]) -> list[Metric]:
    """Return the metrics with these names, by default those of the comparison table."""
    for name in names:
        if name not in METRIC_BY_NAME:
            raise unknown("metric", name, METRIC_BY_NAME)
    return [METRIC_BY_NAME[name] for name in names or TABLE_METRICS]


def render_table(summaries: Sequence[Summary], metrics: Sequence[Metric], style: str) -> str:
    """Return the comparison table in one of `TABLE_FORMATS`, with one part for each data set, epoch and likelihood."""
    if style == "csv":
        return _render_csv(summaries, metrics)
    if style not in TABLE_FORMATS:
        raise UserError(f"--format {style}: there is no such format; use one of {', '.join(TABLE_FORMATS)}")
    render = {"text": _render_text, "markdown": _render_markdown, "latex": _render_latex}[style]
    parts: dict[str, list[Summary]] = {}
    for summary in summaries:
        title = ", ".join(filter(None, [f"{summary.dataset}, epoch {summary.epoch}", summary.title]))
        parts.setdefault(title, []).append(summary)
    return "\n\n".join(render(title, part, metrics) for title, part in parts.items())


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str] = ()) -> str:
    """Return a table as text. align: "left" or "right" for each column, by default all "left"."""
    text = tabulate(rows, header, "simple", disable_numparse=True, colalign=align if align and rows else None)
    return "\n".join(line.rstrip() for line in text.splitlines())


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in GitHub's Markdown; each | in a cell is escaped."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def columns_markdown() -> str:
    """Return the table of all columns in Markdown, for the documentation."""
    rows = [[f"`{c.name}`{ARROWS[c.direction] if isinstance(c, Metric) else ''}", c.unit, c.meaning] for c in COLUMNS]
    return markdown_table(["column", "unit", "meaning"], rows)


def make_comparison_rows(summaries: Sequence[Summary], metrics: Sequence[Metric]) -> list[list[str]]:
    """Return the header and one row for each variant. Cells of metrics have up to two lines.

    Lines of the header: title, unit. Lines of other rows: mean ± half-width, median [min, max].
    """
    header = ["variant", "seeds", *(f"{m.title}{ARROWS[m.direction]}\n{m.unit}" for m in metrics)]
    rows = [[s.variant, format_seeds(s), *(_format_cell(m, s.metrics[m.name]) for m in metrics)] for s in summaries]
    return [header, *rows]


def _format_cell(metric: Metric, interval: Interval) -> str:
    mean, half_width, median, low, high = (
        format_number(metric, value)
        for value in (interval.mean, interval.half_width, interval.median, interval.min, interval.max)
    )
    return f"{mean} ± {half_width}\n{median} [{low}, {high}]" if interval.n > 1 else mean


def count_characters(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the length of the longest line in each column."""
    return [max(len(line) for cell in column for line in cell.split("\n")) for column in zip(*rows, strict=True)]


def _render_text(title: str, summaries: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    """Put as many metrics side by side as fit the terminal, and the others below."""
    rows = make_comparison_rows(summaries, metrics)
    lengths, width = count_characters(rows), shutil.get_terminal_size((120, 24)).columns
    panels: list[list[int]] = [[]]
    for i in range(2, len(lengths)):
        if panels[-1] and sum(lengths[j] + 2 for j in (0, 1, *panels[-1], i)) > width:
            panels.append([])
        panels[-1].append(i)
    tables = []
    for panel in panels:
        header, *body = [[row[i] for i in (0, 1, *panel)] for row in rows]
        tables.append(text_table(header, body))
    return "\n\n".join([f"{title} ({EXPLANATION})", *tables])


def _render_markdown(title: str, summaries: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    header, *rows = make_comparison_rows(summaries, metrics)
    header = [cell.replace("\n", "<br>") for cell in header]
    rows = [[cell.replace("\n", "<br><sub>") + ("</sub>" if "\n" in cell else "") for cell in row] for row in rows]
    return f"{title} ({EXPLANATION}):\n\n{markdown_table(header, rows)}"


def _render_latex(title: str, summaries: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    lines: list[tuple[str, ...]] = []
    for row in make_comparison_rows(summaries, metrics):
        lines += zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    align = ["left", *["right"] * (len(metrics) + 1)]
    body = tabulate(lines[1:], lines[0], "latex_booktabs", disable_numparse=True, colalign=align).splitlines()
    body[3:5] = body[4], body[3]  # the units belong to the header, above the rule
    symbols = str.maketrans({"±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "²": r"\textsuperscript{2}"})
    text = "\n".join(body).translate(symbols)
    return f"% {title}; needs \\usepackage{{booktabs}}\n{text}\n% {title}: {EXPLANATION}"


def _render_csv(summaries: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    rows = [
        identify_rows(summary, summaries)
        | {"metric": metric.name, "unit": metric.unit, **asdict(summary.metrics[metric.name])}
        for summary in summaries
        for metric in metrics
    ]
    table = pd.DataFrame(rows, dtype=object).rename(columns={"n": "seeds"})
    text: str = table.to_csv(index=False, lineterminator="\n")
    return text.rstrip("\n")
