"""The reference run: a committed run with many seeds, with which `compare` and CI compare new runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from benchmarks.common import atomic_files, locks
from benchmarks.common.errors import UserError
from benchmarks.comparison import run_comparison, verdict_tables
from benchmarks.comparison.history import history_table
from benchmarks.comparison.run_groups import group_results
from benchmarks.reporting import csv_tables, results_table
from benchmarks.runs import manifests

MIN_SEEDS = 20  # of each variant; a new run then needs only a few seeds
REPLACE_HINT = "to install the new run nevertheless, add --replace"
RUN_FILES = ("environment.json", "manifest.json", "summary.csv", "results.csv")


def install_reference(path: Path, out: Path, replace: bool = False) -> str:
    """Make the run of this results.csv the reference run; return the verdicts against the previous one.

    Raise `UserError` if the run is unsuitable. Unless `replace`, also raise it if the run lacks a variant of the
    previous one, or can't be compared with it.
    """
    results = results_table.read_results(path)
    _check_suitable(path, results)
    folder = out / "baseline"
    changes = _compare_with_previous(folder / "results.csv", path, results, replace)
    atomic_files.check_writable(out)
    out.mkdir(parents=True, exist_ok=True)
    with locks.lock_folder(out):
        rows = history_table.merge_history(out / history_table.HISTORY_FILE, list(history_table.make_rows(results)))
        _replace_folder(folder, path.parent)
        csv_tables.write_table(out / history_table.HISTORY_FILE, list(history_table.HISTORY_KINDS), rows)
    return changes


def _check_suitable(path: Path, results: pd.DataFrame) -> None:
    if path.name != "results.csv":
        raise UserError(f"{path} is not named results.csv; give the folder of a run")
    for name in RUN_FILES:
        if not (path.parent / name).is_file():
            raise UserError(f"{path.parent} has no {name}; give the folder of a complete run")
    for problem in manifests.list_problems(path, results):
        raise UserError(problem)
    commits = sorted(set(results["commit"].fillna("unknown")))
    if len(commits) != 1 or "+" in commits[0] or commits == ["unknown"]:
        raise UserError(
            f"{path.parent} was made by commit {', '.join(commits)}, but a reference run needs a single commit "
            "without uncommitted changes (+); commit the code and run again"
        )
    _check_plugins_committed(results)
    for (dataset, variant), group in group_results(results).items():
        if group.failed:
            raise UserError(f"{variant} on {dataset} has {group.failed} failed cells; run the same command again")
        completed = group.cells - group.diverged
        if completed < MIN_SEEDS:
            diverged = f" that did not diverge ({group.diverged} did)" if group.diverged else ""
            raise UserError(
                f"{variant} on {dataset} has {completed} seeds{diverged}, but a reference run needs {MIN_SEEDS} to "
                f"estimate the spread; run it with --seeds {MIN_SEEDS + group.diverged}"
            )


def _check_plugins_committed(results: pd.DataFrame) -> None:
    rows = results[results["plugin_source"].notna()].fillna({"plugin_commit": ""})
    for variant, commits in rows.groupby("variant", sort=False)["plugin_commit"].unique().items():
        if len(commits) != 1 or "+" in commits[0] or not commits[0]:
            raise UserError(
                f"the plug-in of {variant} was read from commit {', '.join(commits) or 'none'}, but a reference run "
                "needs a single commit without uncommitted changes (+); commit the plug-in and run again"
            )


def _compare_with_previous(path: Path, new: Path, results: pd.DataFrame, replace: bool) -> str:
    if not path.is_file():
        return "no previous reference run to compare with"
    try:
        previous = results_table.read_results(path)
        verdicts = run_comparison.compare_runs(previous, results)
    except UserError as error:
        if replace:
            return f"previous reference run not compared: {error}"
        raise UserError(f"the present reference run is unreadable: {error}; {REPLACE_HINT}") from error
    faults = [v for v in verdicts if not v.advice and v.word in ("missing", "incomparable")]
    if faults and not replace:
        others = f", and {len(faults) - 1} more" if faults[1:] else ""
        raise UserError(
            f"{faults[0].variant} on {faults[0].dataset} is {faults[0].word} in the comparison with the present "
            f"reference run ({faults[0].note}){others}; {REPLACE_HINT}"
        )
    sides = verdict_tables.describe_sides((path, new), (previous, results))
    return verdict_tables.render_verdicts(verdicts, "text", sides=sides)


def _replace_folder(folder: Path, run: Path) -> None:
    """Copy the files beside the old folder first, so that an error leaves the old folder unchanged."""
    new, old = (folder.with_name(f".{folder.name}-{state}") for state in ("new", "old"))
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    new.mkdir()
    for name in RUN_FILES:
        atomic_files.write_bytes(new / name, (run / name).read_bytes())
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
