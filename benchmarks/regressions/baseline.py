"""The baseline: a committed run like any other, of enough seeds, that `compare` and CI hold others against."""

from __future__ import annotations

from pathlib import Path

from benchmarks import files, manifests, report, store
from benchmarks.errors import DamageError, UserError
from benchmarks.regressions import comparison, history, reports
from benchmarks.regressions.groups import groups

SEEDS = 20  # of each variant, so that a few new ones are enough
KEPT = ("environment.json", "manifest.json", "summary.csv", "results.csv")  # what says that it is there comes last


def install(path: Path, out: Path, anew: bool = False) -> str:
    """Put the run of this results.csv in the place of the baseline; returns what changed against the old one.

    anew: also where it can't be compared with the old one, or lacks a variant of it.
    """
    results = store.read_results(path)
    for name in KEPT:
        if not (path.parent / name).is_file():
            raise UserError(f"{path.parent} has no {name}, so it is no whole run; give the folder of one")
    try:
        manifests.read(path.parent)
    except DamageError as damage:
        raise UserError(f"{path.parent / manifests.FILE} is damaged ({damage}); run the same command again") from damage
    for doubt in report.doubts(path, results):
        raise UserError(doubt)
    commits = sorted(set(results["commit"].dropna()))
    if len(commits) != 1 or "+" in commits[0]:
        raise UserError(
            f"{path.parent} was made by the code {', '.join(commits) or 'unknown'}, and a baseline is made by one "
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
    folder = out / "baseline"
    changes = "there was no baseline"
    if (folder / "results.csv").is_file():
        found = comparison.compare(store.read_results(folder / "results.csv"), results)
        changes = reports.render(found, "text")
        if not anew and (gone := [v for v in found if not v.advice and v.word in ("missing", "incomparable")]):
            others = f", and {len(gone) - 1} more" if gone[1:] else ""
            raise UserError(
                f"{gone[0].variant} on {gone[0].dataset} is {gone[0].word} against the present baseline "
                f"({gone[0].note}){others}; with --anew it is replaced all the same"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        files.write(folder / name, (path.parent / name).read_bytes())
    history.append(out / history.FILE, list(history.rows(results)))
    return changes
