"""Verdicts as text, Markdown or JSON."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.errors import printable, unknown
from benchmarks.files import SCHEMA_VERSION
from benchmarks.formats import decimal, number
from benchmarks.metrics import BY_NAME, Metric
from benchmarks.regressions import micro, speed
from benchmarks.regressions.verdicts import SEEDS, Verdict, Word, exit_code

NAMES = ("base", "new")
FORMATS = ("text", "markdown", "json")
HEAD = ("data set", "variant", "metric", "verdict", "base", "new", "difference [95 % interval]", "note")
QUIET = ("identical", "unchanged", "inconclusive")  # advice that needs no line of its own
ORDER: tuple[Word, ...] = (
    "incomparable",
    "failed",
    "missing",
    "regressed",
    "inconclusive",
    "improved",
    "new",
    "unchanged",
    "identical",
)
TIMES = (*speed.METRICS, micro.SECONDS)
KNOWN: dict[str, Metric] = {**BY_NAME, **{metric.name: metric for metric in TIMES}}


@dataclass(frozen=True)
class Side:
    """Which run it is."""

    place: str
    commits: Sequence[str]
    day: str
    variants: int
    seeds: int

    def __str__(self) -> str:
        """In a line."""
        made = f"commit {', '.join(self.commits) or 'unknown'}, {self.day}".rstrip(", ")
        return f"{self.place}: {made}, variants {self.variants}, seeds {self.seeds}"


def side(place: Path, results: pd.DataFrame) -> Side:
    """That results.csv."""
    commits, started = (results[name].dropna().astype(str) for name in ("commit", "started"))
    folder = place.parent if place.name == "results.csv" else place
    return Side(
        str(folder), sorted(set(commits)), min(started, default="")[:10], results["variant"].nunique(),
        results["seed"].nunique(),
    )  # fmt: skip


def render(
    verdicts: Sequence[Verdict],
    style: str,
    allowed: Sequence[str] = (),
    code: int | None = None,
    whole: bool = False,
    sides: Sequence[Side] = (),
) -> str:
    """The worst first: all that gates, the advice that is news (or all of it), a line that counts. JSON has all.

    code: what the command ends with, where it is to be said. sides: base and new, where they are to be named.
    """
    if style not in FORMATS:
        raise unknown("format", style, FORMATS)
    if style == "json":
        return _json(verdicts, code, sides)
    shown = [v for v in verdicts if whole or not v.advice or v.word not in QUIET]
    shown = [v for v in shown if v.metric != SEEDS or v.word != "unchanged" or v.note]
    rows = [_row(v, allowed) for v in sorted(shown, key=lambda v: (v.advice, ORDER.index(v.word)))]
    head = [f"{name} is {one}" for name, one in zip(NAMES, sides, strict=False)]
    table = _markdown(rows) if style == "markdown" else _text(rows)
    parts = ["  \n".join(head) if style == "markdown" else "\n".join(head), table, conclusion(verdicts, allowed, code)]
    return "\n\n".join(filter(None, parts))


def conclusion(verdicts: Sequence[Verdict], allowed: Sequence[str], code: int | None) -> str:
    """How many verdicts of each kind, those that gate and those that are advice, and the exit code."""
    parts = []
    for what, own in (("", [v for v in verdicts if not v.advice]), ("advice: ", [v for v in verdicts if v.advice])):
        counts = collections.Counter((v.word, _word(v, allowed).removesuffix(" (advice)")) for v in own)
        if counts:
            said = sorted(counts, key=lambda words: ORDER.index(words[0]))
            parts.append(what + ", ".join(f"{counts[words]} {words[1]}" for words in said))
    parts = parts or ["nothing to compare"]
    return "; ".join(parts if code is None else [*parts, f"exit code {code}"])


def _row(v: Verdict, allowed: Sequence[str]) -> list[str]:
    numbers = _value(v, v.base), _value(v, v.new), _difference(v)
    return list(map(printable, (v.dataset, v.variant, v.metric, _word(v, allowed), *numbers, _note(v))))


def _word(v: Verdict, allowed: Sequence[str]) -> str:
    """The verdict, and why it leaves the exit code alone if it does."""
    if v.advice:
        return f"{v.word} (advice)"
    return f"{v.word} (allowed)" if exit_code([v]) and not exit_code([v], allowed) else v.word


def _value(v: Verdict, value: float) -> str:
    if math.isnan(value):
        return ""
    if v.metric == SEEDS:
        return f"{value:.0f}"
    precise = KNOWN[v.metric] in (BY_NAME["machine_fraction"], micro.SECONDS)
    return f"{value:,.3g}" if precise else number(KNOWN[v.metric], value)


def _difference(v: Verdict) -> str:
    """Logarithms of ratios are shown as per cent."""
    if math.isnan(v.difference):
        return ""
    interval = f" [{_step(v, v.low)}, {_step(v, v.high)}]" if math.isfinite(v.low) and math.isfinite(v.high) else ""
    return _step(v, v.difference) + interval


def _step(v: Verdict, value: float) -> str:
    if not in_ratios(v.metric):
        return decimal(value, KNOWN[v.metric].decimals, "+")
    percent = 100 * math.expm1(min(value, 3.0))
    return f"{percent:+.{0 if abs(percent) >= 10 else 1}f} %" if value < 3 else f"x {math.exp(min(value, 700)):.3g}"


def in_ratios(name: str) -> bool:
    """Whether differences of the metric are logarithms of ratios."""
    return KNOWN[name].scale == "log" or KNOWN[name] in TIMES


def _note(v: Verdict) -> str:
    parts = [v.note] if v.note else []
    if v.test == "ranks":
        parts.append("heavy tails: judged by ranks")
    elif v.test == "paired t":
        parts.append("in pairs, turn by turn" if KNOWN[v.metric] in TIMES else "in pairs of equal seeds")
    if v.word == "regressed" and v.metric != SEEDS:
        parts.append(f"p = {v.p:.2g}")
    if v.word == "inconclusive" and v.metric != SEEDS:
        parts.append(_seen(v))
    return "; ".join(part for part in parts if part)


def _seen(v: Verdict) -> str:
    """Which loss would have been seen, and what it takes to tell."""
    metric = KNOWN[v.metric]
    unit = "turns" if metric in TIMES and not v.advice else "measurements" if metric in TIMES else "seeds"
    if not math.isfinite(v.smallest):
        return f"too few {unit} to tell"
    if not v.low <= 0 <= v.high:
        return "a difference, and not surely beyond the tolerance: judge its size"
    way = -1 if metric.direction == "higher" else 1
    loss = _step(v, way * v.smallest) if in_ratios(v.metric) else _step(v, v.smallest)[1:]
    parts = [] if metric.direction == "none" else [f"a loss of {loss} is seen"]
    return "; ".join(parts if v.seeds is None else [*parts, f"{v.seeds} {unit} a side would tell"])


def _text(rows: Sequence[Sequence[str]]) -> str:
    lines = [list(HEAD), *map(list, rows)]
    used = [i for i in range(len(HEAD)) if any(row[i] for row in rows)]
    widths = {i: max(len(line[i]) for line in lines) for i in used}
    body = ["  ".join(line[i].ljust(widths[i]) for i in used).rstrip() for line in lines]
    return "\n".join([body[0], "-" * max(map(len, body)), *body[1:]])


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in (HEAD, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(HEAD), *lines[1:]])


def _json(verdicts: Sequence[Verdict], code: int | None, sides: Sequence[Side]) -> str:
    def plain(value: object) -> object:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    found = [{name: plain(value) for name, value in dataclasses.asdict(v).items()} for v in verdicts]
    for one in found:
        one["verdict"] = one.pop("word")
    named = {name: dataclasses.asdict(one) for name, one in zip(NAMES, sides, strict=False)}
    whole = {"schema_version": SCHEMA_VERSION, **named, "exit_code": code, "verdicts": found}
    return json.dumps(whole, indent=1, allow_nan=False)
