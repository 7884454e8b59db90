"""The cells of the gradient studies. Each cell is measured in a separate process."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.common import kernels
from benchmarks.common.atomic_files import Record
from benchmarks.gradient_studies import trained_models
from benchmarks.gradient_studies.columns import CHECKPOINTS, UNITS, Row
from benchmarks.gradient_studies.measurement import MeasurementContext, choose_reference
from benchmarks.gradient_studies.studies import STUDIES, compare_pairs
from benchmarks.planning.cases import Protocol
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.model_specs import read_spec
from benchmarks.planning.planner import find_described
from benchmarks.planning.registry import find_variant
from benchmarks.planning.settings import StudySettings
from benchmarks.runs import cell_files
from benchmarks.training.cell import attempt
from benchmarks.training.loop import train
from benchmarks.training.state import initial_state, setup_training
from vaezoo import VARIANTS, Variant, elbo
from vaezoo.testing import count_decoder_passes


class DivergedError(Exception):
    """The training of the reference model diverged."""


class StudyError(Exception):
    """Studies that could not measure their variants."""


@dataclass(frozen=True)
class ReferenceModel:
    """Measures variants of one architecture at the checkpoints of a reference model.

    settings: number of repeats, and the settings that the studies vary. against: variant with which the others are
    compared in pairs; if it is empty, the studies are made instead.
    """

    settings: StudySettings
    against: str = ""

    def measure(self, cell: StudyCell) -> Iterator[Row]:
        """Train, and yield the rows of all studies.

        Raises `DivergedError` if training diverges, and `StudyError` after all studies if some of them failed.
        """
        protocol = cell.protocol
        variants = [find_described(description, cell.plugins).variant for description in cell.fields["variants"]]
        spec, architecture = read_spec(cell), variants[0].architecture
        estimator = choose_reference(architecture(spec, protocol.latent_dim).encoder.family)
        reference = Variant("reference", architecture, elbo, estimator, estimator.min_draws)
        setup = setup_training(reference, spec, protocol, cell.data_folder, cell.seed)
        names = dict(zip(protocol.checkpoints, CHECKPOINTS, strict=False))
        # the references of a plug-in's variant are rows of the cell of the project's variants
        measured_elsewhere = {v.name for v in VARIANTS} - {*cell.variants}
        failures: list[str] = []
        remaining = {checkpoint for name in cell.studies for checkpoint in STUDIES[name].checkpoints}
        for progress in train(initial_state(setup), setup):
            if not progress.finite:
                raise DivergedError(
                    f"the reference model's loss or parameters are not finite in epoch {progress.epoch}"
                )
            if not progress.due:
                continue
            checkpoint = names[progress.epoch]
            context = MeasurementContext(setup.model, setup.data.train, protocol, cell.seed, checkpoint)
            for name in cell.studies:
                if checkpoint not in STUDIES[name].checkpoints:
                    continue
                common = {
                    "study": name,
                    "dataset": protocol.dataset,
                    "seed": cell.seed,
                    "checkpoint": checkpoint,
                    "setting": STUDIES[name].setting,
                    "setting_value": progress.epoch,
                    "batch_size": protocol.batch_size,
                    "latent_dim": protocol.latent_dim,
                }
                make_rows = partial(compare_pairs, against=self.against) if self.against else STUDIES[name].rows
                try:
                    rows = list(make_rows(context, variants, self.settings))
                except Exception as error:  # functions of a user's variant can raise anything
                    failures.append(f"study {name}: {type(error).__name__}: {error}")
                    traceback.print_exc()
                    continue
                for row in rows:
                    if row["variant"] not in measured_elsewhere:
                        yield common | row | {"unit": UNITS[row["quantity"]]}
            remaining.discard(checkpoint)
            if not remaining:
                break
        if failures:
            raise StudyError("; ".join(failures))


@dataclass(frozen=True)
class TrainedRuns:
    """Compares trained models from the results.csv files of runs. results: paths of the files."""

    results: tuple[str, ...]

    def measure(self, cell: StudyCell) -> Iterator[Row]:
        """Return the rows of the studies, for all variants of the cell that the runs contain."""
        results = trained_models.read_runs([Path(path) for path in self.results])
        variants = {name: find_variant(name, None, cell.plugins).variant for name in cell.variants}
        passes = {name: count_decoder_passes(variant) for name, variant in variants.items()}
        return trained_models.make_rows(results, passes, cell.studies)


@dataclass(frozen=True, kw_only=True)
class StudyCell:
    """A cell of the gradient studies. models: what is measured."""

    label: str
    name: str
    models: ReferenceModel | TrainedRuns
    fields: Record = dataclasses.field(hash=False)
    studies: tuple[str, ...]
    variants: tuple[str, ...]
    plugins: tuple[Plugin, ...]
    seed: int
    protocol: Protocol
    data_folder: str = ""
    architecture_fingerprint: str = ""
    data_checksum: str
    protocol_id: str
    cell_id: str
    commit: str

    @property
    def columns(self) -> Record:
        return {"variant": self.name, "dataset": self.protocol.dataset, "seed": self.seed}


def run_cell(cell: StudyCell, folder: str) -> None:
    """Measure the cell in this process, and write its file to the run folder."""
    kernels.configure_kernels(cell.protocol.threads, cell.protocol.precision, cell.protocol.batch_size)
    rows: list[Row] = []
    started = cell_files.utc_now()

    def run() -> tuple[str, str]:
        try:
            rows.extend(map(_replace_infinities, cell.models.measure(cell)))
        except DivergedError as error:
            return "diverged", str(error)
        return "ok", ""

    status, error, log = attempt(run)
    cell_files.write_cell(Path(folder), cell_files.make_record(cell, rows, status, error, log, started))


def _replace_infinities(row: Row) -> Row:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }
