"""Measure the cost of the harness in each training step and each cell, and the cost of a second worker.

    python -m benchmarks.micro.overhead

The two sides of a ratio take turns. Each line shows a ratio of medians and the range over the rounds.
"""

from __future__ import annotations

import functools
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
from benchmarks.planning.data.tensors import Binarizer
from benchmarks.planning.random_streams import make_generator
from benchmarks.training import cell, step
from benchmarks.training.compilation import Step, load_step
from benchmarks.training.state import setup_case
from benchmarks.training.task import run_cell

ROUNDS, EPOCHS, CELLS = 5, 40, 20


def run_bare_loop(case: Case) -> float:
    """Return examples per second of a plain loop over the same epochs, without checkpoints."""
    kernels.configure_kernels(case.protocol.threads, case.protocol.precision, case.protocol.batch_size)
    setup = setup_case(case)
    images = setup.data.train
    order, pixels, latents = (make_generator(case.seed, purpose) for purpose in ("batches", "binarize", "noise"))
    optimizer, average = step.initial_optimizer(setup.model.parameters(), case.protocol.learning_rate), torch.zeros(())
    advance: Step = functools.partial(step.take_step, setup.variant, setup.model, optimizer, average, "float32")
    if case.step:
        advance = load_step(case.step, optimizer, average)
    binarizer = Binarizer(images, 100)
    examples = len(images) // 100 * 100
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(images), generator=order)[:examples].split(100):
            advance(binarizer.draw(rows, pixels), torch.randn(1, 100, 20, generator=latents), torch.ones(1))
    return EPOCHS * examples / (time.perf_counter() - start)


def measure_process_cost(cases: Sequence[Case], folder: str) -> float:
    """Return the additional seconds of a cell in a new process, compared with one in this process."""
    start = time.perf_counter()
    list(run_processes(run_cell, cases, folder, [{}]))
    middle = time.perf_counter()
    for case in cases:
        cell.train_and_measure(case)
    return ((middle - start) - (time.perf_counter() - middle)) / len(cases)


def _print_ratio(label: str, numerators: Sequence[float], denominators: Sequence[float]) -> None:
    ratios = sorted(a / b for a, b in zip(numerators, denominators, strict=True))
    ratio = statistics.median(numerators) / statistics.median(denominators)
    print(f"{label}: {ratio:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f} in {len(ratios)} rounds)")


def main() -> None:
    case = plan_cases(["vae"], "default", seeds="1")[0]
    arguments = ["vae", "--epochs", str(EPOCHS)]
    rates = [
        (run_bare_loop(case), *(measure_run([*arguments, "--workers", str(count)], count) for count in (1, 2)))
        for _ in range(ROUNDS)
    ]
    loops, runs, pairs = zip(*rates, strict=True)
    _print_ratio("speed of `run` with one worker / speed of the bare loop", runs, loops)
    _print_ratio("speed with two workers / speed with one", pairs, runs)
    cells = plan_cases(["vae"], "quick", seeds=str(CELLS), epochs=1)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "cells").mkdir()
        measure_process_cost(cells[:1], folder)  # warm-up
        differences = [measure_process_cost(cells, folder) for _ in range(ROUNDS)]
    seconds = f"{statistics.median(differences):.3f} s ({min(differences):.3f} to {max(differences):.3f})"
    print(f"additional time of a cell in a new process: {seconds}")


if __name__ == "__main__":
    main()
