"""Merging run folders: the parts of a job array become one run. Needs no torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.common import atomic_files
from benchmarks.common.atomic_files import MODEL_SUFFIX, Record
from benchmarks.common.errors import DamageError, UserError
from benchmarks.common.locks import lock_folder
from benchmarks.runs import cell_files, folders, manifests, recovery

SHARED_FILES = ("environment.json", "dataset.json")


def merge_runs(sources: Sequence[Path], target: Path, keep_stale: bool = False) -> list[Record]:
    """Copy the cells of run folders into a new run folder; return the records of all planned cells that have one.

    A cell in several folders is copied from the first in which it is finished and has a model. Raises `UserError` if
    the folders have other protocols, data, code or versions of torch, or if the new folder exists.
    """
    if target.exists() and any(target.iterdir()):
        raise UserError(f"{target} exists; use another --name, or delete that folder")
    manifest, origins = _merge_manifests(sources), _choose_cells(sources)
    if not origins:
        raise UserError(f"{sources[0]} and the other runs have no ended cell yet; merge them when cells have ended")
    if not keep_stale:
        _check_origins([record["common"] for _, record in origins.values()])
    folders.claim_folder(target)
    try:
        _copy(sources, target, manifest, {cell_id: folder for cell_id, (folder, _) in origins.items()})
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)  # so that the same command can be given again
        raise
    return [origins[cell["cell_id"]][1] for cell in manifest["cells"] if cell["cell_id"] in origins]


def _copy(sources: Sequence[Path], target: Path, manifest: Record, origins: Mapping[str, Path]) -> None:
    with lock_folder(target):
        atomic_files.write_json(target / manifests.MANIFEST_FILE, manifest)
        for name in SHARED_FILES:
            if path := next((folder / name for folder in sources if (folder / name).is_file()), None):
                shutil.copyfile(path, target / name)
        for cell_id, folder in origins.items():
            for suffix in (".npz", MODEL_SUFFIX, ".json"):  # the record last, as in a run
                path = folder / "cells" / f"{cell_id}{suffix}"
                if path.is_file():
                    shutil.copyfile(path, target / "cells" / path.name)


def _merge_manifests(sources: Sequence[Path]) -> Record:
    merged: Record | None = None
    for folder in sources:
        try:
            manifest = manifests.read_manifest(folder)
        except DamageError as damage:
            raise UserError(
                f"{folder / manifests.MANIFEST_FILE} is damaged ({damage}); repair that run first"
            ) from damage
        if manifest is None:
            raise UserError(f"{folder} has no {manifests.MANIFEST_FILE}, so it is not a run folder; give run folders")
        shared = {key: manifest[key] for key in ("protocol", "data_checksum")}
        merged = manifests.merge_manifest(folder, merged, [cell | shared for cell in manifest["cells"]])
    if merged is None:
        raise UserError("nothing to merge; give two or more run folders")
    return merged


def _choose_cells(sources: Sequence[Path]) -> dict[str, tuple[Path, Record]]:
    """Return folder and record of each cell, by cell_id: finished if possible, and with its model."""

    def rank(folder: Path, record: Record) -> tuple[bool, bool]:
        return cell_files.is_finished(record), cell_files.has_model(folder, record["cell_id"])

    chosen: dict[str, tuple[Path, Record]] = {}
    for folder in sources:
        for record in recovery.readable_records(folder):
            cell_id = record["cell_id"]
            if cell_id not in chosen or rank(folder, record) > rank(*chosen[cell_id]):
                chosen[cell_id] = folder, record
    return chosen


def _check_origins(cells: Sequence[Record]) -> None:
    """Raise `UserError` if the cells were made by different code or versions of torch."""
    for key in ("commit", "torch"):
        versions = list(dict.fromkeys(cell[key] or "unknown" for cell in cells))
        if len(versions) > 1:
            raise UserError(
                f"the runs have cells made by {key} {versions[0]} and {versions[1]}; accept them with --keep-stale"
            )
