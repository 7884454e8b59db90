"""Run folders: which one is meant, and which one is written to. Needs no torch."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import locks, manifests, sifting, store
from benchmarks.errors import DamageError, UserError
from benchmarks.files import NAME, Record
from benchmarks.manifests import Cell


def runs(out: Path) -> list[Path]:
    """The run folders under `out`, oldest first."""
    found = {}
    for path in out.glob(f"*/{manifests.FILE}") if out.is_dir() else ():
        with contextlib.suppress(OSError):  # it may vanish meanwhile
            found[path.parent] = path.stat().st_mtime_ns
    return sorted(found, key=lambda folder: (found[folder], folder.name))


def _with_cells(out: Path) -> list[Path]:
    """Those that hold their cells, latest first: where tables alone are kept, as of a baseline, nothing goes on."""
    return [folder for folder in reversed(runs(out)) if (folder / "cells").is_dir()]


def find_results(run: str, out: Path) -> Path:
    """The results.csv that RUN means: a run folder, a results.csv, the name of a run under `out`, or `latest`."""
    if run == "latest":
        for folder in _with_cells(out):
            if (folder / "results.csv").is_file():
                return folder / "results.csv"
        raise UserError(
            f"no run with results in {out}; start one with 'python -m benchmarks run --all', or name its folder"
        )
    for path in (Path(run), out / run):
        if path.is_file():
            return path
        if path.is_dir():
            if (path / "results.csv").is_file():
                return path / "results.csv"
            if (path / "gradients.csv").is_file():
                raise UserError(
                    f"{path} is one of the laboratory, whose table is gradients.csv; 'python -m benchmarks plot' draws "
                    "it, and here a run with a results.csv is needed"
                )
            raise UserError(
                f"{path} has no results.csv, so there is nothing to show; finish its run, make the table from its "
                "cells with 'python -m benchmarks rebuild', or name another"
            )
    raise UserError(f"there is no run {run}; give a run folder, its results.csv, a name under {out}, or 'latest'")


def find_several(run: str, out: Path) -> list[Path]:
    """The results.csv that RUN means, or those of all runs in a folder of runs, oldest first."""
    path = Path(run)
    if path.is_dir() and not (path / "results.csv").is_file() and not (path / manifests.FILE).is_file():
        found = [folder / "results.csv" for folder in runs(path) if (folder / "results.csv").is_file()]
        if found:
            return found
    return [find_results(run, out)]


def find_laboratory(run: str, out: Path) -> Path | None:
    """The gradients.csv that RUN means: a folder of the laboratory, or the file; None where it means none."""
    for path in (Path(run), out / run):
        if path.name == "gradients.csv" and path.is_file():
            return path
        if (path / "gradients.csv").is_file() and not (path / "results.csv").is_file():
            return path / "gradients.csv"
    return None


def find(run: str, out: Path) -> Path:
    """The run folder that RUN means."""
    if run == "latest" and (known := _with_cells(out)):
        return known[0]
    for path in (Path(run), out / run, Path(run).parent):
        if (path / "cells").is_dir() and (path.name == Path(run).name or Path(run).is_file()):
            return path
    raise UserError(f"{run} is no run folder: it has no cells/; give one, or a name under {out}, or 'latest'")


def choose(out: Path, name: str | None, plan: Sequence[Cell]) -> Path:
    """Where to write: the named run, an unfinished one with an equal plan, or a new one stamped with the time (UTC)."""
    if name is not None:
        return out / name
    wanted = {cell.cell_id for cell in plan}
    for folder in _with_cells(out):
        with contextlib.suppress(UserError, OSError):  # a folder that can't be read is nothing to continue
            if _same(folder, wanted) and _unfinished(folder, plan):
                return folder
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    names = (out / f"{stamp}{suffix}" for suffix in ("", *(f"-{i}" for i in range(2, 1000))))
    return next(folder for folder in names if not folder.exists())


def _same(folder: Path, wanted: set[str]) -> bool:
    try:
        return wanted == _ids(manifests.read(folder))
    except DamageError:
        found = _ids(manifests.rebuilt(sifting.readable(folder)))
        return bool(found) and found <= wanted


def _ids(manifest: Record | None) -> set[str]:
    return {cell["cell_id"] for cell in manifest["cells"]} if manifest else set()


def holding(out: Path, plan: Sequence[Cell]) -> Path | None:
    """The latest run folder whose plan has all these cells among its own."""
    wanted = {cell.cell_id for cell in plan}
    for folder in reversed(runs(out)):
        with contextlib.suppress(UserError, DamageError):
            if wanted <= _ids(manifests.read(folder)):
                return folder
    return None


def _unfinished(folder: Path, plan: Sequence[Cell]) -> bool:
    found = {record["cell_id"]: record for record in sifting.readable(folder)}
    return any(not is_finished(found.get(cell.cell_id)) for cell in plan)


def is_finished(record: Record | None) -> bool:
    """Whether a cell need not be run again."""
    return record is not None and record["status"] in store.FINISHED


def check_destination(out: Path, name: str | None) -> None:
    """Refuse a name that names no folder, and an output folder that can't be written, before anything is prepared."""
    if name is not None and (not NAME.fullmatch(name) or name == "latest"):
        raise UserError(f"--name {name!r} can't name a folder; use letters, digits and . _ + - ('latest' is taken)")
    check_writable(out)


def check_writable(folder: Path) -> None:
    """Refuse an output folder that can't be written, before anything is."""
    parent = folder
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise UserError(
            f"--out: results can't be written to {folder} ({parent}: {error.strerror}); name another folder with --out"
        ) from error


def claim(folder: Path) -> None:
    """Make it a run folder, unless it holds something else."""
    ours = {"cells", sifting.SET_ASIDE, locks.FILE, manifests.FILE}
    if folder.is_dir() and not (folder / "cells").is_dir():
        strays = sorted(path.name for path in folder.iterdir() if path.name not in ours and path.name[0] != ".")
        if strays:
            raise UserError(f"{folder} holds {strays[0]} but no cells, so it is no run folder; use another --name")
    check_writable(folder)
    (folder / "cells").mkdir(parents=True, exist_ok=True)
