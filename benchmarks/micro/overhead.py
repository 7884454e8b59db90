"""What the harness costs: over a bare loop around the same step, a cell beyond its work, and a second worker.

    python -m benchmarks.micro.overhead

Each pair takes turns, and ratios of medians are printed with their range.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from benchmarks import adam, experiment, machine_code
from benchmarks.cases import Case
from benchmarks.data import Thresholds
from benchmarks.executors.local import processes
from benchmarks.micro.setting import Ready, planned, ready
from benchmarks.seeds import generator
from benchmarks.step import step

ROUNDS, EPOCHS, CELLS = 5, 40, 20
RUN = ["run", "vae", "--epochs", str(EPOCHS)]


def bare(own: Ready) -> float:
    """Examples per second of a plain loop over the same epochs: no checkpoints, no checks, no clock inside."""
    case, images = own.case, own.images.train
    order, pixels, latents = (generator(case.seed, purpose) for purpose in ("batches", "binarize", "noise"))
    optimizer, average = adam.started(own.model.parameters(), case.protocol.learning_rate), torch.zeros(())
    run = machine_code.load(case.step, optimizer, average) if case.step else None
    thresholds = Thresholds(images, 100)
    whole = len(images) // 100 * 100
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=order)[:whole].split(100):
            x, noise = thresholds.draw(rows, pixels), torch.randn(1, 100, 20, generator=latents)
            if run:
                run(x, noise)
            else:
                step(own.variant, own.model, optimizer, average, "float32", x, noise)
    return EPOCHS * whole / (time.perf_counter() - start)


def throughput(seeds: int, workers: int) -> float:
    """Examples per second of the cells of `run`, side by side, added up."""
    with tempfile.TemporaryDirectory() as out:
        words = [*RUN, "--seeds", str(seeds), "--workers", str(workers), "--out", out, "--name", "it"]
        subprocess.run([sys.executable, "-m", "benchmarks", *words], check=True, capture_output=True)
        results = pd.read_csv(Path(out) / "it" / "results.csv")
    last = results[results["epoch"] == EPOCHS]
    return float(last["throughput"].mean()) * workers


def per_cell(cases: Sequence[Case], folder: str) -> float:
    """Seconds of a cell in a process of its own."""
    start = time.perf_counter()
    with contextlib.closing(processes(experiment.work, cases, folder, [{}])) as events:
        for _ in events:
            pass
    return (time.perf_counter() - start) / len(cases)


def here(cases: Sequence[Case]) -> float:
    """Seconds of a cell's training and measuring alone, in this process."""
    start = time.perf_counter()
    for case in cases:
        experiment.run(case)
    return (time.perf_counter() - start) / len(cases)


def _ratio(what: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    middle = statistics.median(ours) / statistics.median(theirs)
    print(f"{what}: {middle:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} rounds)")


def main() -> None:
    """Print one line a question."""
    own = planned(["vae"], seeds="1")[0]
    loops, runs, pairs = list[float](), list[float](), list[float]()
    for _ in range(ROUNDS):
        loops.append(bare(ready(own)))
        runs.append(throughput(1, 1))
        pairs.append(throughput(2, 2))
    _ratio("run over the bare loop, one worker", runs, loops)
    _ratio("two workers over one", pairs, runs)
    cells = planned(["vae"], "quick", seeds=str(CELLS), epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cells").mkdir()
        per_cell(cells[:1], folder)
        here(cells[:1])
        beyond = [per_cell(cells, folder) - here(cells) for _ in range(ROUNDS)]
    print(f"a cell beyond its work: {statistics.median(beyond):.3f} s ({min(beyond):.3f} to {max(beyond):.3f})")


if __name__ == "__main__":
    main()
