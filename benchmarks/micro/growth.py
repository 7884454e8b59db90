"""Measure how time, memory and disk grow with cells, latents, draws and pixels, and how time falls with workers.

    python -m benchmarks.micro.growth [cells latents draws pixels workers] [--executor dask] [--out results/growth]

Writes growth.csv, where rows of other axes are kept, and environment.json. The cells of the axis `cells` do not train:
they show the cost of the harness. The other axes are ordinary runs of `vae` or `iwae` on random binary images. They are
eager, so that no step has to be compiled.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.api.train import Execution, train_variants
from benchmarks.common import atomic_files, environment
from benchmarks.common.machine.cores import count_cores
from benchmarks.execution import executor, isolated_call
from benchmarks.execution.interface import Task
from benchmarks.planning.cases import Case
from benchmarks.planning.settings import load_settings
from benchmarks.runs import cell_files, runner
from benchmarks.training import task

ROUNDS, WORKERS, IMAGES, BATCH_SIZE = 3, 2, 2_000, 100
DIGITS, SHAPES = (28, 28), ((8, 8), (16, 16), (32, 32), (64, 64), (64, 64, 3))


@dataclasses.dataclass(frozen=True)
class Cost:
    """seconds: of a training step, or of a whole run for the axes cells and workers, without its start. memory: MiB,
    the peak of a cell, or private memory of the command's process for the axis cells. resident: MiB of the latter with
    shared libraries. disk: MiB of the run folder.
    """

    seconds: float
    memory: float
    disk: float
    resident: float = 0.0


def measure_cells(count: int, executor_name: str, out: Path) -> Cost:
    """Run cells that do nothing, two at a time."""
    cell_executor = executor.make_executor(executor_name, None, "cpu", 1, WORKERS)
    kind = dataclasses.replace(task.TRAINING, task=Task(task.prepare_cells, write_empty_cell))
    start = time.perf_counter()
    plan = task.plan_run(load_settings("quick", {"seeds": str(count)}), ["autoencoder"], [], None, 60.0, False)
    _, records = runner.run_cells(out, "cells", plan, cell_executor, False, kind)
    seconds = time.perf_counter() - start
    assert {record["status"] for record in records} == {"ok"}, records[0]
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith("kB")}
    return Cost(seconds, sizes["RssAnon:"], measure_disk(out), sizes["VmRSS:"])


def write_empty_cell(case: Case, folder: str) -> None:
    row = {"epoch": 0, "step": 0, "status": "ok", "reconstruction_error": 1.0, "processor_seconds": 0.0}
    cell_files.write_cell(Path(folder), cell_files.make_record(case, [row]))


def measure_step(variant: str, shape: tuple[int, ...], out: Path, **overrides: Any) -> Cost:
    """Train one cell on random binary images of this shape; return the cost of a step."""
    pixels = np.random.default_rng(0).integers(0, 2, (IMAGES, *shape), dtype=np.uint8)
    np.savez(out / "images.npz", train=pixels, test=pixels[:100])
    small = {"epochs": 4, "checkpoints": (4,), "batch_size": BATCH_SIZE, "evaluation_draws": 2, "gradient_repeats": 2}
    settings = {"dataset": str(out / "images.npz"), "seeds": "1", "log_likelihood_draws": 2} | small | overrides
    how = Execution(out, "run", workers=1, keep_models=True)
    folder, (record,) = train_variants([variant], load_settings("quick", settings), how)
    row = record["rows"][-1]
    assert row["status"] == "ok", record["error"]
    return Cost(BATCH_SIZE / row["throughput"], row["peak_memory_mib"], measure_disk(folder))


def measure_workers(workers: int, out: Path) -> Cost:
    """Run eight cells with this number of workers."""
    start = time.perf_counter()
    settings = load_settings("quick", {"seeds": "8", "epochs": 10, "checkpoints": (10,)})
    folder, records = train_variants(["vae"], settings, Execution(out, "run", workers=workers))
    seconds = time.perf_counter() - start
    return Cost(seconds, max(record["rows"][-1]["peak_memory_mib"] for record in records), measure_disk(folder))


def measure_disk(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def list_axes(executor_name: str) -> dict[str, dict[int, Callable[[Path], Cost]]]:
    """Return a function for each value of each axis."""
    return {
        "cells": {n: partial(measure_cells, n, executor_name) for n in (1, 10, 100, 1_000, 10_000)},
        "latents": {n: partial(measure_step, "vae", DIGITS, latent_dim=n) for n in (10, 200, 400, 800, 1_600, 3_200)},
        "draws": {n: partial(measure_step, "iwae", DIGITS, draws=n) for n in (1, 5, 10, 20, 40, 80)},
        "pixels": {math.prod(shape): partial(measure_step, "vae", shape) for shape in SHAPES},
        "workers": {n: partial(measure_workers, n) for n in (1, 2)},
    }


def measure_axis(axis: str, measures: dict[int, Callable[[Path], Cost]], rounds: int) -> pd.DataFrame:
    """Return the median cost of each value; the values take turns."""
    costs: dict[int, list[Cost]] = {value: [] for value in measures}
    for _ in range(rounds):
        for value, measure in measures.items():
            with tempfile.TemporaryDirectory() as out:
                costs[value].append(measure(Path(out)))
            print(f"{axis} {value:,}: {costs[value][-1]}", file=sys.stderr, flush=True)
    names = [field.name for field in dataclasses.fields(Cost)]
    rows = [
        {"axis": axis, "value": value, "rounds": rounds}
        | {name: median(getattr(cost, name) for cost in measured) for name in names}
        for value, measured in costs.items()
    ]
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "axes", nargs="*", metavar="AXIS", help="cells, latents, draws, pixels or workers; default: all"
    )
    parser.add_argument("--executor", default="local", choices=executor.EXECUTOR_NAMES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=Path("results") / "growth")
    arguments = parser.parse_args()
    isolated_call.call_isolated(count_cores)  # returns after the fork server has imported torch
    os.environ["CXX"] = "none"
    axes = list_axes(arguments.executor)
    names = arguments.axes or list(axes)
    table = pd.concat([measure_axis(name, axes[name], arguments.rounds) for name in names], ignore_index=True)
    print(table.to_string(index=False))
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "growth.csv"
    if path.is_file():
        before = pd.read_csv(path)
        table = pd.concat([before[~before["axis"].isin(names)], table], ignore_index=True)
    table.to_csv(path, index=False)
    command = {"command": ["python", "-m", "benchmarks.micro.growth", *sys.argv[1:]]}
    atomic_files.write_json(arguments.out / "environment.json", environment.describe_environment(1, WORKERS) | command)


if __name__ == "__main__":
    from benchmarks.micro import growth  # so that the processes of the cells can import the function by name

    growth.main()
