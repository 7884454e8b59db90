"""Compare the training speed of `run` on all cores with that of another program.

    python -m benchmarks.micro.against --run "vae --dataset mnist --data-root DIR --epochs 3" -- python other.py

The other program trains the same model with one thread; its last output line is JSON with `examples_per_second`. One
copy runs on each core, and their rates are added. The two sides take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarks.common.machine.cores import count_cores


def measure_run(arguments: Sequence[str], cells: int) -> float:
    """Return examples per second of `run` with these arguments, summed over this number of cells."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "benchmarks", "run", *arguments, "--seeds", str(cells), "--out", out]
        subprocess.run([*command, "--name", "run"], check=True, capture_output=True)
        results = pd.read_csv(Path(out) / "run" / "results.csv")
    return float(results.loc[results["epoch"] == results["epoch"].max(), "throughput"].sum())


def measure_program(command: Sequence[str]) -> float:
    """Return examples per second of one copy of the program per core."""
    copies = [
        subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for core in sorted(os.sched_getaffinity(0))
    ]
    reports = [json.loads(copy.communicate()[0].splitlines()[-1]) for copy in copies]
    return sum(float(report["examples_per_second"]) for report in reports)


def main() -> None:
    """Print the rates of each round, their medians, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="arguments of `run`, without --seeds, --out and --name")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("program", nargs="+", help="command of the other program")
    options = parser.parse_args()
    rates: list[tuple[float, float]] = []
    for _ in range(options.rounds):
        rates.append((measure_run(shlex.split(options.run), count_cores()), measure_program(options.program)))
        print(f"run {rates[-1][0]:,.0f}, other program {rates[-1][1]:,.0f} examples/s", flush=True)
    run, program = (statistics.median(values) for values in zip(*rates, strict=True))
    ratios = [a / b for a, b in rates]
    print(f"medians {run:,.0f} and {program:,.0f}: ratio {run / program:.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
