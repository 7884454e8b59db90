"""One probe: train the reference model, and measure at its checkpoints. No branch on a variant's or a study's name."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import cases, data, store
from benchmarks.experiment import attempt, deterministic, utc
from benchmarks.laboratory.bench import Bench
from benchmarks.laboratory.columns import UNITS, Row
from benchmarks.laboratory.probes import CHECKPOINTS, Probe, reference, variants
from benchmarks.laboratory.studies import STUDIES
from benchmarks.seeds import generator
from benchmarks.train import train
from vaezoo import build, initialise


def work(probe: Probe, folder: str) -> None:
    """Measure and leave the cell's file: what a worker process does."""
    deterministic(probe.protocol.threads)
    rows: list[Row] = []
    started = utc()
    status, error, log = attempt(lambda: _measure(probe, rows.extend))
    store.write_cell(Path(folder), record(probe, status, error, log, rows, started), {})


def record(probe: Probe, status: str, error: str, log: str, rows: list[Row], started: str) -> dict[str, Any]:
    """What a probe's file holds: identity, outcome, and its rows of gradients.csv."""
    common = {
        "variant": probe.name,
        "dataset": probe.protocol.dataset,
        "seed": probe.seed,
        "started": started,
        "ended": utc(),
        "torch": torch.__version__,
        "commit": probe.commit,
        "cell_id": probe.cell_id,
    }
    return {
        "schema_version": store.SCHEMA_VERSION,
        "cell_id": probe.cell_id,
        "status": status,
        "error": error,
        "log": log,
        "common": common,
        "processor_seconds": time.process_time(),
        "rows": rows or [{}],
    }


def _measure(probe: Probe, keep: Callable[[list[Row]], None]) -> tuple[str, str]:
    protocol, chosen = probe.protocol, variants(probe)
    images = data.load(protocol.dataset, probe.data_folder, protocol.binarization, protocol.device)
    trained = reference(chosen[0].architecture)
    model = build(trained, cases.spec(protocol), protocol.latent_dim)
    initialise(model, lambda name: generator(probe.seed, f"init/{name}"))
    model.to(protocol.device)
    left = {name: set(STUDIES[name].checkpoints or CHECKPOINTS[: len(protocol.checkpoints)]) for name in probe.studies}
    names = dict(zip(protocol.checkpoints, CHECKPOINTS, strict=False))
    for progress in train(model, trained, images.train, protocol, probe.seed):
        if not progress.finite:
            return "diverged", f"the reference model's loss or parameters are not finite in epoch {progress.epoch}"
        bench = Bench(model, images.train, protocol, probe.seed, names[progress.epoch])
        for name in probe.studies:
            if bench.checkpoint in left[name]:
                keep(list(_complete(probe, bench, name, STUDIES[name].rows(bench, chosen, probe.laboratory))))
                left[name].remove(bench.checkpoint)
        if not any(left.values()):
            break
    return "ok", ""


def _complete(probe: Probe, bench: Bench, study: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The columns that all rows of a measurement share; a number that is not finite is none."""
    epoch = dict(zip(CHECKPOINTS, bench.protocol.checkpoints, strict=False))[bench.checkpoint]
    common = {
        "study": study,
        "dataset": probe.protocol.dataset,
        "seed": probe.seed,
        "checkpoint": bench.checkpoint,
        "setting": STUDIES[study].setting,
        "setting_value": epoch,
        "batch_size": probe.protocol.batch_size,
        "latent_dim": probe.protocol.latent_dim,
    }
    for row in rows:
        whole = common | row | {"unit": UNITS[row.get("quantity", "variance")]}
        yield {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in whole.items()}
