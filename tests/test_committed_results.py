"""The committed results: all of one commit, torch and machine; the gradient studies read the committed runs."""

import hashlib
import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[1] / "results"
TRAINED = ("default", "learning-rate-0.0003", "learning-rate-0.003")
RUNS = (*TRAINED, "baseline", "gradients")


def read_json(run, name):
    return json.loads((RESULTS / run / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("field", ["commit", "dirty", "processor", "cores", "python", "packages", "kernels"])
def test_all_runs_have_one_environment(field):
    values = {run: read_json(run, "environment.json")[field] for run in RUNS}
    if field == "kernels":  # the error of a product depends on its random numbers
        values = {run: value | {"product_error": 0} for run, value in values.items()}
    assert all(value == values["default"] for value in values.values()), values


def test_the_code_of_the_runs_is_committed():
    assert read_json("default", "environment.json")["dirty"] is False


def test_the_gradient_studies_read_the_committed_runs():
    (cell,) = (c for c in read_json("gradients", "manifest.json")["cells"] if "results" in c["variant"])
    files = [(RESULTS / run / "results.csv").read_bytes() for run in TRAINED]
    assert cell["variant"]["results"] == [hashlib.sha256(data).hexdigest()[:16] for data in files]
