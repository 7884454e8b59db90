"""Right variants of a user are measured by `run` and by every study; a broken one changes nothing for the others."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.planning import model_specs, planner
from benchmarks.planning.data.tensors import draw_minibatch
from benchmarks.planning.random_streams import draw_noise, make_generator
from benchmarks.planning.settings import load_settings
from benchmarks.training.baseline_fitting import fit_baseline
from benchmarks.training.state import setup_training
from tests.benchmarks.gradient_studies.test_studies import SMALL
from tests.vaezoo.testing.right_variants import VARIANTS as RIGHT
from vaezoo import VARIANTS, FittedVariant, estimate

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
LOOP_REPEATS = 300
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


def loop_variances(variant, spec, protocol, folder):
    """Variance and standard error by part, in float64, from LOOP_REPEATS backward passes on the first minibatch."""
    setup = setup_training(variant, spec, protocol, folder, 0)
    x = draw_minibatch(setup.data.train, protocol, make_generator(0, "binarize/gradient")).double()
    fitted = fit_baseline(variant, setup.model, setup.data.train, protocol, 0)
    model = FittedVariant(variant, fitted.baseline.double(), fitted.average.double()).attach_to(setup.model.double())
    noise = draw_noise(protocol, variant.draws, torch.Generator().manual_seed(1), LOOP_REPEATS).double()
    by_part = {}
    for part in ("encoder", "decoder"):
        parameters = [p for name, p in model.named_parameters() if name.startswith(part)]
        rows = []
        for repeat in noise:
            value = estimate(variant, model, x, repeat, fitted.average.double()).mean()
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)]))
        g = torch.stack(rows)
        squares = (g - g.mean(0)).square().sum(1) * LOOP_REPEATS / (LOOP_REPEATS - 1)
        by_part[part] = squares.mean().item(), squares.std().item() / LOOP_REPEATS**0.5
    return by_part


@pytest.mark.usefixtures("unchecked_types")
def test_run_and_gradients_report_the_variance_of_a_plain_loop(command, preset, tmp_path):
    """At the initial weights, with noise of their own: within 4 standard errors."""
    common = ("--preset", preset, "--seeds", 1, "--plugin", RIGHT_FILE, "--out", tmp_path)
    done = command("run", *(v.name for v in RIGHT), *common, "--name", "x")
    assert done.returncode == 0, done.stderr
    done = command("gradients", *common, "--name", "g", "--study", "training", "--repeats", LOOP_REPEATS)
    assert done.returncode == 0, done.stderr
    run = pd.read_csv(tmp_path / "x" / "results.csv").query("epoch == 0").set_index("variant")
    study = pd.read_csv(tmp_path / "g" / "gradients.csv").query(
        "checkpoint == 'initial' and quantity == 'variance' and part == 'latent' and layer.isna()"
    )
    protocol, prepared = planner.prepare(load_settings(str(preset), {"seeds": "1"}))
    folder, spec = prepared.folder, model_specs.make_spec(protocol, prepared.facts)
    largest = {}
    for variant in RIGHT:
        for part, (variance, se) in loop_variances(variant, spec, protocol, folder).items():
            row = study[(study["variant"] == variant.name) & (study["parameters"] == part)].iloc[0]
            largest[variant.name, part, "gradients"] = abs(row["value"] - variance) / math.hypot(row["se"], se)
            column = "gradient_variance" if part == "encoder" else "decoder_gradient_variance"
            run_se = se * (LOOP_REPEATS / protocol.gradient_repeats) ** 0.5  # of as many estimates as a run takes
            largest[variant.name, part, "run"] = abs(run[column][variant.name] - variance) / math.hypot(run_se, se)
    assert len(largest) == 4 * len(RIGHT)
    assert max(largest.values()) < 4, max(largest, key=largest.get)


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
