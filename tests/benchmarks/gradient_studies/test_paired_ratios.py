"""Ratios of variances by draws, decoder passes and seconds: `gradients --against`, exchange rates, their figure."""

import math
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from benchmarks.common.seed_statistics import log_ratio
from benchmarks.gradient_studies import measurement_rows
from benchmarks.gradient_studies.columns import EXCHANGE_RATES, VARIANCE_RATIOS
from benchmarks.gradient_studies.measurement import VariantMeasurement
from benchmarks.gradient_studies.plan import study_plan
from benchmarks.gradient_studies.report import exchange_figures, tables
from benchmarks.planning.settings import load_settings
from benchmarks.reporting.figures import looks
from vaezoo import VARIANTS
from vaezoo.gradients import Measurement, normalise

PRESET = """
dataset = "digits"
seeds = [3]
epochs = 3
batch_size = 10

[gradients]
checkpoints = [0, 1, 2]
repeats = 20
examples = 20
"""
PLUGIN = """
from vaezoo import Estimator, Variant, elbo, mlp_normal

def estimate(log_weight, reduction, q, noise, prediction):
    z = q.rsample(noise)
    for _ in range(99):
        log_weight(z, q)
    return reduction.value(log_weight(z, q))

VARIANTS = [Variant("wasteful", mlp_normal, elbo, Estimator("wasteful", estimate))]
"""
OTHERS = """
from vaezoo import Variant, elbo, iwae, mlp_normal, pathwise

def other_architecture(spec, latent_dim):
    return mlp_normal(spec, latent_dim)

VARIANTS = [
    Variant("iwae-3", mlp_normal, iwae, pathwise, draws=3),
    Variant("other-model", other_architecture, elbo, pathwise),
]
"""
AGAINST = "reinforce-vae-loo"
COMPARED = {"vae", "vae-2", "reinforce-vae", "reinforce-vae-ema", "reinforce-vae-nvil", "wasteful"}
BY_NAME = {v.name: v for v in VARIANTS}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "small.toml").write_text(PRESET)
    (folder / "mine.py").write_text(PLUGIN)
    (folder / "others.py").write_text(OTHERS)
    return SimpleNamespace(preset=folder / "small.toml", plugin=folder / "mine.py", folder=folder)


@pytest.fixture(scope="module")
def pairs(make_once, ask, files):
    """Measure the variant with 100 decoder passes per draw and the project's variants, all against leave-one-out."""
    arguments = ("gradients", "--study", "training", "--preset", files.preset, "--plugin", files.plugin, "--against",
                 AGAINST, "--name", "g", "--workers", 2)  # fmt: skip
    shared = make_once("pairs", lambda out: ask(*arguments, "--out", out))
    table = tables.read_gradients(shared.folder / "g" / "gradients.csv")
    return SimpleNamespace(table=table, out=shared.stdout, folder=shared.folder / "g")


def test_one_command_shows_a_plugin_that_is_better_by_draws_and_worse_by_passes(pairs):
    assert re.search(rf"digits, wasteful against {AGAINST}: better by draws.*, worse by decoder passes", pairs.out)
    lines = [line.split() for line in pairs.out.splitlines() if line.startswith("wasteful ")]
    assert [line[1].rstrip("†") for line in lines] == ["initial", "early", "middle", "end"]
    for line in lines:
        draws, passes = float(line[2]), float(line[5])
        assert draws < 1 < passes
        assert passes == pytest.approx(100 / 1 * draws, rel=0.02)  # of three digits


def test_ratios_are_those_of_the_variances_and_costs(pairs):
    """The variances are measured in other cells, with equal parameters, minibatch and noise."""
    rows = pairs.table[pairs.table["against"] != ""]
    assert set(rows["variant"]) == COMPARED
    assert set(rows["quantity"]) == set(VARIANCE_RATIOS.values())
    assert set(rows["against"]) == {AGAINST}
    encoder = pairs.table[(pairs.table["parameters"] == "encoder") & (pairs.table["layer"] == "")]
    latent = encoder[(encoder["quantity"] == "variance") & (encoder["part"] == "latent")]
    latent = latent.set_index(["variant", "checkpoint"])
    for quantity, cost in (("variance_ratio_draws", "draws"), ("variance_ratio_passes", "passes")):
        for row in rows[rows["quantity"] == quantity].itertuples():
            work, reference = (latent.loc[(name, row.checkpoint)] for name in (row.variant, AGAINST))
            expected = work["value"] * work[cost] / (reference["value"] * reference[cost])
            assert row.value == pytest.approx(expected, rel=1e-5), (row.variant, row.checkpoint)
            assert row.low < row.value < row.high


def test_exchange_rate_in_passes_is_that_in_draws_times_passes_per_draw(pairs):
    rows = pairs.table[(pairs.table["study"] == "training") & (pairs.table["variant"] == "wasteful")]
    by_quantity = {q: rows[rows["quantity"] == q].set_index("checkpoint") for q in EXCHANGE_RATES.values()}
    draws, passes = by_quantity["exchange_rate"], by_quantity["exchange_rate_passes"]
    for column in ("value", "low", "high"):
        assert np.allclose(draws[column], 1, rtol=1e-5)
        assert np.allclose(passes[column], 100, rtol=1e-5)
    assert "times the draws, 100 times the decoder passes and" in pairs.out
    assert len(by_quantity["exchange_rate_seconds"]) == 4


def test_show_prints_the_same_again(pairs, ask):
    done = ask("show", "g", "--out", pairs.folder.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stdout.strip() in pairs.out


def test_the_figure_of_exchange_rates_names_every_variant_that_is_not_pathwise(pairs):
    names = list(dict.fromkeys(pairs.table["variant"]))
    axes = plt.figure().subplots()
    rates = tables.select_over_seeds(pairs.table, "exchange_rate")
    exchange_figures.draw_rates(axes, rates[rates["estimator"] != "pathwise"], looks.assign_looks(names))
    labels = axes.get_legend_handles_labels()[1]
    plt.close("all")
    assert "wasteful" in labels
    pathwise = {v.name for v in VARIANTS if v.estimator.name == "pathwise"}
    noisy = set(pairs.table[pairs.table["value"] > 0]["variant"]) - pathwise - {"pathwise ciwae(0.5)", "vae-blocked"}
    assert set(labels) == noisy


def plan(files, against):
    plugins = [files.plugin, files.folder / "others.py"]  # of which one has other draws, and one another architecture
    settings = load_settings(str(files.preset), {})
    return study_plan.plan_studies([], [], plugins, None, settings, None, files.folder, False, against)


@pytest.mark.parametrize("against", [AGAINST, "wasteful", "iwae-dreg"])
def test_pairs_have_cells_of_their_own_and_change_no_other_cell(against, files):
    others, cells = plan(files, None), plan(files, against)
    assert cells[: len(others)] == others
    added = [cell.variants for cell in cells[len(others) :]]
    builtin = tuple(name for name in BY_NAME if name in {*COMPARED, AGAINST, "vae-blocked"} - {against})
    assert (
        added
        == {
            AGAINST: [(AGAINST, *builtin), (AGAINST, "wasteful")],
            "wasteful": [("wasteful", *builtin)],
            "iwae-dreg": [("iwae-dreg", "iwae", "iwae-stl", "iwae-vimco")],
        }[against]
    )
    assert len({cell.cell_id for cell in cells}) == len(cells)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reinforce-vae-lo"], r"unknown variant 'reinforce-vae-lo'; did you mean reinforce-vae-loo.*known: .*vae-stl"),
        (["autoencoder"], "--against autoencoder: it has no latent noise to measure; use one of vae, vae-2, "),
        (["beta-vae"], r"--against beta-vae: no other variant estimates the gradient of beta_elbo\(4\) in the same"),
        (["vae", "--study", "draws"], "--against vae: pairs are compared by the study training only; add --study"),
    ],
)
def test_a_variant_that_cannot_be_compared_gives_one_line(arguments, words, ask, files):
    done = ask("gradients", "--preset", files.preset, "--out", files.folder, "--against", *arguments)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
    assert re.search(words, done.stderr), done.stderr


def measurement(name, sums, durations, passes):
    moments = normalise(torch.tensor(sums, dtype=torch.float64), None, 1)
    return VariantMeasurement(
        BY_NAME[name], len(sums), Measurement({("encoder", ""): moments}, None, None, "joint"), durations, passes
    )


def test_paired_rows_have_the_ratio_and_the_error_of_the_logarithm():
    numerator, denominator = [4.0, 9.0, 5.0, 6.0], [1.0, 2.0, 2.0, 1.0]
    loo = measurement("reinforce-vae-loo", denominator, (0.1, 0.2, 0.4), 2)
    vae = measurement("vae", numerator, (0.2, 0.2, 0.4), 3)
    rows = {row["quantity"]: row for row in measurement_rows.make_paired_rows([loo, vae], "reinforce-vae-loo")}
    ratio, error = sum(numerator) / sum(denominator), log_ratio(np.array(numerator), np.array(denominator))[1]
    timing = [math.log(2), 0.0, 0.0]
    timing_error = np.std(timing, ddof=1) / math.sqrt(3)
    costs = {"draws": (1 / 2, 1.96 * error, error), "passes": (3 / 2, 1.96 * error, error)}
    costs["seconds"] = (1.0, math.hypot(1.96 * error, 4.302653 * timing_error), math.hypot(error, timing_error))
    assert set(rows) == {f"variance_ratio_{cost}" for cost in costs}
    for cost, (factor, half, se) in costs.items():
        row = rows[f"variance_ratio_{cost}"]
        assert (row["variant"], row["against"]) == ("vae", "reinforce-vae-loo")
        expected = [ratio * factor, ratio * factor * math.exp(-half), ratio * factor * math.exp(half)]
        assert [row["value"], row["low"], row["high"]] == pytest.approx(expected, rel=1e-6)
        assert row["se"] == pytest.approx(ratio * factor * se, rel=1e-6)


def test_a_gradient_without_latent_noise_has_no_ratio():
    loo = measurement("reinforce-vae-loo", [1.0, 2.0], (0.1, 0.1), 2)
    blocked = measurement("vae-blocked", [0.0, 0.0], (0.1, 0.1), 1)
    for against in ("reinforce-vae-loo", "vae-blocked"):
        assert list(measurement_rows.make_paired_rows([loo, blocked], against)) == []
