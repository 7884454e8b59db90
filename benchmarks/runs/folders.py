"""Finding the run folder that an argument names, and choosing the one that a run writes to. Needs no torch."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.common import environment, locks
from benchmarks.common.atomic_files import Record, check_writable
from benchmarks.common.errors import DamageError, UserError, printable
from benchmarks.execution.interface import Cell
from benchmarks.runs import cell_files, manifests, recovery, running_cells


def list_runs(out: Path) -> list[Path]:
    """Return the run folders under `out`, oldest first."""
    times = {}
    for path in out.glob(f"*/{manifests.MANIFEST_FILE}") if out.is_dir() else ():
        with contextlib.suppress(OSError):  # another process may delete it now
            times[path.parent] = path.stat().st_mtime_ns
    return sorted(times, key=lambda folder: (times[folder], folder.name))


def _list_runs_with_cells(out: Path) -> list[Path]:
    # latest first; the folder of a reference run keeps only tables, and can't be continued
    return [folder for folder in reversed(list_runs(out)) if (folder / "cells").is_dir()]


def find_results(run: str, out: Path, with_running: bool = False) -> Path:
    """Return the results.csv of a run, given as its folder, its results.csv, its name under `out`, or `latest`.

    with_running: also of a run that trains now and has not written the file yet.
    """

    def has_results(folder: Path) -> bool:
        return (folder / "results.csv").is_file() or (with_running and running_cells.is_training(folder))

    if run == "latest":
        for folder in _list_runs_with_cells(out):
            if has_results(folder):
                return folder / "results.csv"
        raise UserError(
            f"no run with results in {out}; start one with 'python -m benchmarks run --all', or give its folder"
        )
    for path in (Path(run), out / run):
        if path.is_file():
            return path
        if path.is_dir():
            if has_results(path):
                return path / "results.csv"
            if (path / "gradients.csv").is_file():
                raise UserError(
                    f"{path} contains gradient studies, and this command needs a run with a results.csv; give one, or "
                    "draw the studies with 'python -m benchmarks plot'"
                )
            if runs := [folder.name for folder in list_runs(path)]:
                raise UserError(f"{path} is a folder of runs; name one of them: {', '.join(runs[-5:])}")
            raise UserError(
                f"{path} has no results.csv{_count_cells(path)}; finish its run, write the table from its cells with "
                "'python -m benchmarks rebuild', or give another run"
            )
    raise UserError(f"there is no run {run}; give a run folder, its results.csv, a name under {out}, or 'latest'")


def _count_cells(folder: Path) -> str:
    """Return the numbers of planned, ended and running cells in words; empty if the folder has no readable manifest."""
    with contextlib.suppress(DamageError):
        if manifest := manifests.read_manifest(folder):
            running = len(running_cells.read_partials(folder)) if locks.is_locked(folder) else 0
            ended = len(list((folder / "cells").glob("*.json")))
            return f" (planned cells: {len(manifest['cells'])}, ended: {ended}, running: {running})"
    return ""


def find_all_results(run: str, out: Path) -> list[Path]:
    """Return the results.csv of a run, or those of all runs in a folder of runs, oldest first."""
    path = Path(run)
    if path.is_dir() and not (path / "results.csv").is_file() and not (path / manifests.MANIFEST_FILE).is_file():
        tables = [folder / "results.csv" for folder in list_runs(path) if (folder / "results.csv").is_file()]
        if tables:
            return tables
    return [find_results(run, out)]


def find_study_table(run: str, out: Path) -> Path | None:
    """Return the gradients.csv of gradient studies, given as their folder or the file; None for any other run."""
    for path in (Path(run), out / run):
        table = path if path.is_file() else path / "gradients.csv"
        if table.name == "gradients.csv" and table.is_file() and not (path / "results.csv").is_file():
            return table
    return None


def find_run(run: str, out: Path) -> Path:
    """Return the run folder with cells, given as the folder, a file in it, its name under `out`, or `latest`."""
    if run == "latest" and (runs := _list_runs_with_cells(out)):
        return runs[0]
    for path in (Path(run), out / run, Path(run).parent):
        if (path / "cells").is_dir() and (path.name == Path(run).name or Path(run).is_file()):
            return path
    raise UserError(f"{run} is not a run folder with cells; give a run folder, a name under {out}, or 'latest'")


def choose_folder(out: Path, name: str | None, plan: Sequence[Cell], keep_stale: bool = False) -> Path:
    """Return the folder to write to: the named run, an unfinished run of the same cells, or a new one.

    If an unfinished run can't be continued, print why, and return another folder.
    """
    if name is not None:
        return out / name
    cell_ids = {cell.cell_id for cell in plan}
    unfinished = (folder for folder in _list_runs_with_cells(out) if _is_unfinished(folder, cell_ids))
    return _find_usable(unfinished, plan, keep_stale) or _name_folder(out)


def choose_run_of_cells(out: Path, plan: Sequence[Cell], keep_stale: bool) -> Path:
    """Return the latest run whose manifest contains all these cells; or a new folder."""
    cell_ids = {cell.cell_id for cell in plan}
    complete = (folder for folder in _list_runs_with_cells(out) if cell_ids <= _planned_ids(folder))
    return _find_usable(complete, plan, keep_stale) or _name_folder(out)


def _find_usable(candidates: Iterable[Path], plan: Sequence[Cell], keep_stale: bool) -> Path | None:
    """Return the first folder that this plan can continue; if none is left, print why the first one can't be."""
    obstacles = []
    for folder in candidates:
        if not (obstacle := _describe_obstacle(folder, plan, keep_stale)):
            return folder
        obstacles.append(f"{folder} {obstacle}")
    if obstacles:
        print(printable(f"{obstacles[0]}; this run starts in a new folder"), file=sys.stderr)
    return None


def _describe_obstacle(folder: Path, plan: Sequence[Cell], keep_stale: bool) -> str:
    """Return why this plan can't continue the run; empty if it can."""
    cells, lock = folder / "cells", folder / locks.LOCK_FILE
    modes = dict.fromkeys((folder, cells), os.R_OK | os.W_OK | os.X_OK) | {lock: os.R_OK | os.W_OK}
    modes |= dict.fromkeys([folder / manifests.MANIFEST_FILE, *cells.glob("*.json")], os.R_OK)
    for path, mode in modes.items():
        if os.path.lexists(path) and not os.access(path, mode):
            return f"can't be continued, because {path} can't be read or changed here"
    if keep_stale:
        return ""
    records = _read_finished(folder)
    if locks.is_locked(folder):
        records += running_cells.read_partials(folder).values()
    origin = describe_other_origin(records, plan[0].commit)
    if origin:
        return f"{origin} (--keep-stale continues it)"
    stale = recovery.describe_stale_snapshot(folder, (cell.cell_id for cell in plan), plan[0].commit)
    return f"can't be continued, because {stale}" if stale else ""


def describe_other_origin(records: Iterable[Record], commit: str) -> str:
    """Say in words which other code or torch made one of the records; empty if none."""
    for key, version in (("commit", commit), ("torch", environment.read_torch_version())):
        for record in records:
            recorded = record["common"][key]
            if recorded != version:
                return f"has cells made by {key} {recorded or 'unknown'}, and this is {version or 'unknown'}"
    return ""


def _name_folder(out: Path) -> Path:
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (out / f"{stamp}{suffix}" for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(folder for folder in names if not folder.exists())


def _is_unfinished(folder: Path, cell_ids: set[str]) -> bool:
    """Return whether the run has the same cells, and some of them are not finished."""
    try:
        same = cell_ids == _list_ids(manifests.read_manifest(folder))
    except DamageError:
        recovered = _list_ids(manifests.rebuild_manifest(recovery.readable_records(folder)))
        same = bool(recovered) and recovered <= cell_ids
    except UserError:  # of a newer vaezoo
        return False
    return same and not cell_ids <= {record["cell_id"] for record in _read_finished(folder)}


def _read_finished(folder: Path) -> list[Record]:
    return [record for record in recovery.readable_records(folder) if cell_files.is_finished(record)]


def _planned_ids(folder: Path) -> set[str]:
    with contextlib.suppress(UserError, DamageError):
        return _list_ids(manifests.read_manifest(folder))
    return set()


def _list_ids(manifest: Record | None) -> set[str]:
    return {cell["cell_id"] for cell in manifest["cells"]} if manifest else set()


def claim_folder(folder: Path) -> None:
    """Create the run folder; raises `UserError` if it contains files that are not a run's."""
    run_files = {"cells", recovery.SET_ASIDE, locks.LOCK_FILE, manifests.MANIFEST_FILE}
    if folder.is_dir() and not (folder / "cells").is_dir():
        strays = sorted(path.name for path in folder.iterdir() if path.name not in run_files and path.name[0] != ".")
        if strays:
            raise UserError(f"{folder} has {strays[0]} but no cells, so it is not a run folder; use another --name")
    check_writable(folder)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
