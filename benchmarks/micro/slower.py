"""Whether `compare` finds a training step that is a tenth slower while the machine is busy with other work.

    python -m benchmarks.micro.slower [--trials 50]

Each trial trains ten cells as they are and ten whose every step spins for a tenth of its own time more, two and two in
turns as `.ci/regression` does, beside as many processes that multiply matrices as there are other cores. It is found
where `compare` ends with exit code 1. The ten of a kind, dealt to two sides in turns, are the trials of equals.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarks import data, experiment, kernels, places, planning, train
from benchmarks.cases import Case
from benchmarks.environment import cores
from benchmarks.metrics import RESULT_COLUMNS
from benchmarks.plugins import Entry
from benchmarks.regressions import comparison, speed
from benchmarks.regressions.verdicts import exit_code
from benchmarks.settings import load
from benchmarks.store import rows
from vaezoo import VARIANTS

SLOWER = 0.1
TURNS, TOGETHER = 5, 2
FEW = {"evaluation_draws": 2, "log_likelihood_draws": 2, "gradient_repeats": 10}  # what is not timed
FORK = multiprocessing.get_context("fork")


def main() -> None:
    """Print how many of the trials found it, and how many false alarms there were."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--variant", default="vae")
    parser.add_argument("--keep", help="a CSV file for the rows of all cells")
    given = parser.parse_args()
    found: dict[str, list[bool]] = {"a tenth slower": [], "equal": []}
    kept = []
    with busy(cores() - 1):
        for trial in range(given.trials):
            base, new = sides = measured(given.variant)
            found["a tenth slower"].append(alarm(base, new))
            found["equal"] += [alarm(*in_turns(side)) for side in sides]
            kept += [side.assign(trial=trial, side=name) for side, name in zip(sides, ("base", "new"), strict=True)]
            said = [f"{kind}: {sum(called)} of {len(called)} called worse" for kind, called in found.items()]
            print(f"trial {trial + 1}: {'; '.join(said)}", flush=True)
    if given.keep:
        pd.concat(kept).to_csv(given.keep, index=False)


def measured(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of either side; seeds are equal, so that speed alone can differ."""
    protocol = planning.resolve(load("ci", FEW))
    entry = Entry(next(v for v in VARIANTS if v.name == name))
    plan = planning.plan([entry], protocol, range(TURNS * TOGETHER), data.prepare(protocol.dataset, places.data_root()))
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for turn in range(TURNS):
        for slow in (False, True):
            for case in plan[turn * TOGETHER : (turn + 1) * TOGETHER]:
                with FORK.Pool(1) as process:
                    record = process.apply(cell, (case, slow))
                sides[slow].extend(rows(record))
    return table(sides[0]), table(sides[1])


def cell(case: Case, slow: bool) -> dict[str, Any]:
    """What a worker does, and slower."""
    kernels.settle(case.protocol.threads, case.protocol.precision)
    stepping = train.stepping
    if slow:
        train.stepping = lambda *arguments: slowed(stepping(*arguments))
    return experiment.run(case)[0]


def slowed(advance: train.Advance) -> train.Advance:
    """The step, and a tenth of its processor time more."""

    def longer(rows: Tensor) -> Tensor:
        began = time.process_time()
        loss = advance(rows)
        until = began + (1 + SLOWER) * (time.process_time() - began)
        while time.process_time() < until:
            pass
        return loss

    return longer


def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """As results.csv has it."""
    return pd.DataFrame(rows).reindex(columns=list(RESULT_COLUMNS))


def in_turns(side: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cells of one kind dealt to two sides, as if these had taken turns."""
    order = side["started"].rank(method="dense").astype(int)
    return side[order % 2 == 1], side[order % 2 == 0]


def alarm(base: pd.DataFrame, new: pd.DataFrame) -> bool:
    """Whether the speed of the second makes `compare` end with exit code 1."""
    return exit_code(comparison.compare(base, new, [metric.name for metric in speed.METRICS])) == 1


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other work meanwhile, one thread each."""
    others = [FORK.Process(target=multiply, daemon=True) for _ in range(processes)]
    for other in others:
        other.start()
    yield
    for other in others:
        other.kill()


def multiply() -> None:
    """Without end."""
    torch.set_num_threads(1)
    a = torch.ones(700, 700)
    while True:
        torch.mm(a, a)


if __name__ == "__main__":
    main()
