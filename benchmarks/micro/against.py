"""Training by `run` with all cores against another program, in turns: ratios of medians over five rounds.

    python -m benchmarks.micro.against --run "vae --dataset mnist --data-root DIR --epochs 3" -- python other.py

The other program trains the same model with one thread and prints a JSON line with `examples_per_second`; a copy runs
on each core, and their rates are added up.
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

from benchmarks.environment import cores


def ours(words: Sequence[str], count: int) -> float:
    """Examples per second of as many cells side by side as there are cores."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "benchmarks", "run", *words, "--seeds", str(count), "--out", out]
        subprocess.run([*command, "--name", "it"], check=True, capture_output=True)
        results = pd.read_csv(Path(out) / "it" / "results.csv")
    total: float = results.loc[results["epoch"] == results["epoch"].max(), "throughput"].sum()
    return total


def theirs(words: Sequence[str]) -> float:
    """Examples per second of a copy on each core."""
    copies = [
        subprocess.Popen(["taskset", "-c", str(core), *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for core in sorted(os.sched_getaffinity(0))
    ]
    told = [json.loads(copy.communicate()[0].splitlines()[-1]) for copy in copies]
    return sum(float(one["examples_per_second"]) for one in told)


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(description="Training by `run` against another program.")
    parser.add_argument("--run", required=True, help="what `run` is asked for, but for --seeds and --out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("program", nargs="+", help="the other program's command")
    options = parser.parse_args()
    rates: list[tuple[float, float]] = []
    for _ in range(options.rounds):
        rates.append((ours(shlex.split(options.run), cores()), theirs(options.program)))
        print(f"ours {rates[-1][0]:,.0f}, theirs {rates[-1][1]:,.0f} examples/s", flush=True)
    middle = [statistics.median(values) for values in zip(*rates, strict=True)]
    ratios = [a / b for a, b in rates]
    print(
        f"medians {middle[0]:,.0f} and {middle[1]:,.0f}: ratio {middle[0] / middle[1]:.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
