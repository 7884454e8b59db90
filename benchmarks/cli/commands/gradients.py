"""`gradients`: run the gradient studies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from benchmarks.cli import options
from benchmarks.cli.commands.report import write_study_page
from benchmarks.cli.commands.show import draw_studies
from benchmarks.cli.options import PRESET_DEFAULT, option
from benchmarks.common.errors import ExitCode


def gradients(
    study: Annotated[
        list[str] | None,
        option(
            "Make this study: training, latent-dim, draws, batch-size, posterior-scale, counter-example, "
            "discrete, temperature, integrand, learning-rate or budget. Repeatable.",
            "all but integrand, learning-rate and budget; with --run also these two",
        ),
    ] = None,
    run: Annotated[
        list[str] | None,
        option(
            "Read this run in the studies learning-rate and budget; one run per learning rate. Repeatable.",
            "make these runs",
            metavar="RUN",
        ),
    ] = None,
    against: Annotated[
        str | None,
        option(
            "Compare this variant with each other one of its objective: latent variances at equal parameters and "
            "noise, by draws, decoder passes and seconds.",
            "pathwise gradients only",
            metavar="VARIANT",
        ),
    ] = None,
    preset: options.Preset = "default",
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    architecture: options.Architecture = None,
    seeds: options.Seeds = None,
    repeats: Annotated[
        int | None, option("Compute this number of gradient estimates per variance.", PRESET_DEFAULT)
    ] = None,
    workers: options.Workers = None,
    out: options.Destination = Path("results"),
    name: options.Name = None,
    keep_stale: options.KeepStale = False,
    timeout: options.Timeout = None,
    memory: options.Memory = None,
    figures: options.Figures = True,
    report: options.Report = True,
    plugin: options.Plugin = None,
) -> int:
    """Measure gradient variances of all variants at equal parameters, minibatches and noise; draw figures."""
    from benchmarks.execution.executor import make_executor
    from benchmarks.planning.settings import load_settings

    settings = load_settings(preset, {"dataset": dataset, "architecture": architecture, "seeds": seeds}, repeats)
    executor = make_executor("local", None, settings.device, settings.threads, workers, timeout, memory)
    from benchmarks.gradient_studies.plan.study_plan import STUDIES_KIND, plan_studies
    from benchmarks.gradient_studies.report import tables
    from benchmarks.gradient_studies.report.findings import describe_table
    from benchmarks.reporting.report import attempt, describe_figures
    from benchmarks.runs.cell_files import is_finished
    from benchmarks.runs.runner import run_cells

    inputs = (study or [], run or [], plugin or [], data_root, settings, executor, out, keep_stale)
    folder, records = run_cells(out, name, plan_studies(*inputs, against), executor, keep_stale, STUDIES_KIND)
    failures = [record for record in records if not is_finished(record)]
    for record in [*failures, *(record for record in records if record["status"] == "diverged")]:
        cell = record["common"]
        outcome = f"{cell['variant']}, seed {cell['seed']}: {record['status']}, {record['error']}"
        print(f"{outcome} (its log: {folder / 'cells' / record['cell_id']}.json)", file=sys.stderr)
    if (folder / tables.GRADIENTS_FILE).is_file():
        table = tables.read_gradients(folder / tables.GRADIENTS_FILE)
        print(describe_table(table))
        print(f"\n{folder}: {tables.GRADIENTS_FILE}", flush=True)
        if figures:
            attempt(f"plot {folder}", lambda: print(describe_figures(draw_studies(table, folder), folder)))
        if report:
            attempt(f"report {folder}", lambda: print(write_study_page(table, folder / tables.GRADIENTS_FILE)))
        if against and not failures and not (table["against"] == against).any():
            print(
                f"--against {against}: there is no ratio, because its latent variance is 0 or the model diverged",
                file=sys.stderr,
            )
    if failures:
        text = f"{len(failures)} of {len(records)} cells failed; run the same command again to repeat them"
        print(text, file=sys.stderr)
    return ExitCode.INCOMPLETE if failures else ExitCode.OK
