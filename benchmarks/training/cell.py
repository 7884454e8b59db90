"""One cell: build a model, train it and measure it at each checkpoint."""

from __future__ import annotations

import errno
import math
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import environment, kernels
from benchmarks.common.atomic_files import PARTIAL_SUFFIX
from benchmarks.planning.cases import Case, Protocol, format_widths
from benchmarks.planning.data.tensors import Dataset, draw_minibatch
from benchmarks.planning.model_specs import make_trained_model
from benchmarks.planning.random_streams import draw_noise, make_generator
from benchmarks.runs import cell_files
from benchmarks.runs.cell_files import NO_ATTACHMENTS, Attachments
from benchmarks.runs.running_cells import Reporter
from benchmarks.training import state
from benchmarks.training.baseline_fitting import fit_baseline
from benchmarks.training.image_arrays import make_image_arrays
from benchmarks.training.loop import EpochProgress, train
from benchmarks.training.state import Setup, setup_case
from benchmarks.training.step import count_flops
from vaezoo import FittedVariant, Model, evaluate, evidence_lower_bound, measure, serialize_model
from vaezoo.gradients import grouped_spread

Row = dict[str, Any]


def run_cell(case: Case, folder: str) -> None:
    kernels.configure_kernels(case.protocol.threads, case.protocol.precision, case.protocol.batch_size)
    snapshot = state.snapshot_path(Path(folder), case)
    record, attachments = train_and_measure(case, snapshot)
    cell_files.write_cell(Path(folder), record, attachments)
    if cell_files.is_finished(record):
        snapshot.unlink(missing_ok=True)


def train_and_measure(case: Case, snapshot: Path | None = None) -> tuple[dict[str, Any], Attachments]:
    """Return the cell's record, also if the cell fails, with the arrays of its images and its model.

    snapshot: the file to which the cell's state is saved, and from which it continues; None for no snapshots. The
    partial record is written beside it.
    """
    rows: list[Row] = []
    attachments = NO_ATTACHMENTS
    model_columns: Row = {}
    start_time = cell_files.utc_now()
    partial = snapshot.with_suffix(PARTIAL_SUFFIX) if snapshot else None
    reporter = Reporter(partial, case, rows, model_columns, start_time)

    def run() -> tuple[str, str]:
        nonlocal attachments
        reporter.report(0, is_checkpoint=True)  # so that a cell whose model takes long to build is seen
        setup = setup_case(case)
        sizes = {"dimensions": setup.data.train.shape[1], "hidden": format_widths(setup.spec.hidden)}
        model_columns.update(state.describe_model(setup.model) | sizes)
        attachments = _train_and_measure(case, setup, rows, snapshot, reporter)
        return rows[-1]["status"], rows[-1].get("error", "")

    record = cell_files.make_record(case, rows, *attempt(run), start_time)
    record["common"] |= model_columns
    return record, attachments


def attempt(run: Callable[[], tuple[str, str]]) -> tuple[str, str, str]:
    """Return status, error and log. An exception becomes a status, so that the other cells go on."""
    try:
        return *run(), ""
    except Exception as error:
        # torch raises its own type for the memory of a GPU only
        full = isinstance(error, MemoryError | torch.OutOfMemoryError) or getattr(error, "errno", None) == errno.ENOMEM
        status = "out-of-memory" if full or "can't allocate memory" in str(error) else "failed"
        first_line = str(error).strip().splitlines()[:1]
        return status, ": ".join([type(error).__name__, *first_line]), traceback.format_exc()


def _train_and_measure(
    case: Case, setup: Setup, rows: list[Row], snapshot: Path | None, reporter: Reporter
) -> Attachments:
    """Append a row at each checkpoint; return images and model, none if training diverged."""
    protocol = case.protocol
    training_state, earlier_seconds = state.initial_state(setup), 0.0
    if snapshot:
        earlier_rows, earlier_seconds = state.restore_snapshot(snapshot, case, training_state)
        rows += earlier_rows
        reporter.report(training_state.epoch, is_checkpoint=True)
    matrix_rates, last_save = list[float](), time.monotonic()
    for progress in train(training_state, setup):
        if progress.due:
            matrix_rates.append(kernels.measure_matrix_rate(protocol.device))
            rows.append(_make_row(setup, progress, median(matrix_rates), earlier_seconds))
            if rows[-1]["status"] == "diverged":
                return NO_ATTACHMENTS
        reporter.report(progress.epoch, is_checkpoint=progress.due)
        if snapshot and progress.epoch and time.monotonic() - last_save >= case.snapshot:
            state.save_snapshot(snapshot, case, training_state, rows, earlier_seconds)
            last_save = time.monotonic()
    arrays = make_image_arrays(setup.model, setup.data, case.seed)
    if not case.keep_model:
        return Attachments(arrays)
    return Attachments(arrays, serialize_model(make_trained_model(case, setup.model, setup.spec, setup.data.facts)))


def _make_row(setup: Setup, progress: EpochProgress, matrix_rate: float, earlier_seconds: float) -> Row:
    """Return the row of a checkpoint.

    matrix_rate: FLOP/s of large matrix products. earlier_seconds: processor time of the cell's earlier processes.
    """
    protocol = setup.protocol
    flops_per_example = count_flops(setup.variant, setup.spec, protocol.latent_dim)
    flops_per_second = None if progress.throughput is None else progress.throughput * flops_per_example
    metrics = _measure(setup, progress.epoch) if progress.finite else {}
    diverged = not progress.finite or not all(map(math.isfinite, metrics.values()))
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        "status": "diverged" if diverged else "ok",
        **({} if diverged else metrics),
        "exact_log_likelihood": setup.data.facts.exact_log_likelihood,
        "throughput": progress.throughput,
        "processor_throughput": progress.processor_throughput if protocol.device == "cpu" else None,
        "flops_per_second": flops_per_second,
        "machine_fraction": None if flops_per_second is None else flops_per_second / matrix_rate,
        "train_seconds": progress.seconds,
        "processor_seconds": earlier_seconds + time.process_time(),
        "peak_memory_mib": environment.peak_memory_mib(),
        **({"error": f"loss, parameters or a metric not finite in epoch {progress.epoch}"} if diverged else {}),
    }


def _measure(setup: Setup, epoch: int) -> dict[str, float]:
    """Return the metrics of a checkpoint, by column of results.csv."""
    model, data, protocol, seed = setup.model, setup.data, setup.protocol, setup.seed
    metrics = evaluate_model(model, data, protocol, seed, epoch)
    if not model.stochastic:
        return metrics
    x = draw_minibatch(data.train, protocol, make_generator(0, "binarize/gradient"))
    source = make_generator(seed, f"gradient/{epoch}")
    noise = draw_noise(protocol, setup.variant.draws, source, protocol.gradient_repeats)
    fitted = fit_baseline(setup.variant, model, data.train, protocol, seed)
    return metrics | measure_gradient(model, fitted, x, noise)


def evaluate_model(
    model: Model, data: Dataset, protocol: Protocol, seed: int, epoch: int, workers: int = 1
) -> dict[str, float]:
    """Return the metrics of a model on the test data, and the ELBO on the validation data, by column of results.csv."""
    draws = protocol.evaluation_draws
    source = make_generator(seed, f"evaluation/{epoch}")
    metrics = evaluate(model, data.test, source, draws, protocol.log_likelihood_draws, workers)
    metrics = _change_units(metrics, data.log_unit)
    if model.stochastic and len(data.validation):
        source = make_generator(seed, f"validation/{epoch}")
        metrics["validation_elbo"] = evidence_lower_bound(model, data.validation, source, draws) + data.log_unit
    return metrics


def _change_units(metrics: dict[str, float], log_unit: float) -> dict[str, float]:
    """Return the metrics with log-densities in the units of the data; see `Dataset.log_unit`."""
    signs = {"elbo": 1.0, "log_likelihood": 1.0, "reconstruction_error": -1.0} if log_unit else {}
    return {name: value + signs.get(name, 0.0) * log_unit for name, value in metrics.items()}


def measure_gradient(model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor) -> dict[str, float]:
    """Return the metrics of a variant's gradient on a minibatch, by column of results.csv."""
    moments = measure(model, {"": fitted}, x, lambda rows: noise[:, :, rows], grouped_spread)[""].moments
    encoder = moments["encoder", ""]
    return {
        "gradient_variance": encoder.variance,
        "gradient_variance_se": encoder.variance_se,
        "decoder_gradient_variance": moments["decoder", ""].variance,
        **({} if encoder.snr is None else {"gradient_snr": encoder.snr}),
    }
