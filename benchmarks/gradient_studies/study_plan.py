"""Plan the cells of the requested gradient studies."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Sequence
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
from benchmarks.gradient_studies.study_cells import ReferenceModel, StudyCell, TrainedRuns
from benchmarks.gradient_studies.trained_models import TRAINED_STUDIES
from benchmarks.planning import cases, datasets, planner, registry
from benchmarks.planning.cases import Protocol
from benchmarks.planning.datasets import PreparedDataset
from benchmarks.planning.plugins import Plugin, read_plugins
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
class Inputs:
    """What the cells share. protocol: that of the reference models."""

    entries: Sequence[RegisteredVariant]
    plugins: tuple[Plugin, ...]
    settings: Settings
    protocol: Protocol
    prepared: PreparedDataset


def plan_studies(
    names: Sequence[str],
    runs: Sequence[str],
    plugin_files: Sequence[Path],
    data_root: Path | None,
    settings: Settings,
    executor: Executor,
    out: Path,
    keep_stale: bool,
) -> list[StudyCell]:
    """Plan the cells of the named studies, of all if `names` is empty.

    If studies of trained models are requested without runs, make the runs first.
    """
    for name in names:
        if name not in (*STUDIES, *TRAINED_STUDIES):
            raise unknown("study", name, (*STUDIES, *TRAINED_STUDIES))
    trained = tuple(s for s in TRAINED_STUDIES if s in names or (runs and not names))
    if runs and not trained:
        raise UserError(
            f"--run is read by the studies {' and '.join(TRAINED_STUDIES)} only; add --study {TRAINED_STUDIES[0]}, or "
            "remove --run"
        )
    plugins = tuple(read_plugins(plugin_files))
    entries = list(registry.load_registry(plugins).values())
    prepared = datasets.prepare_dataset(settings.dataset, data_root or cache_paths.data_root())
    inputs = Inputs(entries, plugins, settings, _resolve_protocol(settings), prepared)
    plan: list[StudyCell] = []
    if studies := [study for study in STUDIES if study in names or not names]:
        plan += plan_reference_cells(inputs, studies)
    if trained:
        results = [folders.find_results(run, out) for run in runs] or make_runs(inputs, executor, out, keep_stale)
        plan.append(plan_trained_cell(inputs, trained, results))
    return plan


def _resolve_protocol(settings: Settings) -> Protocol:
    checkpoints = settings.gradients.checkpoints
    if list(checkpoints) != sorted({*checkpoints}) or max(checkpoints) >= settings.epochs:
        raise UserError(
            f"the checkpoints {list(checkpoints)} of the gradient studies must ascend and come before the last epoch, "
            f"{settings.epochs}; change the checkpoints or increase the epochs"
        )
    return planner.resolve_protocol(settings.model_copy(update={"checkpoints": (*checkpoints, settings.epochs)}))


def _is_stochastic(entry: RegisteredVariant, protocol: Protocol) -> bool:
    try:
        return build(entry.variant, planner.make_spec(protocol), 2).stochastic
    except Exception:  # the architecture of a plug-in can raise anything; its cell reports the error
        return True


def plan_reference_cells(inputs: Inputs, studies: Sequence[str]) -> list[StudyCell]:
    """Plan the cells of the reference models that these studies need."""
    protocol, varied, seeds = inputs.protocol, inputs.settings.gradients, inputs.settings.seeds
    planner.check_batch_size(protocol, inputs.prepared)
    # a variant of a plug-in has cells of its own, so that it can't change or end the measurement of other variants
    groups: dict[tuple[Any, str], list[RegisteredVariant]] = {}
    for entry in inputs.entries:
        if _is_stochastic(entry, protocol):
            key = entry.variant.architecture, entry.variant.name if entry.fingerprint else ""
            groups.setdefault(key, []).append(entry)
    if not groups:
        raise UserError("no registered variant has latent noise to measure; see 'python -m benchmarks list'")
    architectures = {architecture for architecture, plugin in groups if not plugin}
    latent_dims = [protocol.latent_dim, *sorted({*varied.latent_dims} - {protocol.latent_dim}, reverse=True)]
    cells: list[StudyCell] = []
    for ((architecture, plugin), group), latents, seed in itertools.product(groups.items(), latent_dims, seeds):
        model_studies = tuple(
            study
            for study in studies
            if (latents in varied.latent_dims if study == "latent-dim" else latents == protocol.latent_dim)
            and (study == "training" or seed in seeds[: varied.fewer_seeds])
        )
        if not model_studies:
            continue
        model_protocol = dataclasses.replace(protocol, latent_dim=latents)
        if "training" not in model_studies:  # the other studies measure at the middle checkpoint
            model_protocol = dataclasses.replace(
                model_protocol, epochs=varied.checkpoints[-1], checkpoints=varied.checkpoints
            )
        name = f"{latents} latents"
        if plugin or len(architectures) > 1:
            name += f", {plugin or architecture.__name__}"
        fields: Record = {
            "name": name,
            "studies": list(model_studies),
            "variants": [planner.describe_variant(entry) for entry in group],
            "laboratory": varied.model_dump(mode="json"),
        }
        identity = {
            "variant": fields,
            "data": inputs.prepared.checksum,
            "spec": dataclasses.asdict(planner.make_spec(model_protocol)),
            "protocol": dataclasses.asdict(model_protocol),
        }
        cells.append(
            StudyCell(
                label=f"{name}, seed {seed}",
                name=name,
                models=ReferenceModel(varied),
                fields=fields | {"name": f"{name}: {', '.join(model_studies)}"},
                studies=model_studies,
                variants=tuple(entry.variant.name for entry in group),
                plugins=inputs.plugins,
                seed=seed,
                protocol=model_protocol,
                data_folder=inputs.prepared.folder,
                data_checksum=inputs.prepared.checksum,
                protocol_id=cases.hash_identity(identity),
                cell_id=cases.hash_identity(identity | {"seed": seed}),
                commit=environment.read_commit(),
            )
        )
    return cells


def plan_trained_cell(inputs: Inputs, studies: tuple[str, ...], results: Sequence[Path]) -> StudyCell:
    """Plan the cell that reads these results.csv files; raises `UserError` if they cannot be compared."""
    protocol, dataset = inputs.protocol, trained_models.read_runs(results)["dataset"].iloc[0]
    if dataset != protocol.dataset:
        raise UserError(
            f"--run: {results[0]} has data set {dataset}, the studies use {protocol.dataset}; add --dataset {dataset}"
        )
    name, variants = "trained models", tuple(entry.variant.name for entry in inputs.entries)
    checksums = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in results]
    fields: Record = {"name": name, "studies": list(studies), "variants": list(variants), "results": checksums}
    cell_id = cases.hash_identity(fields)
    return StudyCell(
        label=name,
        name=name,
        models=TrainedRuns(tuple(map(str, results))),
        fields=fields | {"name": f"{name}: {', '.join(studies)}"},
        studies=studies,
        variants=variants,
        plugins=inputs.plugins,
        seed=0,
        protocol=protocol,
        data_checksum=inputs.prepared.checksum,
        protocol_id=cell_id,
        cell_id=cell_id,
        commit=environment.read_commit(),
    )


def make_runs(inputs: Inputs, executor: Executor, out: Path, keep_stale: bool) -> list[Path]:
    """Make a run for each learning rate, or continue the run folder with the same plan; return their results.csv."""
    settings, results = inputs.settings, []
    for rate in settings.gradients.learning_rates:
        seeds = settings.seeds[: settings.gradients.fewer_seeds]
        protocol = planner.resolve_protocol(settings.model_copy(update={"learning_rate": rate}))
        plan = planner.plan_cells(inputs.entries, protocol, seeds, inputs.prepared)
        name = folders.find_run_of_cells(out, plan)
        folder, _ = runner.run_cells(out, name, plan, executor, keep_stale, TRAINING)
        results.append(folder / "results.csv")
    return results
