"""Reading and summing up a million rows of results: 16 variants, 12,500 seeds, 5 checkpoints."""

from __future__ import annotations

import random

import pytest

from benchmarks import metrics, store, tables
from benchmarks.micro.scale import row

SEEDS, EPOCHS = 12_500, (0, 1, 5, 15, 40)


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    """A results.csv, simulated."""
    path = tmp_path_factory.mktemp("results") / "results.csv"
    columns = metrics.RESULT_COLUMNS
    source = random.Random(0)
    with path.open("w") as file:
        file.write(",".join(columns) + "\n")
        for variant in range(16):
            numbers = {epoch: row(epoch, source) for epoch in EPOCHS}
            for seed in range(SEEDS):
                for epoch in EPOCHS:
                    cell = f"{variant:04x}{seed:012x}"
                    own = {"variant": f"variant-{variant}", "dataset": "mnist5k", "seed": seed, "cell_id": cell}
                    file.write(",".join(str((numbers[epoch] | own).get(name, "")) for name in columns) + "\n")
    return path


def test_reading_a_million_rows(benchmark, million):
    table = benchmark.pedantic(store.read_results, (million,), rounds=3)
    assert len(table) == 1_000_000


def test_summing_up_a_million_rows(benchmark, million):
    table = store.read_results(million)
    assert len(benchmark.pedantic(tables.summaries, (table,), rounds=3)) == 16
