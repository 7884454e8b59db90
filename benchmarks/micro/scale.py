"""Measure the time to plan a run of 10,000 cells, to skip its finished cells, and to show and plot its results.

    python -m benchmarks.micro.scale

The cells are simulated: 16 variants, 625 seeds, 5 checkpoints, 50,000 rows. `show` and `plot` run as commands, in new
processes. The times of planning and skipping do not include the import of torch.
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

from benchmarks.common import atomic_files
from benchmarks.common.machine.cores import count_cores
from benchmarks.execution import isolated_call, local
from benchmarks.execution.interface import Limits
from benchmarks.planning import planner, settings
from benchmarks.planning.cases import Case
from benchmarks.runs import cell_files, manifests, runner
from benchmarks.training import task

SEEDS, NAME = 625, "simulated"
# A small process starts the command, because a child's peak memory includes its parent's memory at the fork.
MEASURING_PROGRAM = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def plan_cases(names: Sequence[str], preset: str, **overrides: Any) -> list[Case]:
    """Plan the cells of these variants, or of all if `names` is empty, with compiled steps as in `run`."""
    cases = planner.plan_run(settings.load_settings(preset, overrides), names, [], None)
    return task.prepare_cells(cases, 1, Limits())


def simulate_row(epoch: int, source: random.Random) -> dict[str, Any]:
    error, kl = source.gauss(20, 1), source.gauss(5, 0.2)
    bounds = {"elbo": -error - kl, "elbo_se": 0.01, "log_likelihood": 1 - error - kl, "log_likelihood_se": 0.01}
    variance = {"gradient_variance": source.expovariate(1), "gradient_variance_se": 0.1}
    other = {"reconstruction_mse": 0.05, "active_units": 8.0, "throughput": 1e5, "train_seconds": 1.0}
    rest = {"epoch": epoch, "step": epoch, "status": "ok", "processor_seconds": 1.0}
    return {**rest, "reconstruction_error": error, "kl": kl, **bounds, **variance, **other}


def simulate_run(folder: Path, plan: Sequence[Case]) -> None:
    """Write the files of these cells and the manifest, as a finished run does."""
    source = random.Random(0)
    (folder / "cells").mkdir(parents=True)
    manifest = manifests.merge_manifest(folder, None, [manifests.describe_cell(case) for case in plan])
    atomic_files.write_json(folder / manifests.MANIFEST_FILE, manifest)
    for case in plan:
        rows = [simulate_row(epoch, source) for epoch in case.protocol.checkpoints]
        record = cell_files.make_record(case, rows)
        (folder / "cells" / f"{case.cell_id}.json").write_text(atomic_files.format_json(record), encoding="utf-8")


def main() -> None:
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        plan = planner.plan_run(settings.load_settings("quick", {"seeds": str(SEEDS)}), [], [], None)
        print(f"planning {len(plan):,} cells: {time.perf_counter() - start:.2f} s")
        simulate_run(Path(out) / NAME, plan)
        isolated_call.call_isolated(count_cores)  # returns after the fork server has imported torch
        start = time.perf_counter()
        executor = local.make_local_executor([{}], Limits())
        _, records = runner.run_cells(Path(out), NAME, plan, executor, False, task.TRAINING)
        print(f"skipping the finished cells and rewriting results.csv: {time.perf_counter() - start:.2f} s")
        print(f"rows: {sum(len(record['rows']) for record in records):,}")
        for command in ("show", "plot"):
            words = [sys.executable, "-m", "benchmarks", command, NAME, "--out", out]
            output = subprocess.check_output([sys.executable, "-c", MEASURING_PROGRAM, *words], text=True)
            seconds, peak = map(float, output.split())
            print(f"{command}: {seconds:.2f} s, peak memory {peak / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
