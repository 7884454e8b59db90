"""Finding the kept models of a run folder. Needs no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common.atomic_files import MODEL_SUFFIX, Record
from benchmarks.common.errors import DamageError, UserError, unknown
from benchmarks.runs import cell_files, manifests, recovery

KEEP = "give the command of the run again, with its --name and with --keep-models, which trains its cells again"


@dataclass(frozen=True)
class KeptModel:
    """A finished cell and the file of its model."""

    path: Path
    record: Record

    @property
    def variant(self) -> str:
        return str(self.record["common"]["variant"])

    @property
    def seed(self) -> int:
        return int(self.record["common"]["seed"])


def list_models(folder: Path) -> list[KeptModel]:
    """Return the kept models of a run folder, in the order of its plan; raises `UserError` if it has none."""
    models = [
        KeptModel(folder / "cells" / f"{record['cell_id']}{MODEL_SUFFIX}", record)
        for record in recovery.readable_records(folder)
        if record["status"] == "ok" and cell_files.has_model(folder, record["cell_id"])
    ]
    if not models:
        raise UserError(f"{folder} has no kept models; {KEEP}")
    with contextlib.suppress(DamageError):
        manifest = manifests.read_manifest(folder) or {"cells": []}
        order = {cell["cell_id"]: index for index, cell in enumerate(manifest["cells"])}
        models.sort(key=lambda model: order.get(model.record["cell_id"], -1))
    return models


def find_model(folder: Path, variant: str, seed: int | None) -> KeptModel:
    """Return the kept model of a variant and seed, of the lowest seed for None; raises `UserError` if it is missing."""
    seeds = {model.seed: model for model in select_models(folder, [variant])}
    if seed is None:
        seed = min(seeds)
    if seed not in seeds:
        raise UserError(
            f"{folder} has no kept model of {variant} with seed {seed}; it has the seeds {', '.join(map(str, seeds))}"
        )
    return seeds[seed]


def select_models(folder: Path, variants: Sequence[str]) -> list[KeptModel]:
    """Return the kept models of these variants, of all for an empty sequence; raises `UserError` if one is missing."""
    models = list_models(folder)
    names = {model.variant for model in models}
    for variant in variants:
        if variant not in names:
            raise unknown(f"kept model in {folder}", variant, names)
    return [model for model in models if not variants or model.variant in variants]
