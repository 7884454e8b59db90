"""Parts of the page that need no script: tables, lists, figures, and intervals as small drawings."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import tabulate

from benchmarks.common.atomic_files import Record
from benchmarks.reporting import formats, summaries
from benchmarks.reporting.page.pictures import Pictures, render_strip

CITATION = "vaezoo: a reproducible benchmark of variational autoencoders and their gradient estimators"
MAX_PROBLEMS, MAX_DECISIVE = 10, 3
WIDTH, HALF = 130, 4  # of an interval's drawing: pixels, tolerances on each side


def render_list(lines: Iterable[str]) -> str:
    """Return lines as a list; empty without lines."""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def render_problems(lines: Sequence[str]) -> str:
    """Return how many results contradict themselves, and the first of them."""
    count = f"Results that contradict themselves: {len(lines)}."
    return f"<p>{count}</p>{render_list(lines[:MAX_PROBLEMS])}"


def render_table(head: Sequence[str], lines: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Return a table. A line is the attributes of its row, and its cells as HTML."""
    header = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    body = "".join(f"<tr{attributes}>{''.join(f'<td>{c}</td>' for c in cells)}</tr>" for attributes, cells in lines)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"


def render_hero(contents: Record, pictures: Pictures) -> str:
    """Return the rows of all variants: how each is trained, draws for one, value and reconstructions."""
    lines = []
    for line in contents["hero"]:
        name = html.escape(line["variant"])
        first = next(iter(pictures.get(line["variant"], {}).values()), None)
        image = render_strip(first["reconstructions"], f"reconstructions of {name}") if first else ""
        value = f"{line['value']}<small>{line['range']}</small>"
        texts = [f"<b>{name}</b><small>{html.escape(line['how'])}</small>", line["draws"], value, image]
        lines.append((f' data-variant="{name}"', texts if pictures else texts[:-1]))
    head = ["how the encoder is trained", "draws for one", contents["hero_title"], "reconstructions"]
    table = render_table(head if pictures else head[:-1], lines)
    return f'{table}<p class="note">{html.escape(contents["hero_note"])}</p>'


def render_results(variants: Sequence[summaries.Summary]) -> str:
    """Return the comparison table, for a reader without JavaScript."""
    header, *rows = formats.make_comparison_rows(variants, formats.choose_metrics([]), means=False)
    table: str = tabulate.tabulate(rows, header, "html", disable_numparse=True)
    return table


def render_verdicts(verdicts: Record) -> str:
    """Return the tables of verdicts; each interval is drawn against the tolerance.

    A verdict that needs an action is always visible. The others are folded, and belong to the selection of variants.
    """
    decisive, others = [], []
    first = 0 if len({v["dataset"] for v in verdicts["list"]}) > 1 else 1  # the data set's column
    for v in verdicts["list"]:
        *texts, note = (html.escape(text) for text in v["texts"][first:])
        cells = [*texts, draw_interval(v), note, html.escape(verdicts["actions"][v["verdict"]])]
        attributes = f' data-verdict="{v["verdict"]}"'
        if v["quiet"]:
            others.append((f' data-variant="{html.escape(v["variant"])}"{attributes}', cells))
        else:
            decisive.append((attributes, cells))
    head = [*verdicts["head"][first:-1], "interval, grey: tolerance", "note", "what to do"]
    texts = [f"<p>{html.escape(verdicts[name])}</p>" for name in ("note", "counts")]
    texts.append(render_table(head, decisive) if decisive else "<p>No verdict needs an action.</p>")
    texts.append(f"<details><summary>Verdicts that need no action: {len(others)}</summary>")
    return "".join([*texts, render_table(head, others), "</details>"])


def list_decisive(verdicts: Record) -> list[str]:
    """Return one line for the counts of the verdicts, and one for each of the first that need an action."""
    decisive = [v for v in verdicts["list"] if not v["quiet"]][:MAX_DECISIVE]
    lines = [
        f"{v['variant']}, {v['metric']}: {v['texts'][3]}, difference {_describe_difference(v)}. "
        f"What to do: {verdicts['actions'][v['verdict']]}."
        for v in decisive
    ]
    note = "Advice does not change the exit code."
    return [f"Verdicts against {verdicts['base']}: {verdicts['counts']}. {note}", *lines]


def _describe_difference(v: Record) -> str:
    """Return the difference with unit and 95 % interval; 'not known' without one."""
    text: str = v["texts"][6] or "not known"
    return text.replace(" [", f" {v['unit']}".rstrip() + " [95 % interval: ")


def draw_interval(v: Record) -> str:
    """Return a drawing of a verdict's interval, in units of the tolerance; empty without an interval or tolerance."""
    if not v["tolerance"] or any(v[name] is None for name in ("low", "high", "difference")):
        return ""
    low, middle, high = (_place(v[name] / v["tolerance"]) for name in ("low", "difference", "high"))
    band = (
        f'<rect x="{_place(-1):g}" width="{_place(1) - _place(-1):g}" height="16" fill="currentColor" opacity="0.15"/>'
    )
    zero = f'<path d="M{_place(0):g} 0V16" stroke="currentColor" opacity="0.5"/>'
    interval = f'<path d="M{low:g} 8H{high:g}" stroke="currentColor" stroke-width="2"/>'
    dot = f'<circle cx="{middle:g}" cy="8" r="3.5" fill="currentColor"/>'
    label = f"{v['difference']:.3g} [{v['low']:.3g}, {v['high']:.3g}], tolerance {v['tolerance']:g}"
    drawing = f'<svg width="{WIDTH}" height="16" role="img" aria-label="{label}">{band}{zero}{interval}{dot}</svg>'
    return f"{drawing}<small>± {v['tolerance']:.3g}</small>"


def _place(tolerances: float) -> float:
    return round(WIDTH / 2 + (WIDTH / 2 - 4) * min(max(tolerances / HALF, -1), 1), 1)


def render_files(path: Path, environment: Record) -> str:
    """Return the files beside the page, the environment, and how to cite."""
    facts: dict[str, Any] = {
        "command": " ".join(environment.get("command", [])),
        "platform": environment.get("platform", ""),
        "Python": environment.get("python", ""),
        "packages": ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items()),
        "files": "results.csv (all rows), summary.csv, manifest.json, environment.json, cells/, figures/",
        "SHA-256 of results.csv": hashlib.sha256(path.read_bytes()).hexdigest(),
        "cite": f"{CITATION}; and the papers of the variants that you compare",
    }
    pairs = "".join(f"<dt>{name}</dt><dd>{html.escape(str(value))}</dd>" for name, value in facts.items() if value)
    return f"<dl>{pairs}</dl>"


def embed_figures(folder: Path, names: Iterable[str]) -> Iterable[str]:
    """Yield the figures that exist, as images inside the page."""
    for name in names:
        if (path := folder / f"{name}.svg").is_file():
            source = base64.b64encode(path.read_bytes()).decode()
            yield f'<figure><img alt="{name}" src="data:image/svg+xml;base64,{source}"></figure>'
