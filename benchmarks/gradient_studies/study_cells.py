"""The cells of the gradient studies. Each cell is measured in a separate process."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import kernels
from benchmarks.common.atomic_files import Record
from benchmarks.gradient_studies import trained_models
from benchmarks.gradient_studies.columns import CHECKPOINTS, UNITS, Row
from benchmarks.gradient_studies.measurement import MeasurementContext
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.planning.cases import Protocol
from benchmarks.planning.registry import find_variant
from benchmarks.planning.settings import StudySettings
from benchmarks.runs import cell_files
from benchmarks.training.cell import attempt
from benchmarks.training.loop import train
from benchmarks.training.state import initial_state, setup_training
from vaezoo import Variant, elbo, pathwise
from vaezoo.testing import count_decoder_passes


class DivergedError(Exception):
    """The training of the reference model diverged."""


@dataclass(frozen=True)
class ReferenceModelCell:
    """A cell that trains a reference model, and measures variants of one architecture at its checkpoints.

    sources: texts of the plug-in files. settings: number of repeats, and the settings that the studies vary.
    """

    name: str
    fields: Record = dataclasses.field(hash=False)
    studies: tuple[str, ...]
    variants: tuple[str, ...]
    sources: tuple[str, ...]
    seed: int
    protocol: Protocol
    settings: StudySettings
    data_folder: str
    data_checksum: str
    protocol_id: str
    cell_id: str
    commit: str

    @property
    def label(self) -> str:
        return f"{self.name}, seed {self.seed}"

    @property
    def columns(self) -> Record:
        return {"variant": self.name, "dataset": self.protocol.dataset, "seed": self.seed}

    def measure(self) -> Iterator[Row]:
        """Train, and yield the rows of all studies; raises `DivergedError` if training diverges."""
        protocol = self.protocol
        variants = [find_variant(name, None, self.sources).variant for name in self.variants]
        reference = reference_variant(variants[0].architecture)
        setup = setup_training(reference, protocol, self.data_folder, self.seed)
        remaining = {
            name: set(STUDIES[name].checkpoints or CHECKPOINTS[: len(protocol.checkpoints)]) for name in self.studies
        }
        names = dict(zip(protocol.checkpoints, CHECKPOINTS, strict=False))
        for progress in train(initial_state(setup), setup):
            if not progress.finite:
                raise DivergedError(
                    f"the reference model's loss or parameters are not finite in epoch {progress.epoch}"
                )
            if not progress.due:
                continue
            checkpoint = names[progress.epoch]
            context = MeasurementContext(setup.model, setup.data.train, protocol, self.seed, checkpoint)
            for name in self.studies:
                if checkpoint in remaining[name]:
                    rows = STUDIES[name].rows(context, variants, self.settings)
                    yield from self._add_columns(rows, name, checkpoint, progress.epoch)
                    remaining[name].remove(checkpoint)
            if not any(remaining.values()):
                return

    def _add_columns(self, rows: Iterable[Row], study: str, checkpoint: str, epoch: int) -> Iterator[Row]:
        """Yield the rows with the columns that all rows of one study and checkpoint share."""
        common = {
            "study": study,
            "dataset": self.protocol.dataset,
            "seed": self.seed,
            "checkpoint": checkpoint,
            "setting": STUDIES[study].setting,
            "setting_value": epoch,
            "batch_size": self.protocol.batch_size,
            "latent_dim": self.protocol.latent_dim,
        }
        for row in rows:
            yield common | row | {"unit": UNITS[row.get("quantity", "variance")]}


@dataclass(frozen=True)
class TrainedRunsCell:
    """A cell that compares trained models from the results.csv files of runs.

    sources: texts of the plug-in files. results: paths of the files.
    """

    name: str
    fields: Record = dataclasses.field(hash=False)
    studies: tuple[str, ...]
    variants: tuple[str, ...]
    sources: tuple[str, ...]
    results: tuple[str, ...]
    seed: int
    protocol: Protocol
    data_checksum: str
    protocol_id: str
    cell_id: str
    commit: str
    data_folder: str = ""

    @property
    def label(self) -> str:
        return self.name

    @property
    def columns(self) -> Record:
        return {"variant": self.name, "dataset": self.protocol.dataset, "seed": self.seed}

    def measure(self) -> Iterator[Row]:
        """Return the rows of the studies, for all variants of the cell that the runs contain."""
        results = trained_models.read_runs([Path(path) for path in self.results])
        variants = {name: find_variant(name, None, self.sources).variant for name in self.variants}
        passes = {name: count_decoder_passes(variant) for name, variant in variants.items()}
        return trained_models.make_rows(results, passes, self.studies)


StudyCell = ReferenceModelCell | TrainedRunsCell


def reference_variant(architecture: Any) -> Variant:
    """Return the variant that is trained, so that all variants are measured at its parameters."""
    return Variant("reference", architecture, elbo, pathwise)


def run_cell(cell: StudyCell, folder: str) -> None:
    """Measure the cell in this process, and write its file to the run folder."""
    kernels.configure_kernels(cell.protocol.threads, cell.protocol.precision)
    rows: list[Row] = []
    started = cell_files.utc_now()

    def run() -> tuple[str, str]:
        try:
            rows.extend(map(_replace_infinities, cell.measure()))
        except DivergedError as error:
            return "diverged", str(error)
        return "ok", ""

    status, error, log = attempt(run)
    cell_files.write_cell(Path(folder), cell_files.make_record(cell, rows, status, error, log, started), {})


def _replace_infinities(row: Row) -> Row:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
