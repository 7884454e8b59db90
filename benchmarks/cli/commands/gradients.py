"""`gradients`: run the gradient studies."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.options import PRESET_DEFAULT
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import ExitCode


def gradients(
    study: Annotated[
        list[str] | None,
        typer.Option(
            help="Study: training, latent-dim, draws, batch-size, posterior-scale, counter-example, learning-rate or "
            r"budget. Repeatable. \[default: all but learning-rate and budget; with --run all]"
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN",
            help="Run that the studies learning-rate and budget read, one per learning rate. Repeatable. "
            r"\[default: make these runs]",
        ),
    ] = None,
    preset: options.Preset = "default",
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    seeds: options.Seeds = None,
    repeats: Annotated[
        int | None, typer.Option(help=f"Number of gradient estimates per variance. {PRESET_DEFAULT}")
    ] = None,
    workers: options.Workers = None,
    out: options.Out = Path("results"),
    name: options.Name = None,
    keep_stale: options.KeepStale = False,
    plugin: options.Plugin = None,
) -> int:
    """Measure gradient variances of all variants at equal parameters, minibatches and noise; draw figures."""
    from benchmarks.execution.executor import make_executor
    from benchmarks.planning.settings import load_settings

    settings = load_settings(preset, {"dataset": dataset, "seeds": seeds}, repeats)
    executor = make_executor("local", None, settings.device, workers)
    from benchmarks.gradient_studies import study_plan
    from benchmarks.runs import folders, runner

    folders.check_destination(out, name)
    request = study_plan.Request(tuple(study or ()), tuple(run or ()), tuple(plugin or ()), data_root)
    plan = study_plan.plan_studies(request, settings, executor, out, keep_stale)
    folder, records = runner.run_in_folder(out, name, plan, executor, keep_stale, study_plan.STUDIES_KIND)
    return _report(folder, records)


def _report(folder: Path, records: Sequence[Record]) -> ExitCode:
    from benchmarks.gradient_studies.report import figures, tables
    from benchmarks.runs.cell_files import is_finished

    failures = [record for record in records if not is_finished(record)]
    for record in [*failures, *(record for record in records if record["status"] == "diverged")]:
        cell = record["common"]
        outcome = f"{cell['variant']}, seed {cell['seed']}: {record['status']}, {record['error']}"
        print(f"{outcome} (its log: {folder / 'cells' / record['cell_id']}.json)", file=sys.stderr)
    if (folder / tables.GRADIENTS_FILE).is_file():
        table = tables.read_gradients(folder / tables.GRADIENTS_FILE)
        figure_paths = figures.write_figures(table, folder / "figures")
        print("\n".join(tables.list_findings(table)))
        print(f"\n{folder}: {tables.GRADIENTS_FILE} and {len(figure_paths)} figures in {folder / 'figures'}")
    if failures:
        print(
            f"{len(failures)} of {len(records)} cells failed; run the same command again to repeat them",
            file=sys.stderr,
        )
    return ExitCode.INCOMPLETE if failures else ExitCode.OK
