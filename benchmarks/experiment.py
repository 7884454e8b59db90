"""One cell: build, train, measure at each checkpoint. No branch on a variant's name."""

from __future__ import annotations

import errno
import math
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import cases, data, flops, kernels, planning, snapshots, store
from benchmarks.baselines import fitted
from benchmarks.cases import Case
from benchmarks.pictures import pictures
from benchmarks.seeds import generator
from benchmarks.train import Progress, begun, train
from vaezoo import Model, Variant, build, estimate, evaluate, evidence_lower_bound, gradient_moments, initialise
from vaezoo.deviations import within_groups
from vaezoo.gradients import Moments
from vaezoo.measurement import measure
from vaezoo.plainly import PROBED, PROBES, taken_apart
from vaezoo.replay import Subject

Row = dict[str, Any]
Arrays = dict[str, np.ndarray[Any, Any]]


def work(case: Case, folder: str) -> None:
    """Run a case and leave its files in the run folder: what a worker process does."""
    kernels.settle(case.protocol.threads, case.protocol.precision)
    snapshot = snapshots.path_of(Path(folder), case)
    record, arrays = run(case, snapshot)
    store.write_cell(Path(folder), record, arrays)
    if record["status"] in store.FINISHED:
        snapshot.unlink(missing_ok=True)


def run(case: Case, snapshot: Path | None = None) -> tuple[dict[str, Any], Arrays]:
    """The cell's record, whatever happens in it, and the arrays of its pictures.

    snapshot: where its state is kept on the way, and continued from.
    """
    rows: list[Row] = []
    arrays: list[Arrays] = []
    started = cases.utc()

    def measure() -> tuple[str, str]:
        arrays.append(_measure(case, rows, snapshot))
        return rows[-1]["status"], rows[-1].get("error", "")

    status, error, log = attempt(measure)
    return cases.record(case, status, error, log, rows, started), arrays[0] if arrays else {}


def attempt(measure: Callable[[], tuple[str, str]]) -> tuple[str, str, str]:
    """Status, error and log of what may fail: one bad cell never stops the others."""
    try:
        return *measure(), ""
    except Exception as caught:
        return "out-of-memory" if _is_out_of_memory(caught) else "failed", _one_line(caught), traceback.format_exc()


def _is_out_of_memory(error: Exception) -> bool:
    """Torch has a type for a GPU's memory, and words for the processor's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or getattr(error, "errno", None) == errno.ENOMEM


def _measure(case: Case, kept: list[Row], snapshot: Path | None) -> Arrays:
    """Train and measure; adds each checkpoint's row to those kept as it is made, and returns the pictures' arrays."""
    protocol = case.protocol
    variant = planning.entry(case).variant
    images = data.load(protocol.dataset, case.data_folder, protocol.binarization, protocol.device)
    model = build(variant, planning.spec(protocol), protocol.latent_dim)
    initialise(model, lambda name: generator(case.seed, f"init/{name}"))
    model.to(protocol.device)
    state, spent = begun(model, variant, images.train, protocol, case.seed), 0.0
    if snapshot:
        rows, spent = snapshots.restore(snapshot, case, state)
        kept += rows
    rates, saved = list[float](), time.monotonic()
    for progress in train(state, variant, images.train, protocol, case.step):
        if progress.due:
            rates.append(kernels.matrix_rate(protocol.device))
            kept.append(_row(case, variant, model, images, progress, median(rates), spent))
            if kept[-1]["status"] == "diverged":
                return {}
        if snapshot and progress.epoch and time.monotonic() - saved >= case.snapshot:
            snapshots.save(snapshot, case, state, kept, spent)
            saved = time.monotonic()
    return pictures(model, images, data.info(protocol.dataset).shape, case.seed)


def _row(
    case: Case, variant: Variant, model: Model, images: data.Data, progress: Progress, rate: float, spent: float
) -> Row:
    """A checkpoint's row. rate: of the machine's products. spent: processor seconds of earlier processes."""
    protocol = case.protocol
    work = flops.per_example(variant, planning.spec(protocol), protocol.latent_dim)
    speed = None if progress.throughput is None else progress.throughput * work
    metrics = _metrics(case, variant, model, images, progress) if progress.finite else {}
    diverged = not progress.finite or not all(map(math.isfinite, metrics.values()))
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        "status": "diverged" if diverged else "ok",
        **({} if diverged else metrics),
        "exact_log_likelihood": images.exact_log_likelihood,
        "throughput": progress.throughput,
        "processor_throughput": progress.processor_throughput if protocol.device == "cpu" else None,
        "flops_per_second": speed,
        "machine_fraction": None if speed is None else speed / rate,
        "train_seconds": progress.seconds,
        "processor_seconds": spent + time.process_time(),
        "peak_memory_mib": _peak_memory_mib(),
        **({"error": f"loss, parameters or a metric not finite in epoch {progress.epoch}"} if diverged else {}),
    }


def _metrics(case: Case, variant: Variant, model: Model, images: data.Data, progress: Progress) -> dict[str, float]:
    protocol = case.protocol
    metrics = evaluate(
        model,
        images.test,
        generator(case.seed, f"evaluation/{progress.epoch}"),
        protocol.evaluation_draws,
        protocol.log_likelihood_draws,
    )
    if not model.stochastic:
        return metrics
    if len(images.validation):
        source = generator(case.seed, f"validation/{progress.epoch}")
        metrics["validation_elbo"] = evidence_lower_bound(model, images.validation, source, protocol.evaluation_draws)
    x = images.train[: protocol.batch_size]
    if protocol.binarization == "dynamic":
        x = data.binarize(x, generator(0, "binarize/gradient"))
    noise = _noise(case, protocol.gradient_repeats, f"gradient/{progress.epoch}")
    moments = moments_of(variant, *fitted(variant, model, images.train, protocol, case.seed), x, noise)
    snr = moments["encoder"].snr
    return {
        **metrics,
        "gradient_variance": moments["encoder"].variance,
        "gradient_variance_se": moments["encoder"].variance_se,
        "decoder_gradient_variance": moments["decoder"].variance,
        **({} if snr is None else {"gradient_snr": snr}),
    }


def _noise(case: Case, repeats: int, purpose: str) -> Tensor:
    shape = (repeats, case.draws, case.protocol.batch_size, case.protocol.latent_dim)
    return torch.randn(shape, generator=generator(case.seed, purpose)).to(case.protocol.device)


def moments_of(variant: Variant, model: Model, average: Tensor, x: Tensor, noise: Tensor) -> dict[str, Moments]:
    """Of the gradient in the encoder's and decoder's parameters; by one pass of the encoder where that is right."""
    subject = Subject(variant, model.baseline, average)
    if taken_apart(model, subject, x[:PROBED], noise[:PROBES, :, :PROBED]):
        found = measure(model, {"": subject}, x, lambda rows: noise[:, :, rows], within_groups)[""].moments
        return {part: found[part, ""] for part in ("encoder", "decoder")}
    return gradient_moments(model, lambda model, x, noise: estimate(variant, model, x, noise, average), x, noise)


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _peak_memory_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
