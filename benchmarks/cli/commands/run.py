"""`run`: train and evaluate variants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.options import DATASET_DEFAULT, PRESET_DEFAULT
from benchmarks.common.errors import UserError


def run(
    variants: Annotated[
        list[str] | None, typer.Argument(metavar="VARIANT", help="Names of the variants to train; see 'list'.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Train all variants, including those of --plugin.")] = False,
    preset: options.Preset = "default",
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    binarization: Annotated[
        str | None,
        typer.Option(
            help="How grey pixels become 0 or 1: dynamic (drawn at each step), static (drawn once) or none. "
            + DATASET_DEFAULT
        ),
    ] = None,
    likelihood: Annotated[
        str | None,
        typer.Option(
            help="Decoder distribution p(x|z): bernoulli, continuous-bernoulli, gaussian or gaussian-learned. "
            + DATASET_DEFAULT
        ),
    ] = None,
    seeds: options.Seeds = None,
    epochs: Annotated[int | None, typer.Option(help=f"Passes over the training data. {PRESET_DEFAULT}")] = None,
    batch_size: Annotated[int | None, typer.Option(help=f"Examples in a minibatch. {PRESET_DEFAULT}")] = None,
    learning_rate: Annotated[float | None, typer.Option(help=f"Learning rate of Adam. {PRESET_DEFAULT}")] = None,
    latent_dim: Annotated[int | None, typer.Option(help=f"Number of latent dimensions D. {DATASET_DEFAULT}")] = None,
    draws: Annotated[
        int | None, typer.Option(help=r"Latent draws K per example, for all variants. \[default: each variant's]")
    ] = None,
    device: Annotated[str | None, typer.Option(help=f"Device: cpu or cuda. {PRESET_DEFAULT}")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help=f"Precision of matrix products in training: float32 or bfloat16. {PRESET_DEFAULT}"),
    ] = None,
    workers: options.Workers = None,
    out: options.Out = Path("results"),
    name: options.Name = None,
    keep_stale: options.KeepStale = False,
    timeout: options.Timeout = None,
    memory: options.Memory = None,
    snapshot: options.Snapshot = 60.0,
    executor: options.ExecutorName = "local",
    scheduler: options.Scheduler = None,
    plugin: options.Plugin = None,
) -> int:
    """Train and evaluate variants, print a comparison, and write a run folder with tables and figures."""
    overrides = {
        "dataset": dataset,
        "binarization": binarization,
        "likelihood": likelihood,
        "seeds": seeds,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "latent_dim": latent_dim,
        "draws": draws,
        "device": device,
        "precision": precision,
    }
    from benchmarks.execution.executor import make_executor
    from benchmarks.planning.settings import load_settings
    from benchmarks.reporting.report import report_run
    from benchmarks.runs import folders, runner
    from benchmarks.training.task import TRAINING, plan_run

    if all_ and variants:
        raise UserError("variants and --all were both given; remove one of them")
    if not all_ and not variants:
        raise UserError("nothing to run: name one or more variants (see 'python -m benchmarks list'), or give --all")
    settings = load_settings(preset, overrides)
    folders.check_destination(out, name)
    cell_executor = make_executor(executor, scheduler, settings.device, workers, timeout, memory)
    plan = plan_run(settings, variants or [], plugin or [], data_root, snapshot)
    folder, records = runner.run_in_folder(out, name, plan, cell_executor, keep_stale, TRAINING)
    return report_run(folder, records)
