"""Benchmarks of tables: a million rows of results (16 variants, 12,500 seeds, 5 checkpoints), and a comparison."""

from __future__ import annotations

import random

import numpy as np
import pandas as pd
import pytest

from benchmarks.comparison import run_comparison
from benchmarks.micro.scale import simulate_row
from benchmarks.reporting import results_table, summaries

SEEDS, EPOCHS = 12_500, (0, 1, 5, 15, 40)


@pytest.fixture(scope="module")
def table_path(tmp_path_factory):
    """The path of a simulated results.csv."""
    path = tmp_path_factory.mktemp("results") / "results.csv"
    columns = results_table.RESULT_COLUMNS
    source = random.Random(0)
    with path.open("w") as file:
        file.write(",".join(columns) + "\n")
        for variant in range(16):
            numbers = {epoch: simulate_row(epoch, source) for epoch in EPOCHS}
            for seed in range(SEEDS):
                for epoch in EPOCHS:
                    cell = f"{variant:04x}{seed:012x}"
                    labels = {"variant": f"variant-{variant}", "dataset": "mnist5k", "seed": seed, "cell_id": cell}
                    file.write(",".join(str((numbers[epoch] | labels).get(name, "")) for name in columns) + "\n")
    return path


def test_reading_a_million_rows(benchmark, table_path):
    table = benchmark.pedantic(results_table.read_results, (table_path,), rounds=3)
    assert len(table) == 1_000_000


def test_summarizing_a_million_rows(benchmark, table_path):
    table = results_table.read_results(table_path)
    assert len(benchmark.pedantic(summaries.summarize, (table,), rounds=3)) == 16


def simulate_results(variants, seeds, source):
    """Results of some variants, each with its own values, at the first and the last checkpoint."""
    missing = dict.fromkeys(results_table.RESULT_COLUMNS, np.nan)
    labels = {"dataset": "mnist5k", "protocol_id": "p"}
    return pd.DataFrame(
        [
            missing | labels | simulate_row(epoch, source) | {"variant": v, "seed": seed, "cell_id": f"{v}-{seed}"}
            for v in (f"variant-{i}" for i in range(variants))
            for seed in range(seeds)
            for epoch in (EPOCHS[0], EPOCHS[-1])
        ]
    )


def test_comparing_a_thousand_variants(benchmark):
    """Twenty seeds of each variant in both runs."""
    source = random.Random(0)
    sides = [simulate_results(1000, 20, source) for _ in range(2)]
    assert len(benchmark.pedantic(run_comparison.compare_runs, sides, rounds=3)) > 5000
