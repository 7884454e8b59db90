"""Test whether `compare` detects a training step that is 10 % slower on a busy machine.

    python -m benchmarks.micro.slower [--trials 50]

Each trial trains ten cells with the usual step and ten with a step that takes 10 % longer. The two sides take turns,
two cells each, as in `.ci/regression`. Meanwhile a process multiplies matrices on every other core. The slow step is
detected if `compare` ends with exit code 1. For false alarms, the two halves of the cells of a side are compared.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import typer
from torch import Tensor

from benchmarks.common import kernels
from benchmarks.common.machine.cores import count_cores
from benchmarks.comparison import run_comparison, speed
from benchmarks.comparison.verdicts import choose_exit_code
from benchmarks.planning import planner
from benchmarks.planning.cases import Case
from benchmarks.planning.settings import load_settings
from benchmarks.reporting.results_table import RESULT_COLUMNS, record_rows
from benchmarks.training import cell, loop

SLOWDOWN = 0.1
TURNS, CELLS_PER_TURN = 5, 2
FAST_EVALUATION = {"evaluation_draws": 2, "log_likelihood_draws": 2, "gradient_repeats": 10}  # it is not timed
FORK = multiprocessing.get_context("fork")


def main(trials: int = 50, variant: str = "vae", keep: Path | None = None) -> None:
    """Print how many trials detected the slow step, and the false alarms; write the rows of all cells to CSV `keep`."""
    alarms: dict[str, list[bool]] = {"10 % slower": [], "equal": []}
    tables = []
    with keep_cores_busy(count_cores() - 1):
        for trial in range(trials):
            base, new = sides = train_both(variant)
            alarms["10 % slower"].append(is_worse(base, new))
            alarms["equal"] += [is_worse(*split_in_turns(side)) for side in sides]
            tables += [side.assign(trial=trial, side=name) for side, name in zip(sides, ("base", "new"), strict=True)]
            counts = [f"{kind}: {sum(verdicts)} of {len(verdicts)} called worse" for kind, verdicts in alarms.items()]
            print(f"trial {trial + 1}: {'; '.join(counts)}", flush=True)
    if keep:
        pd.concat(tables).to_csv(keep, index=False)


def train_both(name: str) -> list[pd.DataFrame]:
    """Return the rows of both sides. Their seeds are equal, so only the speed can differ."""
    settings = load_settings("ci", {**FAST_EVALUATION, "seeds": str(TURNS * CELLS_PER_TURN)})
    plan = planner.plan_run(settings, [name], [], None)
    sides: list[list[dict[str, Any]]] = [[], []]
    for turn in range(TURNS):
        for slow in (False, True):
            for case in plan[turn * CELLS_PER_TURN : (turn + 1) * CELLS_PER_TURN]:
                with FORK.Pool(1) as process:
                    record: dict[str, Any] = process.apply(run_case, (case, slow))
                sides[slow].extend(record_rows(record))
    return [pd.DataFrame(rows).reindex(columns=list(RESULT_COLUMNS)) for rows in sides]


def run_case(case: Case, slow: bool) -> dict[str, Any]:
    """Return the record of a case, trained with the usual or the slow step."""
    kernels.configure_kernels(case.protocol.threads, case.protocol.precision, case.protocol.batch_size)
    make_step = loop.make_step
    if slow:
        loop.make_step = lambda *arguments: slow_down(make_step(*arguments))
    return cell.train_and_measure(case)[0]


def slow_down(advance: loop.Advance) -> loop.Advance:
    """Return a step that takes 10 % more processor time."""

    def slow_advance(rows: Tensor) -> Tensor:
        start = time.process_time()
        loss = advance(rows)
        end = start + (1 + SLOWDOWN) * (time.process_time() - start)
        while time.process_time() < end:
            pass
        return loss

    return slow_advance


def split_in_turns(side: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the cells of a side into two tables, in turns by their start."""
    order = side["started"].rank(method="dense").astype(int)
    return side[order % 2 == 1], side[order % 2 == 0]


def is_worse(base: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Return whether `compare` ends with exit code 1 because of the speed of `new`."""
    names = [metric.name for metric in speed.SPEED_METRICS]
    return choose_exit_code(run_comparison.compare_runs(base, new, names)) == 1


@contextmanager
def keep_cores_busy(count: int) -> Iterator[None]:
    processes = [FORK.Process(target=multiply_forever, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    yield
    for process in processes:
        process.kill()


def multiply_forever() -> None:
    torch.set_num_threads(1)
    a = torch.ones(700, 700)
    while True:
        torch.mm(a, a)


if __name__ == "__main__":
    typer.run(main)
