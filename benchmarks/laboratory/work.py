"""One cell: train the reference model and measure at its checkpoints, or read the results of trained models.

No branch on a variant's or a study's name.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks import data, files, kernels, manifests, planning, store
from benchmarks.cases import utc
from benchmarks.experiment import attempt
from benchmarks.files import Record
from benchmarks.laboratory import probes, readings
from benchmarks.laboratory.bench import Bench
from benchmarks.laboratory.columns import UNITS, Row
from benchmarks.laboratory.probes import CHECKPOINTS, Probe, reference, variants
from benchmarks.laboratory.readings import Reading
from benchmarks.laboratory.studies import STUDIES
from benchmarks.seeds import generator
from benchmarks.train import begun, train
from vaezoo import build, initialise


def work(cell: Probe | Reading, folder: str) -> None:
    """Measure and leave the cell's file: what a worker process does."""
    kernels.settle(cell.protocol.threads, cell.protocol.precision)
    rows: list[Row] = []
    started = utc()
    status, error, log = attempt(lambda: _outcome(cell, rows.extend))
    store.write_cell(Path(folder), record(cell, status, error, log, [_finite(row) for row in rows], started), {})


def _finite(row: Row) -> Row:
    """A number that is not finite is none."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def _outcome(cell: Probe | Reading, keep: Callable[[list[Row]], None]) -> tuple[str, str]:
    """Status and error; hands the rows to `keep` as they are made."""
    if isinstance(cell, Reading):
        keep(list(readings.rows(cell)))
        return "ok", ""
    return _measure(cell, keep)


def planned(cell: Probe | Reading) -> Record:
    """What the manifest holds of a cell, and its own file too."""
    fields = cell.fields if isinstance(cell, Reading) else probes.fields(cell)
    return manifests.planned(cell, fields | {"name": f"{cell.name}: {', '.join(cell.studies)}"})


def record(cell: Probe | Reading, status: str, error: str, log: str, rows: list[Row], started: str) -> dict[str, Any]:
    """What a cell's file holds: identity, outcome, and its rows of gradients.csv."""
    common = {
        "variant": cell.name,
        "dataset": cell.protocol.dataset,
        "seed": cell.seed,
        "started": started,
        "ended": utc(),
        "torch": torch.__version__,
        "commit": cell.commit,
        "cell_id": cell.cell_id,
    }
    return {
        "schema_version": files.SCHEMA_VERSION,
        "cell_id": cell.cell_id,
        "status": status,
        "error": error,
        "log": log,
        "planned": planned(cell),
        "common": common,
        "processor_seconds": time.process_time(),
        "rows": rows or [{}],
    }


def _measure(probe: Probe, keep: Callable[[list[Row]], None]) -> tuple[str, str]:
    protocol, chosen = probe.protocol, variants(probe)
    images = data.load(protocol.dataset, probe.data_folder, protocol.binarization, protocol.device)
    trained = reference(chosen[0].architecture)
    model = build(trained, planning.spec(protocol), protocol.latent_dim)
    initialise(model, lambda name: generator(probe.seed, f"init/{name}"))
    model.to(protocol.device)
    left = {name: set(STUDIES[name].checkpoints or CHECKPOINTS[: len(protocol.checkpoints)]) for name in probe.studies}
    names = dict(zip(protocol.checkpoints, CHECKPOINTS, strict=False))
    state = begun(model, trained, images.train, protocol, probe.seed)
    for progress in (p for p in train(state, trained, images.train, protocol) if p.due):
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
    """The columns that all rows of a measurement share."""
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
        yield common | row | {"unit": UNITS[row.get("quantity", "variance")]}
