"""Plan the cells of the requested gradient studies."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import cache_paths, environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError, unknown
from benchmarks.execution.interface import Executor, Task
from benchmarks.gradient_studies import study_cells, trained_models
from benchmarks.gradient_studies.report import tables
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.gradient_studies.study_cells import ReferenceModelCell, StudyCell, TrainedRunsCell
from benchmarks.gradient_studies.trained_models import TRAINED_STUDIES
from benchmarks.planning import cases, datasets, planner, registry
from benchmarks.planning.cases import Protocol
from benchmarks.planning.datasets import PreparedDataset
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import Settings
from benchmarks.runs import cell_files, folders, runner
from benchmarks.runs.runner import Kind
from benchmarks.training.task import TRAINING
from vaezoo import build

STUDIES_KIND = Kind(
    task=Task(lambda cells, *_: cells, study_cells.run_cell),
    write_tables=tables.write_gradients,
    note=lambda record: f", {len(record['rows'])} rows, {cell_files.elapsed_seconds(record):.0f} s",
    cost=lambda cell: len(cell.studies),
)


@dataclass(frozen=True)
class Request:
    """Arguments of the command: studies (empty: all), runs to read, plug-in files, folder of torchvision data."""

    studies: tuple[str, ...]
    runs: tuple[str, ...]
    plugin_files: tuple[Path, ...]
    data_root: Path | None


def plan_studies(
    request: Request, settings: Settings, executor: Executor, out: Path, keep_stale: bool
) -> list[StudyCell]:
    """Plan the cells. If studies of trained models are requested without runs, make the runs first."""
    for study in request.studies:
        if study not in (*STUDIES, *TRAINED_STUDIES):
            raise unknown("study", study, (*STUDIES, *TRAINED_STUDIES))
    trained = [s for s in TRAINED_STUDIES if s in request.studies or (request.runs and not request.studies)]
    if request.runs and not trained:
        raise UserError(
            f"--run is read by the studies {' and '.join(TRAINED_STUDIES)} only; add --study {TRAINED_STUDIES[0]}, or "
            "remove --run"
        )
    sources = registry.read_plugins(request.plugin_files)
    entries = list(registry.load_registry(sources).values())
    studies = [study for study in STUDIES if study in request.studies or not request.studies]
    prepared = datasets.prepare_dataset(settings.dataset, request.data_root or cache_paths.data_root())
    plan: list[StudyCell] = []
    if studies:
        plan += plan_reference_cells(entries, studies, settings, sources, prepared)
    if trained:
        results = [folders.find_results(run, out) for run in request.runs]
        results = results or make_runs(entries, settings, prepared, executor, out, keep_stale)
        plan.append(plan_trained_cell(entries, trained, settings, sources, results, prepared))
    return plan


def resolve_study_protocol(settings: Settings) -> Protocol:
    """Return the protocol of the reference models; raises `UserError` if the checkpoints do not fit the epochs."""
    checkpoints = settings.gradients.checkpoints
    if list(checkpoints) != sorted({*checkpoints}) or max(checkpoints) >= settings.epochs:
        raise UserError(
            f"the checkpoints {list(checkpoints)} of the gradient studies must ascend and come before the last epoch, "
            f"{settings.epochs}; change the checkpoints or increase the epochs"
        )
    return planner.resolve_protocol(settings.model_copy(update={"checkpoints": (*checkpoints, settings.epochs)}))


def plan_reference_cells(
    entries: Sequence[RegisteredVariant],
    studies: Sequence[str],
    settings: Settings,
    sources: Sequence[str],
    prepared: PreparedDataset,
) -> list[ReferenceModelCell]:
    """Plan the cells of the reference models that these studies need."""
    protocol = resolve_study_protocol(settings)
    planner.check_batch_size(protocol, prepared)
    by_architecture: dict[Any, list[RegisteredVariant]] = {}
    for entry in entries:
        if build(entry.variant, planner.make_spec(protocol), 2).stochastic:
            by_architecture.setdefault(entry.variant.architecture, []).append(entry)
    if not by_architecture:
        raise UserError("no registered variant has latent noise to measure; see 'python -m benchmarks list'")
    cells = []
    for architecture, group in by_architecture.items():
        suffix = f", {architecture.__name__}" if len(by_architecture) > 1 else ""
        for latents, seed, model_studies in _reference_models(studies, settings, protocol.latent_dim):
            model_protocol = dataclasses.replace(protocol, latent_dim=latents)
            if "training" not in model_studies:  # the other studies measure at the middle checkpoint
                model_protocol = dataclasses.replace(
                    model_protocol, epochs=settings.gradients.checkpoints[-1], checkpoints=protocol.checkpoints[:-1]
                )
            name = f"{latents} latents{suffix}"
            cells.append(_make_cell(name, model_studies, group, sources, seed, model_protocol, settings, prepared))
    return cells


def _reference_models(
    studies: Sequence[str], settings: Settings, latent_dim: int
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Yield (latents, seed, studies) of each reference model."""
    fewer = settings.seeds[: settings.gradients.fewer_seeds]
    for seed in settings.seeds:
        model_studies = [s for s in studies if s == "training" or seed in fewer]
        if latent_dim not in settings.gradients.latent_dims:
            model_studies = [s for s in model_studies if s != "latent-dim"]
        if model_studies:
            yield latent_dim, seed, tuple(model_studies)
    if "latent-dim" in studies:
        for latents in sorted({*settings.gradients.latent_dims} - {latent_dim}, reverse=True):
            for seed in fewer:
                yield latents, seed, ("latent-dim",)


def _make_cell(
    name: str,
    studies: tuple[str, ...],
    group: Sequence[RegisteredVariant],
    sources: Sequence[str],
    seed: int,
    protocol: Protocol,
    settings: Settings,
    prepared: PreparedDataset,
) -> ReferenceModelCell:
    descriptions = [planner.describe_variant(entry) for entry in group]
    varied = settings.gradients.model_dump(mode="json")
    fields: Record = {"name": name, "studies": list(studies), "variants": descriptions, "laboratory": varied}
    identity = {
        "variant": fields,
        "data": prepared.checksum,
        "spec": dataclasses.asdict(planner.make_spec(protocol)),
        "protocol": dataclasses.asdict(protocol),
    }
    return ReferenceModelCell(
        name,
        fields=fields | {"name": f"{name}: {', '.join(studies)}"},
        studies=studies,
        variants=tuple(entry.variant.name for entry in group),
        sources=tuple(sources),
        seed=seed,
        protocol=protocol,
        settings=settings.gradients,
        data_folder=prepared.folder,
        data_checksum=prepared.checksum,
        protocol_id=cases.hash_identity(identity),
        cell_id=cases.hash_identity(identity | {"seed": seed}),
        commit=environment.read_commit(),
    )


def plan_trained_cell(
    entries: Sequence[RegisteredVariant],
    studies: Sequence[str],
    settings: Settings,
    sources: Sequence[str],
    results: Sequence[Path],
    prepared: PreparedDataset,
) -> TrainedRunsCell:
    """Plan the cell that reads these results.csv files; raises `UserError` if they cannot be compared."""
    protocol, dataset = resolve_study_protocol(settings), trained_models.read_runs(results)["dataset"].iloc[0]
    if dataset != protocol.dataset:
        raise UserError(
            f"--run: {results[0]} has data set {dataset}, the studies use {protocol.dataset}; add --dataset {dataset}"
        )
    name, variants = "trained models", tuple(entry.variant.name for entry in entries)
    checksums = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in results]
    fields: Record = {"name": name, "studies": list(studies), "variants": list(variants), "results": checksums}
    cell_id = cases.hash_identity(fields)
    return TrainedRunsCell(
        name,
        fields=fields | {"name": f"{name}: {', '.join(studies)}"},
        studies=tuple(studies),
        variants=variants,
        sources=tuple(sources),
        results=tuple(map(str, results)),
        seed=0,
        protocol=protocol,
        data_checksum=prepared.checksum,
        protocol_id=cell_id,
        cell_id=cell_id,
        commit=environment.read_commit(),
    )


def make_runs(
    entries: Sequence[RegisteredVariant],
    settings: Settings,
    prepared: PreparedDataset,
    executor: Executor,
    out: Path,
    keep_stale: bool,
) -> list[Path]:
    """Make a run for each learning rate, or continue the run folder with the same plan; return their results.csv."""
    results = []
    for rate in settings.gradients.learning_rates:
        seeds = settings.seeds[: settings.gradients.fewer_seeds]
        protocol = planner.resolve_protocol(settings.model_copy(update={"learning_rate": rate}))
        plan = planner.plan_cells(entries, protocol, seeds, prepared)
        folder = folders.find_run_of_cells(out, plan) or folders.choose_folder(out, None, plan)
        runner.run_cells(folder, plan, executor, keep_stale, TRAINING)
        results.append(folder / "results.csv")
    return results
