"""`evaluate`: the metrics of kept models, with more draws or on other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from benchmarks.cli import options
from benchmarks.cli.options import option, split_names
from benchmarks.common.errors import ExitCode

METRICS = ["elbo", "log_likelihood", "log_likelihood_se", "reconstruction_error", "kl", "active_units"]


def evaluate(
    run: options.Run = "latest",
    variants: Annotated[str, option("Measure these variants, separated by commas.", "all with a kept model")] = "",
    log_likelihood_draws: Annotated[
        int | None, option("Use this number of draws per example for the log likelihood.", "the run's", min=2)
    ] = None,
    evaluation_draws: Annotated[
        int | None, option("Use this number of draws per example for the ELBO and the errors.", "the run's", min=2)
    ] = None,
    dataset: Annotated[
        str | None,
        option("Use the test part of these data: a name, an .npz or .csv file, or a folder.", "the run's data"),
    ] = None,
    data_root: options.DataRoot = None,
    workers: options.Workers = None,
    out: options.Out = Path("results"),
    plugin: options.Plugin = None,
) -> int:
    """Evaluate the models that a run has kept, without training; write a table to the folder evaluations of the run.

    With the settings of the run, the metrics are those of its last checkpoint, to the last bit. Exit code 2 if a model
    could not be evaluated.
    """
    from benchmarks.api.kept_models import evaluation, find_models
    from benchmarks.reporting import formats, results_table, summaries
    from benchmarks.runs import folders

    folder = folders.find_run(run, out)
    models = find_models.select_models(folder, split_names(variants))
    request = evaluation.Request(
        folder, models, log_likelihood_draws, evaluation_draws, dataset, data_root, plugin or []
    )
    rows = evaluation.evaluate_models(request, workers)
    path = evaluation.write_rows(folder, rows, split_names(variants))
    summary = summaries.summarize(results_table.read_results(path))
    print(formats.render_table(summary, formats.choose_metrics(METRICS), "text"))
    print(f"\n{path}")
    return ExitCode.INCOMPLETE if len(rows) < len(models) else ExitCode.OK
