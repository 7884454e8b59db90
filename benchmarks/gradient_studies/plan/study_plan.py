"""Plan the cells of the requested gradient studies."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError, unknown
from benchmarks.execution.interface import Executor, Task
from benchmarks.gradient_studies import study_cells, trained_models
from benchmarks.gradient_studies.plan import reference_models
from benchmarks.gradient_studies.plan.reference_models import PAIRED_STUDY, Inputs
from benchmarks.gradient_studies.report import tables
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.gradient_studies.study_cells import StudyCell, TrainedRuns
from benchmarks.gradient_studies.trained_models import TRAINED_STUDIES
from benchmarks.planning import cases, model_specs, planner, registry
from benchmarks.planning.plugins import read_plugins
from benchmarks.planning.protocols import checks, resolution
from benchmarks.planning.settings import Settings
from benchmarks.runs import cell_files, folders, runner
from benchmarks.runs.runner import Kind
from benchmarks.training.task import TRAINING

STUDIES_KIND = Kind(
    task=Task(lambda cells, *_: cells, study_cells.run_cell),
    write_tables=tables.write_gradients,
    note=lambda record: f", {len(record['rows'])} rows, {cell_files.elapsed_seconds(record):.0f} s",
    cost=lambda cell: len(cell.studies),
)


def plan_studies(
    names: Sequence[str],
    runs: Sequence[str],
    plugin_files: Sequence[Path],
    data_root: Path | None,
    settings: Settings,
    executor: Executor,
    out: Path,
    keep_stale: bool,
    against: str | None = None,
) -> list[StudyCell]:
    """Plan the cells of the named studies, of all if `names` is empty, and those of the pairs with `against`.

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
    if against is not None and names and PAIRED_STUDY not in names:
        raise UserError(
            f"--against {against}: pairs are compared by the study {PAIRED_STUDY} only; add --study {PAIRED_STUDY}, or "
            "remove --against"
        )
    plugins = tuple(read_plugins(plugin_files))
    registry.print_faults()
    entries = list(registry.load_registry(plugins).values())
    protocol, prepared = planner.prepare(_add_checkpoints(settings), plugins, data_root)
    checks.check_objectives(protocol, entries)
    architecture = registry.find_architecture(protocol.architecture, plugins)
    model_specs.check_architecture(protocol, prepared.facts, architecture.architecture)
    inputs = Inputs(entries, plugins, settings, protocol, prepared, architecture)
    plan: list[StudyCell] = []
    if studies := [study for study in STUDIES if study in names or (STUDIES[study].is_default and not names)]:
        plan += reference_models.plan_reference_cells(inputs, studies)
    if against is not None:
        plan += reference_models.plan_pairs(inputs, against)
    if trained:
        results = [folders.find_results(run, out) for run in runs] or make_runs(inputs, executor, out, keep_stale)
        plan.append(plan_trained_cell(inputs, trained, results))
    return plan


def _add_checkpoints(settings: Settings) -> Settings:
    checkpoints = settings.gradients.checkpoints
    if list(checkpoints) != sorted({*checkpoints}) or max(checkpoints) >= settings.epochs:
        raise UserError(
            f"the checkpoints {list(checkpoints)} of the gradient studies must ascend and come before the last epoch, "
            f"{settings.epochs}; change the checkpoints or increase the epochs"
        )
    return settings.model_copy(update={"checkpoints": (*checkpoints, settings.epochs)})


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
        protocol = dataclasses.replace(
            inputs.protocol, learning_rate=rate, checkpoints=resolution.list_checkpoints(settings)
        )
        latents = [inputs.choose_latent_dim(entry.variant) for entry in inputs.entries]
        plan = planner.plan_cells(
            inputs.entries, protocol, seeds, inputs.prepared, architecture=inputs.architecture, latent_dims=latents
        )
        name = folders.choose_run_of_cells(out, plan, keep_stale).name
        folder, _ = runner.run_cells(out, name, plan, executor, keep_stale, TRAINING)
        results.append(folder / "results.csv")
    return results
