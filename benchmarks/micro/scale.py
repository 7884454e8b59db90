"""What a run of 10,000 cells costs to plan, to skip when it is finished, to show and to plot.

    python -m benchmarks.micro.scale

The cells are simulated: 16 variants, 625 seeds, 5 checkpoints, 50,000 rows. Commands run as a user's do, in processes
of their own; planning and skipping leave out the import of torch, which has nothing to do with their number.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import cases, data, files, manifests, places, planning, plugins, runner, settings, training
from benchmarks.cases import Case
from benchmarks.executors import local
from benchmarks.executors.events import Limits

SEEDS = 625
NAME = "simulated"
# A small process in between: a child's peak memory counts what its parent held when it forked.
WATCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def planned() -> list[Case]:
    """As `run --all --preset quick` plans them."""
    chosen = settings.load("quick", {"seeds": str(SEEDS)})
    protocol = planning.resolve(chosen)
    prepared = data.prepare(protocol.dataset, places.data_root())
    return planning.plan(plugins.registry(plugins.read([])).values(), protocol, chosen.seeds, prepared)


def row(epoch: int, source: random.Random) -> dict[str, Any]:
    """The numbers of a checkpoint, simulated."""
    error, kl = source.gauss(20, 1), source.gauss(5, 0.2)
    bounds = {"elbo": -error - kl, "elbo_se": 0.01, "log_likelihood": 1 - error - kl, "log_likelihood_se": 0.01}
    variance = {"gradient_variance": source.expovariate(1), "gradient_variance_se": 0.1}
    other = {"reconstruction_mse": 0.05, "active_units": 8.0, "throughput": 1e5, "train_seconds": 1.0}
    common = {"epoch": epoch, "step": epoch, "status": "ok", "processor_seconds": 1.0}
    return {**common, "reconstruction_error": error, "kl": kl, **bounds, **variance, **other}


def simulate(folder: Path, plan: Sequence[Case]) -> None:
    """Leave the cells' files as a finished run does."""
    source = random.Random(0)
    (folder / "cells").mkdir(parents=True)
    manifest = manifests.merged(folder, None, [cases.planned(case) for case in plan])
    files.write_json(folder / manifests.FILE, manifest)
    for case in plan:
        rows = [row(epoch, source) for epoch in case.protocol.checkpoints]
        record = cases.record(case, "ok", "", "", rows, cases.utc())
        (folder / "cells" / f"{case.cell_id}.json").write_text(files.as_json(record), encoding="utf-8")


def _command(words: Sequence[str]) -> tuple[float, float]:
    """Seconds and peak memory in MiB of a command."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH, sys.executable, "-m", "benchmarks", *words],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak / 1024


def main() -> None:
    """Print one line a measurement."""
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        plan = planned()
        print(f"planning {len(plan):,} cells: {time.perf_counter() - start:.2f} s")
        simulate(Path(out) / NAME, plan)
        start = time.perf_counter()
        records = runner.execute(Path(out) / NAME, plan, local.executor([{}], Limits()), False, training.KIND)
        print(f"skipping them and writing results.csv anew: {time.perf_counter() - start:.2f} s")
        print(f"rows: {sum(len(record['rows']) for record in records):,}")
        for command in ("show", "plot"):
            seconds, memory = _command([command, NAME, "--out", out])
            print(f"{command}: {seconds:.2f} s, peak memory {memory:.0f} MiB")


if __name__ == "__main__":
    main()
