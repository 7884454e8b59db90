"""The baseline: a committed run like any other, of enough seeds, that `compare` and CI hold others against."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from benchmarks import files, folders, locks, report, store
from benchmarks.errors import UserError
from benchmarks.regressions import comparison, history, reports
from benchmarks.regressions.groups import groups

SEEDS = 20  # of each variant, so that a few new ones are enough
ANEW = "with --anew it is replaced all the same"
KEPT = ("environment.json", "manifest.json", "summary.csv", "results.csv")


def install(path: Path, out: Path, anew: bool = False) -> str:
    """Put the run of this results.csv in the place of the baseline; returns what changed against the old one.

    anew: also where it can't be compared with the old one, or lacks a variant of it.
    """
    results = store.read_results(path)
    _check(path, results)
    folder = out / "baseline"
    changes = _changes(folder / "results.csv", results, anew)
    folders.check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    with locks.locked(out):
        rows = history.with_new(out / history.FILE, list(history.rows(results)))
        _replace(folder, path.parent)
        history.write(out / history.FILE, rows)
    return changes


def _check(path: Path, results: pd.DataFrame) -> None:
    """Refuse what is no whole run of committed code with seeds enough."""
    if path.name != "results.csv":
        raise UserError(f"{path} is no results.csv of a run; give the run's folder")
    for name in KEPT:
        if not (path.parent / name).is_file():
            raise UserError(f"{path.parent} has no {name}, so it is no whole run; give the folder of one")
    for doubt in report.doubts(path, results):
        raise UserError(doubt)
    commits = sorted(set(results["commit"].fillna("unknown")))
    if len(commits) != 1 or "+" in commits[0] or commits == ["unknown"]:
        raise UserError(
            f"{path.parent} was made by the code {', '.join(commits)}, and a baseline is made by one "
            "commit without changes behind it; commit, and run again"
        )
    for (dataset, variant), group in groups(results).items():
        if group.failed:
            raise UserError(f"{variant} on {dataset} has {group.failed} failed cells; run the same command again")
        whole = group.cells - group.lost
        if whole < SEEDS:
            lost = f" that did not diverge ({group.lost} did)" if group.lost else ""
            raise UserError(
                f"{variant} on {dataset} has {whole} seeds{lost}, and a baseline needs {SEEDS} to know the spread over "
                f"them; run it with --seeds {SEEDS + group.lost}"
            )


def _changes(old: Path, results: pd.DataFrame, anew: bool) -> str:
    """What changed against the old one, or a `UserError` where the new one can't stand in for it."""
    if not old.is_file():
        return "there was no baseline"
    try:
        found = comparison.compare(store.read_results(old), results)
    except UserError as error:
        if anew:
            return f"the old baseline can't be read: {error}"
        raise UserError(f"the present baseline can't be read: {error}; {ANEW}") from error
    gone = [v for v in found if not v.advice and v.word in ("missing", "incomparable")]
    if gone and not anew:
        others = f", and {len(gone) - 1} more" if gone[1:] else ""
        raise UserError(
            f"{gone[0].variant} on {gone[0].dataset} is {gone[0].word} against the present baseline "
            f"({gone[0].note}){others}; {ANEW}"
        )
    return reports.render(found, "text")


def _replace(folder: Path, run: Path) -> None:
    """All files or none: they are written beside the old ones, and take their place."""
    fresh, old = (folder.with_name(f".{folder.name}-{what}") for what in ("new", "old"))
    for left in (fresh, old):
        shutil.rmtree(left, ignore_errors=True)
    fresh.mkdir()
    for name in KEPT:
        files.write(fresh / name, (run / name).read_bytes())
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
