"""Write the page of a run: one HTML file with data, scripts and styles; it sends no request."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from benchmarks.common.atomic_files import Record, check_version, write_bytes
from benchmarks.common.errors import DamageError, UserError
from benchmarks.reporting import summaries
from benchmarks.reporting.page import fragments, pictures
from benchmarks.reporting.page.contents import Extras, collect_contents, collect_study_contents, describe_options
from benchmarks.reporting.page.sentences import list_sentences

TEMPLATE = Path(__file__).parent / "template"
SCRIPTS = (("d3.min.js",), ("plot.umd.min.js",), ("page.js", "lesson.js", "panels.js"))
PAGE = "report.html"
FIGURES = ("hero", "learning-curves", "gradient-variance")
STUDY_FIGURES = ("draws-for-one-all", "draws", "posterior-scale", "one-dimension")


def write_page(results: pd.DataFrame, path: Path, target: Path, extras: Extras) -> None:
    """Write the page of the run with this results.csv to `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(target, render_page(results, path, extras).encode(errors="backslashreplace"))


def render_page(results: pd.DataFrame, path: Path, extras: Extras) -> str:
    """Return the page of the run with this results.csv."""
    arrays = pictures.read_pictures(results, path.parent)
    variants = summaries.summarize(results)
    contents = collect_contents(results, variants, path, arrays, extras)
    environment = _read_json(path.parent / "environment.json")
    verdict = fragments.list_decisive(extras.verdicts) if extras.verdicts else []
    parts = {
        "heading": "In one minute",
        "problems": fragments.render_problems(summaries.list_inconsistencies(results)),
        "hero": fragments.render_hero(contents, arrays),
        "pictures": pictures.render_pictures(arrays),
        "pictures_note": pictures.NOTE,
        "sentences": fragments.render_list([*verdict, *list_sentences(results, variants, extras)]),
        "table": fragments.render_results(variants),
        "verdicts": fragments.render_verdicts(extras.verdicts) if extras.verdicts else "",
        "files": fragments.render_files(path, environment),
        "figures": "".join(fragments.embed_figures(path.parent / "figures", FIGURES)),
    }
    absent = () if extras.verdicts else ("verdicts",)
    facts = {"about": _describe_run(results, environment), "options": describe_options(environment.get("command", []))}
    return _fill_template(contents | facts, parts, absent)


def write_study_page(table: pd.DataFrame, path: Path, target: Path, findings: Iterable[str], extras: Extras) -> None:
    """Write the page of the studies with this gradients.csv: findings, draws for one, figures, the lesson."""
    environment = _read_json(path.parent / "environment.json")
    commit, torch = environment.get("commit", "unknown"), environment.get("packages", {}).get("torch", "unknown")
    about = f"Gradient studies on {', '.join(dict.fromkeys(table['dataset']))}; commit {commit}, torch {torch}."
    parts = {
        "heading": "Findings",
        "sentences": fragments.render_list(findings),
        "hero": "".join(fragments.embed_figures(path.parent / "figures", STUDY_FIGURES)),
        "files": fragments.render_files(path, environment),
    }
    contents = collect_study_contents(table, path, extras) | {"about": about}
    text = _fill_template(contents, parts, ("table", "curves", "pictures", "seeds", "cost", "verdicts"))
    write_bytes(target, text.encode(errors="backslashreplace"))


def _fill_template(contents: Record, parts: Mapping[str, str], absent: Collection[str]) -> str:
    """Return the page without the sections that are absent. A part that is not named is empty."""
    scripts = ["\n".join((TEMPLATE / name).read_text(encoding="utf-8").strip() for name in part) for part in SCRIPTS]
    texts = dict(parts) | {
        "policy": _make_policy(scripts),
        "title": html.escape(f"vaezoo: {contents['name']}"),
        "about": html.escape(contents["about"]),
        "style": (TEMPLATE / "page.css").read_text(encoding="utf-8"),
        "data": json.dumps(contents, allow_nan=False).replace("<", "\\u003c"),
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    lines = (TEMPLATE / "page.html").read_text(encoding="utf-8").splitlines()
    page = "\n".join(line for line in lines if not any(line.startswith(f'<section id="{name}">') for name in absent))
    pieces = page.split("{{")  # each later piece begins with the name of a part
    filled = (texts.get(name, "") + rest for name, _, rest in (piece.partition("}}") for piece in pieces[1:]))
    return pieces[0] + "".join(filled) + "\n"


def _make_policy(scripts: Iterable[str]) -> str:
    """Return a content security policy that allows these scripts, and forbids every request."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    sources = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:"


def _read_json(path: Path) -> Record:
    """Return the content of an environment.json; raises `UserError` if it is damaged or newer."""
    if not path.is_file():
        return {}
    try:
        content: Record = json.loads(path.read_text(encoding="utf-8"))
        check_version(content.get("schema_version", 1), path)  # the first ones have none
    except (ValueError, AttributeError, OSError, DamageError) as error:
        raise UserError(f"{path} is damaged, so the page can't describe the machine; restore or delete it") from error
    return content


def _describe_run(results: pd.DataFrame, environment: Record) -> str:
    """Return one line: data, seeds, epochs, outcomes, code and machine."""
    statuses = results.groupby("cell_id", sort=False)["status"].last().value_counts()
    outcomes = ", ".join(f"{count} {status}" for status, count in statuses.items())
    commits, versions, processors = (
        ", ".join(sorted(set(results[name].dropna().astype(str)))) for name in ("commit", "torch", "processor")
    )
    started = results["started"].dropna().astype(str).min() if results["started"].notna().any() else "unknown"
    return (
        f"{', '.join(dict.fromkeys(results['dataset']))}; variants: {results['variant'].nunique()}; "
        f"seeds: {results['seed'].nunique()}; epochs: {results['epoch'].max():.0f}. Cells: {outcomes}. "
        f"Started {started[:10]}, commit {commits}, torch {versions}, {processors}, "
        f"cores: {environment.get('cores', 'unknown')}."
    )
