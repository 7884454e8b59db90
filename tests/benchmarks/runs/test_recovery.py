"""Tables and manifests after a loss of cells."""

import pandas as pd
import pytest

from benchmarks.common import atomic_files
from benchmarks.runs import cell_files, manifests, recovery
from tests.benchmarks.runs.conftest import planned, record


@pytest.mark.parametrize(("lost", "code", "count"), [("", 0, 3), ("b", 2, 2)])
def test_rebuilt_tables_count_missing_cells(folder, capsys, lost, code, count):
    cell_files.write_cell(folder, record("c"))
    for cell_id in lost:
        (folder / "cells" / f"{cell_id}.json").unlink()
    assert recovery.rebuild_tables(folder, lambda folder, records: f"table of {len(records)}") == code
    printed = capsys.readouterr()
    assert printed.out == f"table of {count} in {folder}: written again from {count} cells\n"
    assert ("1 of 3 planned cells are missing" in printed.err) == bool(lost)


@pytest.mark.parametrize(("epochs", "words"), [([0, 3], ""), ([0, 2], "has 0 of 1 planned cells")])
def test_a_cell_without_its_last_checkpoint_is_missing(tmp_path, epochs, words):
    atomic_files.write_json(tmp_path / "manifest.json", manifests.merge_manifest(tmp_path, None, [planned("a")]))
    results = pd.DataFrame({"cell_id": "a", "status": "ok", "epoch": epochs})
    shortfall = manifests.describe_shortfall(tmp_path / "results.csv", results)
    assert words in shortfall
    assert bool(shortfall) == bool(words)
