"""The comparison table as text, Markdown, CSV or LaTeX. Needs no torch."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Iterator, Sequence

from benchmarks.errors import UserError, unknown
from benchmarks.metrics import BY_NAME, TABLE, Metric
from benchmarks.statistics import Interval
from benchmarks.tables import Summary

ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
FORMATS = ("text", "markdown", "csv", "latex")
WIDTH = shutil.get_terminal_size((120, 24)).columns


def number(metric: Metric, value: float) -> str:
    """A value as a person reads it."""
    if not math.isfinite(value):
        return "diverged" if math.isinf(value) else ""
    return scientific(value) if metric.scale == "log" else decimal(value, metric.decimals)


def decimal(value: float, decimals: int, sign: str = "-") -> str:
    """With so many decimals, or two digits with a bare exponent where a seed that exploded makes it long."""
    if abs(value) < 1e9:
        return f"{value:{sign},.{decimals}f}"
    return ("+" if sign == "+" and value > 0 else "") + scientific(value)


def scientific(value: float) -> str:
    """Two digits, with a bare exponent where a plain number would be long: 0.13, 680, 13,000, 6.9e16."""
    if value == 0 or 0.001 <= abs(value) < 1e6:
        return f"{float(f'{value:.2g}'):,.6g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def mean_text(metric: Metric, i: Interval) -> str:
    """Mean ± half-width of its interval."""
    if not i.n:
        return ""
    return number(metric, i.mean) + (f" ± {number(metric, i.half_width)}" if i.n > 1 else "")


def range_text(metric: Metric, i: Interval) -> str:
    """Median [min, max]."""
    if i.n < 2:
        return ""
    return f"{number(metric, i.median)} [{number(metric, i.min)}, {number(metric, i.max)}]"


def seeds_text(s: Summary) -> str:
    """How many seeds stand behind a row, and how many were lost."""
    lost = [f"{count} {what}" for count, what in ((s.diverged, "diverged"), (s.failed, "failed")) if count]
    return ", ".join([str(s.ok), *lost])


def choose(names: Sequence[str]) -> list[Metric]:
    """Metrics by name."""
    for name in names:
        if name not in BY_NAME:
            raise unknown("metric", name, BY_NAME)
    return [BY_NAME[name] for name in names or TABLE]


def render(found: Sequence[Summary], metrics: Sequence[Metric], style: str) -> str:
    """The comparison table: mean ± 95 % t-interval over seeds, below it median [min, max]."""
    if style == "csv":
        return _long(found, metrics)
    if style not in FORMATS:
        raise UserError(f"--format {style}: there is no such format; use one of {', '.join(FORMATS)}")
    draw = {"text": _text, "markdown": _markdown, "latex": _latex}[style]
    datasets = dict.fromkeys((s.dataset, s.epoch) for s in found)
    return "\n\n".join(
        draw(f"{dataset}, epoch {epoch}", [s for s in found if (s.dataset, s.epoch) == (dataset, epoch)], metrics)
        for dataset, epoch in datasets
    )


EXPLANATION = "mean ± 95 % t-interval over seeds; below it median [min, max]"


def _grid(found: Sequence[Summary], metrics: Sequence[Metric]) -> Iterator[tuple[list[str], list[str]]]:
    for s in found:
        means = [mean_text(metric, s.metrics[metric.name]) for metric in metrics]
        ranges = [range_text(metric, s.metrics[metric.name]) for metric in metrics]
        yield [s.variant, seeds_text(s), *means], ["", "", *ranges]


def _text(title: str, found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    """As many metrics side by side as the terminal is wide, the rest below."""
    head = ["variant", "seeds", *(metric.title + ARROWS[metric.direction] for metric in metrics)]
    lines = [head, ["", "", *(metric.unit for metric in metrics)]]
    for means, ranges in _grid(found, metrics):
        lines += [means, ranges] if any(ranges) else [means]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    panels: list[list[int]] = [[]]
    for i in range(2, len(head)):
        if panels[-1] and sum(widths[j] + 2 for j in (0, 1, *panels[-1], i)) > WIDTH:
            panels.append([])
        panels[-1].append(i)
    return "\n".join([f"{title} ({EXPLANATION})", *(_panel(lines, widths, [0, 1, *panel]) for panel in panels)])


def _panel(lines: Sequence[Sequence[str]], widths: Sequence[int], columns: Sequence[int]) -> str:
    body = ["  ".join(line[i].ljust(widths[i]) for i in columns).rstrip() for line in lines]
    return "\n".join(["", *body[:2], "-" * max(map(len, body)), *body[2:]])


def _markdown(title: str, found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    def row(texts: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

    head = ["variant", "seeds", *(f"{m.title}{ARROWS[m.direction]}<br>{m.unit}" for m in metrics)]
    lines = [f"{title} ({EXPLANATION}):", "", row(head), "|" + "---|" * len(head)]
    for means, ranges in _grid(found, metrics):
        lines.append(row([f"{a}<br><sub>{b}</sub>" if b else a for a, b in zip(means, ranges, strict=True)]))
    return "\n".join(lines)


LATEX = str.maketrans(
    {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "\\": r"\textbackslash{}"}
    | {"±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "²": r"\textsuperscript{2}", "~": r"\textasciitilde{}"}
    | {"^": r"\textasciicircum{}"}
)


def _latex(title: str, found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    def row(texts: Sequence[str]) -> str:
        return " & ".join(text.translate(LATEX) for text in texts) + r" \\"

    head = ["variant", "seeds", *(metric.title + ARROWS[metric.direction] for metric in metrics)]
    lines = [
        f"% {title}; needs \\usepackage{{booktabs}}",
        r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
        r"\toprule",
    ]
    lines += [row(head), row(["", "", *(metric.unit for metric in metrics)]), r"\midrule"]
    for means, ranges in _grid(found, metrics):
        lines += [row(means), row(ranges)] if any(ranges) else [row(means)]
    caption = f"% {title}: {EXPLANATION}".replace("\n", " ")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", caption])


def _long(found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["dataset", "variant", "epoch", "metric", "unit", "seeds", "mean", "half_width", "median", "min", "max"]
    )
    for s in found:
        for metric in metrics:
            i = s.metrics[metric.name]
            values = ["" if math.isnan(v) else repr(v) for v in (i.mean, i.half_width, i.median, i.min, i.max)]
            writer.writerow([s.dataset, s.variant, s.epoch, metric.name, metric.unit, i.n, *values])
    return text.getvalue().rstrip("\n")
