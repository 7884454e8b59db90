"""`run`: train and evaluate variants."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import options
from benchmarks.cli.options import DATASET_DEFAULT, PRESET_DEFAULT, argument, data, option, running, training
from benchmarks.common.errors import UserError


def run(
    context: typer.Context,
    variants: Annotated[list[str] | None, argument("VARIANT", "Names of the variants to train; see 'list'.")] = None,
    all_: Annotated[bool, option("Train all variants, including those of --plugin.", "no", "--all")] = False,
    family: Annotated[
        str | None,
        option("Train all variants with such latents: gaussian, bernoulli or categorical.", "all families"),
    ] = None,
    preset: options.Preset = "default",
    dataset: options.Dataset = None,
    data_root: options.DataRoot = None,
    binarization: Annotated[
        str | None,
        data("Make grey pixels 0 or 1: dynamic (drawn at each step), static (drawn once) or none.", DATASET_DEFAULT),
    ] = None,
    preprocessing: Annotated[
        str | None,
        data(
            "Change the numbers: standardised (real numbers: zero mean and unit variance), dequantised (grey levels: "
            "add uniform noise) or none.",
            DATASET_DEFAULT,
        ),
    ] = None,
    held_out: Annotated[
        int | None, data("Use this number of training examples for validation instead.", PRESET_DEFAULT)
    ] = None,
    likelihood: Annotated[
        str | None,
        data(
            "Use this decoder distribution p(x|z): bernoulli, continuous-bernoulli, gaussian, gaussian-learned (one "
            "learned scale) or gaussian-diagonal (a learned scale for each dimension).",
            DATASET_DEFAULT,
        ),
    ] = None,
    seeds: options.Seeds = None,
    epochs: Annotated[
        int | None, training("Train for this number of passes over the training data.", PRESET_DEFAULT)
    ] = None,
    order: Annotated[
        str | None,
        training(
            "Take training examples in a new order in each epoch (shuffled), or as they are (fixed).", PRESET_DEFAULT
        ),
    ] = None,
    batch_size: Annotated[int | None, training("Put this number of examples in a minibatch.", PRESET_DEFAULT)] = None,
    learning_rate: Annotated[float | None, training("Set the learning rate.", PRESET_DEFAULT)] = None,
    optimizer: Annotated[
        str | None,
        training("Use adam, rmsprop or centred-rmsprop, also with constants: 'adam(epsilon=1e-4)'.", PRESET_DEFAULT),
    ] = None,
    schedule: Annotated[
        str | None,
        training(
            "Multiply the learning rate by warm-up(EPOCHS), cosine, cosine(LAST), piecewise(EPOCH:FACTOR,...), or a "
            "product.",
            PRESET_DEFAULT,
        ),
    ] = None,
    kl_schedule: Annotated[
        str | None, training("Multiply the KL in the objective by such a schedule: warm-up(10).", PRESET_DEFAULT)
    ] = None,
    free_bits: Annotated[
        float | None,
        training(
            "Set the smallest KL of each latent in the objective, in nats; it needs a KL in closed form.",
            PRESET_DEFAULT,
        ),
    ] = None,
    prior: Annotated[
        str | None,
        training("Use a fixed prior p(z), or a learned one with trained parameters.", PRESET_DEFAULT),
    ] = None,
    latent_dim: Annotated[int | None, training("Use this number of latent dimensions D.", DATASET_DEFAULT)] = None,
    architecture: options.Architecture = None,
    hidden: Annotated[
        str | None,
        training("Give the hidden layers these widths (400,200), or none; of conv: channels.", "the architecture's"),
    ] = None,
    activation: Annotated[
        str | None,
        training("Use relu, leaky-relu, tanh, elu, silu or softplus after each hidden layer.", PRESET_DEFAULT),
    ] = None,
    initialisation: Annotated[
        str | None, training("Draw initial weights as torch does (uniform), or by glorot.", PRESET_DEFAULT)
    ] = None,
    output_bias: Annotated[
        str | None,
        training(
            "Set the initial bias of the output: drawn, or data, which gives their mean.",
            PRESET_DEFAULT,
        ),
    ] = None,
    draws: Annotated[
        int | None, training("Use this number of latent draws K per example, for all variants.", "each variant's")
    ] = None,
    device: Annotated[str | None, running("Train on this device: cpu or cuda.", PRESET_DEFAULT)] = None,
    precision: Annotated[
        str | None, training("Compute the matrix products of training in float32 or bfloat16.", PRESET_DEFAULT)
    ] = None,
    workers: options.Workers = None,
    out: options.Destination = Path("results"),
    name: options.Name = None,
    keep_stale: options.KeepStale = False,
    timeout: options.Timeout = None,
    memory: options.Memory = None,
    snapshot: Annotated[
        float,
        running(
            "Save a snapshot after this time, in seconds; a killed cell continues from it.", min=0, metavar="SECONDS"
        ),
    ] = 60.0,
    executor: Annotated[str, running("Run cells on this machine (local), or on several (dask).")] = "local",
    scheduler: Annotated[
        str | None, running("Connect to this Dask scheduler.", "start one on this machine", metavar="ADDRESS")
    ] = None,
    keep_models: Annotated[
        bool, running("Keep the trained model of each cell, for 'evaluate', 'sample' and Python.", "no")
    ] = False,
    figures: options.Figures = True,
    report: options.Report = True,
    plugin: options.Plugin = None,
) -> int:
    """Train and evaluate variants, print a comparison, and write a run folder with tables and figures."""
    if variants and (all_ or family):
        raise UserError(f"variants and {'--all' if all_ else '--family'} were both given; remove one of them")
    if not (variants or all_ or family):
        raise UserError("nothing to run: name one or more variants (see 'python -m benchmarks list'), or give --all")
    from benchmarks.execution.forkserver import start_forkserver

    start_forkserver()  # it imports torch on another core
    from benchmarks.api.train import Execution, train_variants
    from benchmarks.planning.settings import Settings, load_settings
    from benchmarks.reporting.report import import_figures, report_run

    if figures:
        import_figures()
    # an option that has the name of a setting replaces it
    overrides = {key: value for key, value in context.params.items() if key in Settings.model_fields}
    how = Execution(
        out,
        name,
        plugin or [],
        data_root,
        workers,
        executor,
        scheduler,
        timeout,
        memory,
        snapshot,
        keep_stale,
        keep_models,
    )
    folder, records = train_variants(variants or [], load_settings(preset, overrides), how, family or "")
    return report_run(folder, records, figures, report)
