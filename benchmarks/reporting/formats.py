"""Format the comparison table as text, Markdown, CSV or LaTeX. Does not import torch."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest

import pandas as pd
import tabulate

from benchmarks.common.errors import UserError, unknown
from benchmarks.common.seed_statistics import Interval
from benchmarks.reporting.metrics import METRIC_BY_NAME, TABLE_METRICS, Metric
from benchmarks.reporting.results_table import COLUMNS
from benchmarks.reporting.summaries import Summary, identify_rows

ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
TABLE_FORMATS = ("text", "markdown", "csv", "latex")
MEDIANS = "median over seeds; below it minimum..maximum"
MEANS = (
    "mean ± 95 % t-interval over seeds; geometric mean with its interval for metrics on a log scale; no interval if it "
    "would contain values with another sign than all seeds"
)
SIGNIFICANT_DIGITS = 4
tabulate.MIN_PADDING = 0  # else columns are two characters wider than their headers
HEADER_WIDTH = 14  # characters of a line of the header in text


def format_number(metric: Metric, value: float, digits: int = 9) -> str:
    """Return a value with the metric's decimals: "diverged" if it is infinite, empty if it is NaN.

    digits: fewer decimals are shown if the value has more significant digits than this.
    """
    if not math.isfinite(value):
        return "diverged" if math.isinf(value) else ""
    if metric.scale == "log":
        return format_scientific(value)
    before_point = math.floor(math.log10(abs(value))) + 1 if abs(value) >= 1 else 0
    return format_decimal(value, min(metric.decimals, max(0, digits - before_point)))


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


def render_table(summaries: Sequence[Summary], metrics: Sequence[Metric], style: str, means: bool = False) -> str:
    """Return the comparison table in one of `TABLE_FORMATS`, with one part for each data set, epoch and likelihood.

    means: show means with t-intervals instead of medians with ranges.
    """
    if style == "csv":
        return _render_csv(summaries, metrics)
    if style not in TABLE_FORMATS:
        raise UserError(f"--format {style}: there is no such format; use one of {', '.join(TABLE_FORMATS)}")
    render = {"text": _render_text, "markdown": _render_markdown, "latex": _render_latex}[style]
    parts: dict[str, list[Summary]] = {}
    for summary in summaries:
        title = ", ".join(filter(None, [f"{summary.dataset}, epoch {summary.epoch}", summary.title]))
        parts.setdefault(title, []).append(summary)
    return "\n\n".join(
        render(title, MEANS if means else MEDIANS, make_comparison_rows(part, metrics, means))
        for title, part in parts.items()
    )


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str] = (), gap: int = 2) -> str:
    """Return a table as text. align: "left" or "right" for each column, by default all "left". gap: between columns."""
    text = tabulate.tabulate(rows, header, "simple", disable_numparse=True, colalign=align if align and rows else None)
    lines = text.splitlines()
    rule = next((line for line in lines if line.startswith("--")), "")
    for space in reversed([match.start() for match in re.finditer("  ", rule)] if gap == 1 else []):
        lines = [line[:space] + line[space + 1 :] for line in lines]
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in GitHub's Markdown; each | in a cell is escaped."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [header, ["---"] * len(header), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def columns_markdown() -> str:
    """Return the table of all columns in Markdown, for the documentation."""
    rows = [[f"`{c.name}`{ARROWS[c.direction] if isinstance(c, Metric) else ''}", c.unit, c.meaning] for c in COLUMNS]
    return markdown_table(["column", "unit", "meaning"], rows)


def make_comparison_rows(summaries: Sequence[Summary], metrics: Sequence[Metric], means: bool) -> list[list[str]]:
    """Return the header and one row for each variant. Cells of metrics have up to two lines.

    Lines of the header: title, unit. Lines of other rows: value, spread over seeds.
    """
    header = ["variant", "seeds", *(f"{m.title}{ARROWS[m.direction]}\n{m.unit}" for m in metrics)]
    cells = ([_format_cell(metric, s.metrics[metric.name], means) for metric in metrics] for s in summaries)
    return [header, *([s.variant, format_seeds(s), *row] for s, row in zip(summaries, cells, strict=True))]


def _format_cell(metric: Metric, interval: Interval, means: bool) -> str:
    def text(value: float) -> str:
        return format_number(metric, value, SIGNIFICANT_DIGITS)

    if interval.n < 2:
        return text(interval.median)
    if not means:
        return f"{text(interval.median)}\n{text(interval.min)}..{text(interval.max)}"
    mean, half_width = interval.mean, interval.half_width
    if metric.scale == "log":
        factor = math.exp(min(half_width, 700))
        return f"{text(mean)}\n{text(mean / factor)}..{text(mean * factor)}" if mean else text(mean)
    crosses_zero = (interval.min >= 0 > mean - half_width) or (interval.max <= 0 < mean + half_width)
    return text(mean) if crosses_zero else f"{text(mean)}\n± {format_number(metric, half_width, 3)}"


def terminal_width() -> int:
    """Return the width of the terminal in characters; 80 without a terminal."""
    return shutil.get_terminal_size((80, 24)).columns


def count_characters(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the length of the longest line in each column."""
    return [max(len(line) for cell in column for line in cell.split("\n")) for column in zip(*rows, strict=True)]


def _render_text(title: str, explanation: str, rows: list[list[str]]) -> str:
    """Put as many metrics side by side as fit the terminal, and the others below."""
    header, *body = rows
    rows = [[_wrap_lines(cell) for cell in header], *body]
    lengths, width = count_characters(rows), terminal_width()
    first = (0,) if len({row[1] for row in body}) == 1 else (0, 1)  # a number of seeds that all have is in the title
    title += "" if len(first) > 1 else f", seeds: {body[0][1]}"
    total, spaces = sum(lengths[i] for i in (*first, *range(2, len(lengths)))), len(first) + len(lengths) - 3
    gap = 1 if total + spaces <= width < total + 2 * spaces else 2  # columns stand closer only if all fit then
    panels: list[list[int]] = [[]]
    for i in range(2, len(lengths)):
        if panels[-1] and sum(lengths[j] + gap for j in (*first, *panels[-1], i)) - gap > width:
            panels.append([])
        panels[-1].append(i)
    tables = []
    for panel in panels:
        head, *lines = [[row[i] for i in (*first, *panel)] for row in rows]
        tables.append(text_table(head, lines, gap=gap))
    return "\n\n".join([textwrap.fill(f"{title} ({explanation})", width), *tables])


def _wrap_lines(cell: str) -> str:
    return "\n".join(textwrap.fill(line, HEADER_WIDTH, break_long_words=False) for line in cell.split("\n"))


def _render_markdown(title: str, explanation: str, rows: list[list[str]]) -> str:
    header, *body = rows
    header = [cell.replace("\n", "<br>") for cell in header]
    body = [[cell.replace("\n", "<br><sub>") + ("</sub>" if "\n" in cell else "") for cell in row] for row in body]
    return f"{title} ({explanation}):\n\n{markdown_table(header, body)}"


def _render_latex(title: str, explanation: str, rows: list[list[str]]) -> str:
    lines: list[tuple[str, ...]] = []
    for row in rows:
        lines += zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    align = ["left", *["right"] * (len(rows[0]) - 1)]
    body = tabulate.tabulate(lines[1:], lines[0], "latex_booktabs", disable_numparse=True, colalign=align).splitlines()
    body[3:5] = body[4], body[3]  # the units belong to the header, above the rule
    symbols = str.maketrans({"±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "²": r"\textsuperscript{2}"})
    text = "\n".join(body).translate(symbols)
    return f"% {title} ({explanation}); needs \\usepackage{{booktabs}}\n{text}"


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
