"""Tables of verdicts as text, Markdown or JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.common.atomic_files import SCHEMA_VERSION, Record
from benchmarks.common.errors import printable, unknown
from benchmarks.comparison import conditions, microbenchmarks, speed
from benchmarks.comparison.verdicts import SEEDS, WORDS, Verdict, choose_exit_code
from benchmarks.reporting.formats import format_decimal, format_number, markdown_table, text_table
from benchmarks.reporting.metrics import METRIC_BY_NAME, Metric

SIDE_NAMES = ("base", "new")
VERDICT_FORMATS = ("text", "markdown", "json")
HEADERS = ("data set", "variant", "metric", "verdict", "base", "new", "difference [95 % interval]", "note")
QUIET_ADVICE = ("identical", "unchanged", "inconclusive")  # advice that the table leaves out
ACTIONS = {
    "identical": "nothing",
    "unchanged": "nothing",
    "improved": "make a new baseline",
    "inconclusive": "add seeds, or decide by the size",
    "new": "nothing",
    "regressed": "fix it; or accept it with --allow",
    "failed": "read the note; run the failed cells again",
    "missing": "accept it with --allow if it was removed on purpose",
    "incomparable": "run with the settings of the base",
}
TIME_METRICS = (*speed.SPEED_METRICS, microbenchmarks.CALL_TIME)
ALL_METRICS: dict[str, Metric] = {**METRIC_BY_NAME, **{metric.name: metric for metric in TIME_METRICS}}


def describe_side(path: Path, results: pd.DataFrame) -> Record:
    """Describe the run of this results.csv. variants, seeds: how many."""
    commits, started = (results[name].dropna().astype(str) for name in ("commit", "started"))
    return {
        "place": str(path.parent if path.name == "results.csv" else path),
        "commits": sorted(set(commits)),
        "day": min(started, default="")[:10],
        "variants": results["variant"].nunique(),
        "seeds": results["seed"].nunique(),
    }


def describe_sides(paths: Sequence[Path], tables: Sequence[pd.DataFrame]) -> list[Record]:
    """Describe base and new. conditions: the values of each condition that differs, or that has several values."""
    pairs = zip(paths, tables, conditions.merge_differing(*tables), strict=True)
    return [
        describe_side(path, table) | {"conditions": {name: sorted(values) for name, values in differing.items()}}
        for path, table, differing in pairs
    ]


def render_verdicts(
    verdicts: Sequence[Verdict],
    style: str,
    allowed: Sequence[str] = (),
    code: int | None = None,
    show_all: bool = False,
    sides: Sequence[Record] = (),
) -> str:
    """Return a table of the verdicts, worst first, and a line with their numbers and the exit code.

    Unless `show_all`, advice that needs no action is left out. JSON contains all verdicts. sides: of `describe_sides`,
    if the output is to name base and new.
    """
    if style not in VERDICT_FORMATS:
        raise unknown("format", style, (*VERDICT_FORMATS, "html"))
    if style == "json":
        return _render_json(verdicts, code, sides)
    ordered = sorted(verdicts, key=lambda v: (v.advice, WORDS.index(v.word)))
    listed = [v for v in ordered if show_all or not v.advice or v.word not in QUIET_ADVICE]
    listed = [v for v in listed if v.metric != SEEDS or v.word != "unchanged" or v.note]
    rows = [_format_row(v, allowed) for v in listed]
    head = [f"{name}: {_format_side(side)}" for name, side in zip(SIDE_NAMES, sides, strict=False)]
    head += _list_differences(sides)
    used = [i for i in range(len(HEADERS)) if style == "markdown" or any(row[i] for row in rows)]
    table = (markdown_table if style == "markdown" else text_table)(
        [HEADERS[i] for i in used], [[row[i] for i in used] for row in rows]
    )
    line_break = "  \n" if style == "markdown" else "\n"
    return "\n\n".join(filter(None, [line_break.join(head), table, _count_verdicts(ordered, allowed, code)]))


def describe_for_page(
    verdicts: Sequence[Verdict], sides: Sequence[Record], allowed: Sequence[str] = (), code: int | None = None
) -> Record:
    """Return the verdicts as a page shows them: the numbers, the texts of the table, and what to do."""
    ordered = sorted(verdicts, key=lambda v: (v.advice, WORDS.index(v.word)))
    lines = [
        record | {"texts": _format_row(v, allowed), "unit": _find_unit(v), "quiet": _needs_no_action(v)}
        for record, v in zip(_list_records(ordered), ordered, strict=True)
    ]
    note = "; ".join(f"{name}: {_format_side(side)}" for name, side in zip(SIDE_NAMES, sides, strict=True))
    if sides[0]["commits"] == sides[1]["commits"]:
        note += ". Both sides were made by the same commit"
    note = ". ".join([note, *_list_differences(sides)])
    code = choose_exit_code(verdicts, allowed) if code is None else code
    return {
        "list": lines,
        "head": HEADERS,
        "actions": ACTIONS,
        "note": note,
        "base": sides[0]["place"],
        "counts": _count_verdicts(ordered, allowed, code),
    }


def _find_unit(v: Verdict) -> str:
    """Return the unit of the difference; it is empty for logarithms of ratios, whose text is in per cent."""
    metric = ALL_METRICS.get(v.metric)
    return metric.unit if metric and metric.scale != "log" and metric not in TIME_METRICS else ""


def _needs_no_action(v: Verdict) -> bool:
    return v.word in QUIET_ADVICE if v.advice else ACTIONS[v.word] == "nothing"


def _format_side(side: Record) -> str:
    origin = f"commit {', '.join(side['commits']) or 'unknown'}, {side['day']}".rstrip(", ")
    return f"{side['place']} ({origin}; variants: {side['variants']}; seeds: {side['seeds']})"


def _list_differences(sides: Sequence[Record]) -> list[str]:
    """Return a line with the conditions that differ between the sides, if any do."""
    differing = [side.get("conditions", {}) for side in sides]
    if not any(differing):
        return []
    base, new = differing
    return [f"other conditions: {'; '.join(conditions.describe_differences(base, new, base))}"]


def _count_verdicts(verdicts: Sequence[Verdict], allowed: Sequence[str], code: int | None) -> str:
    """Return one line: the number of verdicts of each kind, first without advice, then advice, and the exit code."""
    parts = []
    for label, advice in (("", False), ("advice: ", True)):
        counts = Counter(_format_word(v, allowed) for v in verdicts if v.advice == advice)
        if counts:
            parts.append(label + ", ".join(f"{count} {word}" for word, count in counts.items()))
    parts = parts or ["nothing to compare"]
    return "; ".join(parts if code is None else [*parts, f"exit code {code}"])


def _format_row(v: Verdict, allowed: Sequence[str]) -> list[str]:
    word = _format_word(v, allowed) + (" (advice)" if v.advice else "")
    numbers = _format_value(v, v.base), _format_value(v, v.new), _format_difference(v)
    return list(map(printable, (v.dataset, v.variant, v.metric, word, *numbers, _format_note(v))))


def _format_word(v: Verdict, allowed: Sequence[str]) -> str:
    return f"{v.word} (allowed)" if choose_exit_code([v]) and not choose_exit_code([v], allowed) else v.word


def _format_value(v: Verdict, value: float) -> str:
    if math.isnan(value):
        return ""
    if v.metric == SEEDS:
        return f"{value:.0f}"
    precise = ALL_METRICS[v.metric] in (METRIC_BY_NAME["machine_fraction"], microbenchmarks.CALL_TIME)
    return f"{value:,.3g}" if precise else format_number(ALL_METRICS[v.metric], value)


def _format_difference(v: Verdict) -> str:
    if math.isnan(v.difference):
        return ""
    finite = math.isfinite(v.low) and math.isfinite(v.high)
    interval = f" [{_format_change(v, v.low)}, {_format_change(v, v.high)}]" if finite else ""
    return _format_change(v, v.difference) + interval


def _format_change(v: Verdict, value: float) -> str:
    """Return a difference with its sign; logarithms of ratios in per cent, or as a factor if they are large."""
    metric = ALL_METRICS[v.metric]
    if metric.scale != "log" and metric not in TIME_METRICS:
        return format_decimal(value, metric.decimals, "+")
    percent = 100 * math.expm1(min(value, 3.0))
    return f"{percent:+.{0 if abs(percent) >= 10 else 1}f} %" if value < 3 else f"x {math.exp(min(value, 700)):.3g}"


def _format_note(v: Verdict) -> str:
    parts = [v.note] if v.note else []
    if v.test == "ranks":
        parts.append("rank test, because of outliers")
    elif v.test == "paired t":
        parts.append("paired by turn" if ALL_METRICS[v.metric] in TIME_METRICS else "paired by seed")
    if v.word == "regressed" and v.metric != SEEDS:
        parts.append(f"p = {v.p:.2g}" if v.p >= 0.001 else "p < 0.001")
    if v.word == "inconclusive" and v.metric != SEEDS:
        parts += _explain_inconclusive(v)
    return "; ".join(parts)


def _explain_inconclusive(v: Verdict) -> list[str]:
    metric = ALL_METRICS[v.metric]
    unit = "turns" if metric in TIME_METRICS and not v.advice else "measurements" if metric in TIME_METRICS else "seeds"
    if not math.isfinite(v.smallest):
        return [f"too few {unit} for a verdict"]
    if not v.low <= 0 <= v.high:
        undirected = metric.direction == "none"
        reason = "no direction is better" if undirected else "a difference beyond the tolerance is not certain"
        return [f"the interval excludes 0, but {reason}; decide by its size"]
    parts = []
    if metric.direction != "none":
        worst = -v.smallest if metric.direction == "higher" else v.smallest
        parts.append(f"smallest detectable change: {_format_change(v, worst)}")
    if v.seeds is not None:
        parts.append(f"a clear verdict needs {v.seeds:,} {unit} per run")
    return parts


def _list_records(verdicts: Sequence[Verdict]) -> list[Record]:
    """Return the fields of each verdict; a number that is not finite is None."""
    records = []
    for v in verdicts:
        record: Record = {}
        for name, value in dataclasses.asdict(v).items():
            absent = isinstance(value, float) and not math.isfinite(value)
            record["verdict" if name == "word" else name] = None if absent else value
        records.append(record)
    return records


def _render_json(verdicts: Sequence[Verdict], code: int | None, sides: Sequence[Record]) -> str:
    records = _list_records(verdicts)
    named = dict(zip(SIDE_NAMES, sides, strict=False))
    content = {"schema_version": SCHEMA_VERSION, **named, "exit_code": code, "verdicts": records}
    return json.dumps(content, indent=1, allow_nan=False)
