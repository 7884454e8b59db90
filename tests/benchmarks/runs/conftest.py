"""A run folder without a run."""

import pytest

from benchmarks.common import atomic_files
from benchmarks.runs import cell_files, folders, manifests

PROTOCOL = {"dataset": "digits", "epochs": 3}


def planned(cell_id, name="v", seed=0):
    return {"cell_id": cell_id, "protocol_id": "p", "variant": {"name": name}, "dataset": "digits", "seed": seed,
            "protocol": PROTOCOL, "data_checksum": "c"}  # fmt: skip


def record(cell_id, status="ok"):
    common = {
        "variant": "v",
        "dataset": "digits",
        "seed": 0,
        "cell_id": cell_id,
        "commit": "c",
        "torch": "2",
        "objective": "elbo",
    }
    return {"schema_version": 2, "cell_id": cell_id, "status": status, "error": "", "log": "", "common": common,
            "planned": planned(cell_id), "rows": [{"epoch": 0, "status": status}]}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A run folder with two of its three planned cells."""
    run = tmp_path / "run"
    folders.claim_folder(run)
    atomic_files.write_json(run / "manifest.json", manifests.merge_manifest(run, None, [planned(i) for i in "abc"]))
    for i in "ab":
        cell_files.write_cell(run, record(i))
    return run
