"""The command `gradients`: rows of all studies and variants, equal numbers, findings and figures."""

import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.common.errors import UserError
from benchmarks.common.seed_statistics import log_ratio
from benchmarks.gradient_studies.columns import COLUMN_NAMES, TIMED_QUANTITIES, UNITS
from benchmarks.gradient_studies.integrands import measure_integrand
from benchmarks.gradient_studies.measurement import add_references, fewest_draws
from benchmarks.gradient_studies.measurement_rows import snr_floor
from benchmarks.gradient_studies.report import figures, tables
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.reporting.figures import style
from benchmarks.runs import folders
from tests.oracles import cosine, quadratic
from vaezoo import VARIANTS, mlp_normal

FIGURES = {"training": ("training", "draws-for-one", "draws-for-one-all"), "draws": ("draws",),
           "counter-example": ("counter-example", "one-dimension"), "discrete": ("discrete",),
           "temperature": ("temperature",)}  # fmt: skip
SMALL = """
dataset = "digits"
seeds = 2
epochs = 3
batch_size = 10

[gradients]
checkpoints = [0, 1, 2]
repeats = 20
fewer_seeds = 1
latent_dims = [2, 10]
draws = [1, 2, 4]
batch_sizes = [5, 10]
posterior_scales = [1.0, 0.1]
frequencies = [0.5, 4.0]
integrand_draws = 1000
examples = 20
pairs = 4
"""
PLUGIN = """
from vaezoo import Estimator, Variant, elbo, mlp_normal

def estimate(log_weight, reduction, q, noise, prediction):
    return 0.5 * sum(reduction.value(log_weight(q.rsample(side * noise), q)) for side in (1, -1))

VARIANTS = [Variant("antithetic", mlp_normal, elbo, Estimator("antithetic", estimate))]
"""
REPOSITORY = Path(__file__).parents[3]
CONTINUOUS = {v.name for v in VARIANTS if v.architecture is mlp_normal}
DISCRETE = {v.name for v in VARIANTS} - CONTINUOUS - {"autoencoder"}
DEFAULT = [name for name, study in STUDIES.items() if study.is_default]
RELAXED = {v.name for v in VARIANTS if v.estimator.at_temperature}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def studies(make_once, ask, small):
    """Run all studies, with a plug-in that the joint route cannot measure."""

    def execute(out):
        (out / "mine.py").write_text(PLUGIN)
        return ask("gradients", "--preset", small, "--out", out, "--name", "g", "--plugin", out / "mine.py")

    shared = make_once("studies", execute)
    folder = shared.folder / "g"
    return SimpleNamespace(folder=folder, table=tables.read_gradients(folder / "gradients.csv"), stdout=shared.stdout)


def test_columns_and_units(studies):
    assert tuple(pd.read_csv(studies.folder / "gradients.csv", nrows=0).columns) == (*COLUMN_NAMES, "schema_version")
    assert set(studies.table["quantity"]) <= set(UNITS)
    assert (studies.table["unit"] == studies.table["quantity"].map(UNITS)).all()


@pytest.mark.parametrize("study", DEFAULT)
def test_each_study_measures_all_variants_and_the_plugin(study, studies):
    rows = studies.table[(studies.table["study"] == study) & (studies.table["quantity"] == "variance")]
    equal = {"vae-2"} if study == "draws" else set()  # equal to vae, because the study sets the number of draws
    expected = {"discrete": DISCRETE, "temperature": RELAXED}.get(study, CONTINUOUS - equal | {"antithetic"})
    assert expected <= set(rows["variant"])
    assert bool(DISCRETE & set(rows["variant"])) == STUDIES[study].is_discrete
    assert (rows.loc[rows["part"] == "latent", "value"] >= 0).all()


def test_training_has_four_checkpoints_and_both_parts(studies):
    rows = studies.table[(studies.table["study"] == "training") & (studies.table["variant"] == "vae")]
    assert set(rows["checkpoint"]) == {"initial", "early", "middle", "end"}
    assert set(rows["parameters"]) == {"encoder", "decoder", "mean", "log_scale"}
    encoder = rows[(rows["parameters"] == "encoder") & (rows["layer"] == "") & (rows["quantity"] == "variance")]
    for _, group in encoder.groupby(["seed", "checkpoint"]):
        parts = group.set_index("part")["value"]
        assert parts["total"] == pytest.approx(parts["latent"] + parts["minibatch"], rel=1e-12)
    layers = rows[(rows["layer"] != "") & (rows["parameters"] == "encoder") & (rows["seed"] == 0)]
    latent = encoder[(encoder["part"] == "latent") & (encoder["seed"] == 0)].set_index("checkpoint")["value"]
    pd.testing.assert_series_equal(layers.groupby("checkpoint")["value"].sum().sort_index(), latent.sort_index())


def test_exchange_rate_is_the_ratio_of_variances_per_draw(studies):
    rows = studies.table[(studies.table["study"] == "training") & (studies.table["checkpoint"] == "initial")]
    rows = rows[(rows["seed"] == 1) & (rows["parameters"] == "encoder") & (rows["layer"] == "")]
    latent = rows[(rows["quantity"] == "variance") & (rows["part"] == "latent")].set_index("variant")
    rates = rows[rows["quantity"] == "exchange_rate"].set_index("variant")
    for name, reference in (("reinforce-vae", "vae"), ("reinforce-vae-loo", "vae"), ("iwae-vimco", "iwae")):
        cost = latent["draws"][name] / latent["draws"][reference]
        expected = cost * latent["value"][name] / latent["value"][reference]
        assert rates["value"][name] == pytest.approx(expected, rel=1e-12)
        assert rates["low"][name] < rates["value"][name] < rates["high"][name]
    assert rates["value"]["vae"] == 1
    assert rates["se"]["vae"] == 0


def test_exchange_rate_over_seeds_is_the_geometric_mean(studies):
    rows = studies.table[(studies.table["quantity"] == "exchange_rate") & (studies.table["study"] == "training")]
    rows = rows[(rows["variant"] == "reinforce-vae") & (rows["checkpoint"] == "end")]
    by_seed, over_seeds = rows[rows["seed"].notna()], rows[rows["seed"].isna()]
    assert len(by_seed) == 2
    assert over_seeds["value"].item() == pytest.approx(math.sqrt(by_seed["value"].prod()))


def test_one_worker_gives_equal_numbers_and_its_cells_are_kept(studies, ask, small, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    chosen = ["gradients", "--study", "training", "--seeds", 1, "--preset", small, "--out", tmp_path,
              "--name", "one", "--workers", 1, "--no-figures", "--plugin", tmp_path / "mine.py"]  # fmt: skip
    done = ask(*chosen)
    assert done.returncode == 0, done.stderr
    serial = tables.read_gradients(tmp_path / "one" / "gradients.csv").dropna(subset=["seed"])
    parallel = studies.table[(studies.table["study"] == "training") & (studies.table["seed"] == 0)]
    keys = ["study", "seed", "checkpoint", "variant", "setting_value", "parameters", "layer", "part", "quantity"]
    both = [
        t[~t["quantity"].isin(TIMED_QUANTITIES)].drop(columns=["seconds"]).sort_values(keys) for t in (serial, parallel)
    ]
    pd.testing.assert_frame_equal(*(t.reset_index(drop=True) for t in both), check_exact=True, check_dtype=False)
    again = ask(*chosen)
    assert again.returncode == 0, again.stderr
    count = len(list((tmp_path / "one" / "cells").glob("*.json")))
    assert f"{count} finished cells are kept" in again.stderr


def test_findings_and_figures_are_written(studies):
    out = studies.stdout
    pattern = "digits, {}: for the .* it needs .* \\(initial.* times the draws, .* times the seconds"
    assert all(re.search(pattern.format(name), out) for name in ("reinforce-vae", "iwae-dreg", "antithetic"))
    assert "digits, vae: " not in out
    assert "differ from the pathwise gradient of the same objective: vae-blocked (" in out
    assert "for f(z) = cos(kz) and k from 4 on, the score function has a lower variance" in out
    assert "vae-blocked (" in (studies.folder / "report.html").read_text(encoding="utf-8")
    names = {path.stem for path in (studies.folder / "figures").glob("*.png") if path.stat().st_size > 10_000}
    assert names == {name for study in DEFAULT for name in FIGURES.get(study, (study, f"{study}-all"))}


def test_figures_of_a_part_of_the_table(studies, tmp_path):
    for study in DEFAULT:
        rows = studies.table[(studies.table["study"] == study) & (studies.table["seed"].fillna(0) == 0)]
        drawn = dict(figures.draw_figures(rows))
        paths = [style.save_figure(figure, tmp_path / name, ("svg",)) for name, figure in drawn.items()]
        assert tuple(path.stem for path in paths) == FIGURES.get(study, (study, f"{study}-all"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--study", "drawz"], "did you mean draws?"),
        (["--repeats", "3"], "--repeats: "),
        (["--dataset", "mnits"], "did you mean"),
        (["--seeds", "0"], "--seeds: the number of seeds is 0"),
        (["--workers", "0"], "at least 1 worker"),
    ],
)
def test_wrong_arguments_give_one_line(arguments, words, ask, small, tmp_path):
    done = ask("gradients", "--preset", small, "--out", tmp_path, *arguments)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_wrong_preset_names_its_key(ask, tmp_path):
    (tmp_path / "p.toml").write_text(SMALL.replace("pairs = 4", "pears = 4"))
    done = ask("gradients", "--preset", tmp_path / "p.toml", "--out", tmp_path)
    assert done.returncode == 64
    assert "key pears" in done.stderr
    assert "pairs" in done.stderr
    (tmp_path / "p.toml").write_text(SMALL.replace("[0, 1, 2]", "[0, 2, 5]"))
    done = ask("gradients", "--preset", tmp_path / "p.toml", "--out", tmp_path)
    assert done.returncode == 64
    assert "before the last epoch, 3" in done.stderr


@pytest.mark.parametrize("integrand", [cosine(0.5), cosine(2.0), cosine(8.0), quadratic(3.0)])
@pytest.mark.parametrize("name", ["vae", "reinforce-vae"])
def test_a_million_draws_give_the_exact_variance(name, integrand):
    variant = next(v for v in VARIANTS if v.name == name)
    exact = (integrand.score_variance if name == "reinforce-vae" else integrand.pathwise_variance)(0.0, 1.0)
    moments = measure_integrand(variant, lambda z: integrand.f(z).sum(-1), 1_000_000, seed=0)
    assert abs(moments.variance - exact) < 5 * moments.variance_se


def test_missing_references_are_added():
    by_name = {v.name: v for v in VARIANTS}
    complete = add_references([by_name["reinforce-vae-loo"], by_name["ciwae-dreg"]])
    added = {(v.name, v.draws) for v in complete[2:]}
    assert added == {("vae", 1), ("vae-2", 2), ("pathwise ciwae(0.5)", 5)}
    assert len(add_references(list(VARIANTS))) == len(VARIANTS) + 1
    assert [fewest_draws(by_name[n]) for n in ("vae-2", "iwae", "ciwae-dreg")] == [1, 5, 5]


def test_snr_floor_is_two_standard_deviations_of_noise_in_one_direction():
    noise = torch.randn(20_000, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variance = noise.var(1)
    snr = (noise.mean(1).square() - variance / 100) / variance
    assert 2 * snr.std().item() == pytest.approx(snr_floor(100), rel=0.1)


def test_log_ratio_of_paired_repeats_has_the_error_of_their_differences():
    source = np.random.default_rng(0)
    ratios = []
    for _ in range(2000):
        common = source.gamma(2.0, size=200)
        first, second = common * source.gamma(5.0, size=200), common * source.gamma(5.0, size=200)
        ratios.append(log_ratio(first, second))
    values, errors = np.array(ratios).T
    assert np.std(values) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.08)
    assert log_ratio(first, first[:100])[1] > 0


def test_damaged_table_names_its_line(tmp_path: Path) -> None:
    lines = (REPOSITORY / "results" / "gradients" / "gradients.csv").read_text().splitlines()[:5]
    lines[2] = "training,digits"
    (tmp_path / "gradients.csv").write_text("\n".join([*lines, ""]))
    with pytest.raises(UserError, match="line 3 has no study, data set, quantity or variant"):
        tables.read_gradients(tmp_path / "gradients.csv")


def test_gradients_folder_is_not_a_run() -> None:
    with pytest.raises(UserError, match="contains gradient studies"):
        folders.find_results("gradients", REPOSITORY / "results")
