"""Measure the cost of the harness in each training step and each cell, and the cost of a second worker.

    python -m benchmarks.micro.overhead

The two sides of a ratio take turns. Each line shows a ratio of medians and the range over the rounds.
"""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.common import kernels
from benchmarks.execution.local import run_processes
from benchmarks.micro.against import measure_run
from benchmarks.micro.scale import plan_cases
from benchmarks.planning.cases import Case
from benchmarks.planning.datasets import Binarizer
from benchmarks.planning.random_streams import make_generator
from benchmarks.training import cell, compilation, step
from benchmarks.training.state import setup_case
from benchmarks.training.task import run_cell

ROUNDS, EPOCHS, CELLS = 5, 40, 20


def run_bare_loop(case: Case) -> float:
    """Return examples per second of a plain loop over the same epochs, without checkpoints."""
    kernels.configure_kernels(case.protocol.threads, case.protocol.precision)
    setup = setup_case(case)
    images = setup.data.train
    order, pixels, latents = (make_generator(case.seed, purpose) for purpose in ("batches", "binarize", "noise"))
    optimizer, average = step.initial_adam(setup.model.parameters(), case.protocol.learning_rate), torch.zeros(())
    compiled_step = compilation.load_step(case.step, optimizer, average) if case.step else None
    binarizer = Binarizer(images, 100)
    examples = len(images) // 100 * 100
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=order)[:examples].split(100):
            x, noise = binarizer.draw(rows, pixels), torch.randn(1, 100, 20, generator=latents)
            if compiled_step:
                compiled_step(x, noise)
            else:
                step.take_step(setup.variant, setup.model, optimizer, average, "float32", x, noise)
    return EPOCHS * examples / (time.perf_counter() - start)


def time_processes(cases: Sequence[Case], folder: str) -> float:
    """Return the seconds per cell if each runs in a new process."""
    start = time.perf_counter()
    with contextlib.closing(run_processes(run_cell, cases, folder, [{}])) as events:
        for _ in events:
            pass
    return (time.perf_counter() - start) / len(cases)


def time_calls(cases: Sequence[Case]) -> float:
    """Return the seconds per cell if all run in this process."""
    start = time.perf_counter()
    for case in cases:
        cell.train_and_measure(case)
    return (time.perf_counter() - start) / len(cases)


def _print_ratio(label: str, numerators: Sequence[float], denominators: Sequence[float]) -> None:
    ratios = sorted(a / b for a, b in zip(numerators, denominators, strict=True))
    ratio = statistics.median(numerators) / statistics.median(denominators)
    print(f"{label}: {ratio:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} rounds)")


def main() -> None:
    """Print one line for each ratio."""
    case = plan_cases(["vae"], "default", seeds="1")[0]
    arguments = ["vae", "--epochs", str(EPOCHS)]
    loops, runs, pairs = list[float](), list[float](), list[float]()
    for _ in range(ROUNDS):
        loops.append(run_bare_loop(case))
        runs.append(measure_run([*arguments, "--workers", "1"], 1))
        pairs.append(measure_run([*arguments, "--workers", "2"], 2))
    _print_ratio("speed of `run` with one worker / speed of the bare loop", runs, loops)
    _print_ratio("speed with two workers / speed with one", pairs, runs)
    cells = plan_cases(["vae"], "quick", seeds=str(CELLS), epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cells").mkdir()
        time_processes(cells[:1], folder)
        time_calls(cells[:1])
        differences = [time_processes(cells, folder) - time_calls(cells) for _ in range(ROUNDS)]
    seconds = f"{statistics.median(differences):.3f} s ({min(differences):.3f} to {max(differences):.3f})"
    print(f"additional time of a cell in a new process: {seconds}")


if __name__ == "__main__":
    main()
