"""Right variants of a user are measured by `run` and by every study; a broken one changes nothing for the others."""

from pathlib import Path

import pandas as pd
import pytest

from tests.benchmarks.gradient_studies.test_studies import SMALL
from tests.vaezoo.testing.right_variants import VARIANTS as RIGHT
from vaezoo import VARIANTS

pytestmark = pytest.mark.slow

RIGHT_FILE = Path(__file__).parents[1] / "vaezoo" / "testing" / "right_variants.py"
BROKEN = """
import torch
from vaezoo import Estimator, Variant, elbo, mlp_normal

def raises(log_weight, reduction, q, noise, prediction):
    raise KeyError("missing")

def hangs(log_weight, reduction, q, noise, prediction):
    while True:
        pass

def gives_nan(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q)) * float("nan")

def has_another_shape(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q))[:1]

def changes_its_inputs(log_weight, reduction, q, noise, prediction):
    value = reduction.value(log_weight(q.rsample(noise), q))
    noise.zero_()
    return value

VARIANTS = [
    Variant(f.__name__.replace("_", "-"), mlp_normal, elbo, Estimator(f.__name__, f))
    for f in (raises, hangs, gives_nan, has_another_shape, changes_its_inputs)
]
"""
TIMED = ["variance_x_seconds", "exchange_rate_seconds"]


@pytest.fixture
def preset(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_right_variants_run_and_are_in_every_study(command, tiny, preset, tmp_path):
    done = command(
        *("run", *(v.name for v in RIGHT), "--plugin", RIGHT_FILE, "--preset", tiny, "--seeds", 1),
        *("--out", tmp_path, "--name", "x"),
    )
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(tmp_path / "x" / "results.csv")
    assert set(results["variant"]) == {v.name for v in RIGHT}
    assert (results["decoder_gradient_variance"] > 0).all()
    done = command(
        "gradients", "--preset", preset, "--seeds", 1, "--plugin", RIGHT_FILE, "--out", tmp_path, "--name", "g"
    )
    table = pd.read_csv(tmp_path / "g" / "gradients.csv")
    for study, rows in table[table["study"] != "posterior-scale"].groupby("study"):
        assert {v.name for v in RIGHT} <= set(rows["variant"]), study
    assert done.returncode == 2  # one posterior has no parameter log_scale to reduce
    assert "softplus, seed 0: failed, StudyError: study posterior-scale: " in done.stderr


def select_built_in(rows):
    return rows[rows["variant"].isin([v.name for v in VARIANTS])].reset_index(drop=True)


def test_broken_variants_change_no_row_of_others(command, tiny, preset, numbers, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    plugin = ("--plugin", tmp_path / "broken.py", "--timeout", 60)
    for name, more, code in (("alone", (), 0), ("beside", plugin, 2)):
        done = command("run", "--all", "--preset", tiny, "--seeds", 1, "--out", tmp_path, "--name", name, *more)
        assert done.returncode == code, done.stderr
        done = command("gradients", "--preset", preset, "--seeds", 1, "--out", tmp_path, "--name", f"g-{name}", *more)
        assert done.returncode == code, done.stderr
    pd.testing.assert_frame_equal(numbers(tmp_path / "alone"), select_built_in(numbers(tmp_path / "beside")))
    tables = [pd.read_csv(tmp_path / f"g-{name}" / "gradients.csv", dtype=str) for name in ("alone", "beside")]
    alone, beside = (t[~t["quantity"].isin(TIMED)].drop(columns=["seconds"]) for t in tables)
    beside = beside[beside["variant"].isin(alone["variant"])]
    pd.testing.assert_frame_equal(alone.reset_index(drop=True), beside.reset_index(drop=True))
