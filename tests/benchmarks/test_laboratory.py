"""The gradient laboratory as a command: every study, every variant, the same bits, findings and figures."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import folders
from benchmarks.errors import UserError
from benchmarks.laboratory import figures, tables
from benchmarks.laboratory.bench import least_draws, snr_floor, with_references
from benchmarks.laboratory.columns import NAMES, TIMED, UNITS
from benchmarks.laboratory.integrands import integrand_moments
from benchmarks.laboratory.studies import STUDIES
from benchmarks.statistics import log_ratio, slope
from vaezoo import VARIANTS
from vaezoo.oracles import cosine, quadratic

SMALL = """
dataset = "digits"
seeds = 2
epochs = 3
batch_size = 10

[gradients]
checkpoints = [0, 1, 2]
repeats = 20
fewer_seeds = 2
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
REPOSITORY = Path(__file__).parents[2]
MEASURED = {v.name for v in VARIANTS} - {"autoencoder"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory, command, small):
    """All studies, with a plug-in that can't be taken apart."""
    out = tmp_path_factory.mktemp("laboratory")
    (out / "mine.py").write_text(PLUGIN)
    done = command("gradients", "--preset", small, "--out", out, "--name", "g", "--plugin", out / "mine.py")
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(folder=out / "g", table=tables.read(out / "g" / "gradients.csv"), done=done)


def test_the_columns_are_those_of_the_contract(measured):
    assert tuple(pd.read_csv(measured.folder / "gradients.csv", nrows=0).columns) == (*NAMES, "schema_version")
    assert set(measured.table["quantity"]) <= set(UNITS)
    assert (measured.table["unit"] == measured.table["quantity"].map(UNITS)).all()


@pytest.mark.parametrize("study", STUDIES)
def test_every_variant_and_the_users_own_are_in_every_study(study, measured):
    rows = measured.table[(measured.table["study"] == study) & (measured.table["quantity"] == "variance")]
    same = {"vae-2"} if study == "draws" else set()  # equal to vae where the number of draws is the study's
    assert MEASURED - same | {"antithetic"} <= set(rows["variant"])
    assert (rows.loc[rows["part"] == "latent", "value"] >= 0).all()


def test_training_is_measured_at_four_checkpoints_with_both_parts(measured):
    rows = measured.table[(measured.table["study"] == "training") & (measured.table["variant"] == "vae")]
    assert set(rows["checkpoint"]) == {"initial", "early", "middle", "end"}
    assert set(rows["parameters"]) == {"encoder", "decoder", "mean", "log_scale"}
    at = rows[(rows["parameters"] == "encoder") & (rows["layer"] == "") & (rows["quantity"] == "variance")]
    for _, own in at.groupby(["seed", "checkpoint"]):
        parts = own.set_index("part")["value"]
        assert parts["total"] == pytest.approx(parts["latent"] + parts["minibatch"], rel=1e-12)
    layers = rows[(rows["layer"] != "") & (rows["parameters"] == "encoder") & (rows["seed"] == 0)]
    latent = at[(at["part"] == "latent") & (at["seed"] == 0)].set_index("checkpoint")["value"]
    pd.testing.assert_series_equal(layers.groupby("checkpoint")["value"].sum().sort_index(), latent.sort_index())


def test_exchange_rates_are_ratios_of_variances_for_equal_draws(measured):
    rows = measured.table[(measured.table["study"] == "training") & (measured.table["checkpoint"] == "initial")]
    own = rows[(rows["seed"] == 1) & (rows["parameters"] == "encoder") & (rows["layer"] == "")].copy()
    latent = own[(own["quantity"] == "variance") & (own["part"] == "latent")].set_index("variant")
    rates = own[own["quantity"] == "exchange_rate"].set_index("variant")
    for name, reference in (("reinforce-vae", "vae"), ("reinforce-vae-loo", "vae"), ("iwae-vimco", "iwae")):
        cost = latent["draws"][name] / latent["draws"][reference]
        expected = cost * latent["value"][name] / latent["value"][reference]
        assert rates["value"][name] == pytest.approx(expected, rel=1e-12)
        assert rates["low"][name] < rates["value"][name] < rates["high"][name]
    assert rates["value"]["vae"] == 1
    assert rates["se"]["vae"] == 0


def test_over_seeds_there_is_a_geometric_mean(measured):
    rows = measured.table[(measured.table["quantity"] == "exchange_rate") & (measured.table["study"] == "training")]
    rows = rows[(rows["variant"] == "reinforce-vae") & (rows["checkpoint"] == "end")]
    single, whole = rows[rows["seed"].notna()], rows[rows["seed"].isna()]
    assert len(single) == 2
    assert whole["value"].item() == pytest.approx(math.sqrt(single["value"].prod()))


def test_one_worker_gives_the_same_numbers(measured, command, small, tmp_path):
    chosen = ["--study", "training", "--study", "batch-size"]
    (tmp_path / "mine.py").write_text(PLUGIN)
    done = command("gradients", *chosen, "--preset", small, "--out", tmp_path, "--name", "one", "--workers", 1,
                   "--plugin", tmp_path / "mine.py")  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = tables.read(tmp_path / "one" / "gradients.csv")
    theirs = measured.table[measured.table["study"].isin(["training", "batch-size"])]
    keys = ["study", "seed", "checkpoint", "variant", "setting_value", "parameters", "layer", "part", "quantity"]
    both = [t[~t["quantity"].isin(TIMED)].drop(columns=["seconds"]).sort_values(keys) for t in (ours, theirs)]
    pd.testing.assert_frame_equal(*(t.reset_index(drop=True) for t in both), check_exact=True)


def test_the_findings_and_figures_are_there(measured):
    out = measured.done.stdout
    assert "draws of REINFORCE with baseline none" in out
    assert "the score function has the lower variance from k = 4 on" in out
    names = {path.stem for path in (measured.folder / "figures").glob("*.png")}
    assert names == {*STUDIES, "summary"}
    for path in (measured.folder / "figures").glob("*.png"):
        assert path.stat().st_size > 10_000


def test_figures_of_a_part_of_the_table(measured, tmp_path):
    for study in STUDIES:
        rows = measured.table[(measured.table["study"] == study) & (measured.table["seed"].fillna(0) == 0)]
        assert [path.stem for path in figures.write(rows, tmp_path / study)] == [study]


def test_a_finished_laboratory_is_kept(measured, command, small):
    again = command("gradients", "--preset", small, "--out", measured.folder.parent, "--name", "g",
                    "--plugin", measured.folder.parent / "mine.py")  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "4 finished cells are kept" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--study", "drawz"], "did you mean draws?"),
        (["--repeats", "3"], "--repeats: "),
        (["--dataset", "mnits"], "did you mean"),
        (["--seeds", "0"], "leave nothing to run"),
        (["--workers", "0"], "at least 1 worker"),
    ],
)
def test_mistakes_are_one_line(arguments, words, ask, small, tmp_path):
    done = ask("gradients", "--preset", small, "--out", tmp_path, *arguments)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_a_wrong_preset_names_its_key(ask, tmp_path):
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
def test_a_million_draws_give_the_variance_of_the_closed_form(name, integrand):
    variant = next(v for v in VARIANTS if v.name == name)
    exact = (integrand.score_variance if name == "reinforce-vae" else integrand.pathwise_variance)(0.0, 1.0)
    found = integrand_moments(variant, integrand.f, 1_000_000, seed=0)
    assert abs(found.variance - exact) < 5 * found.variance_se


def test_references_are_added_where_they_lack():
    by_name = {v.name: v for v in VARIANTS}
    found = with_references([by_name["reinforce-vae-loo"], by_name["ciwae-dreg"]])
    added = {(v.name, v.draws) for v in found[2:]}
    assert added == {("pathwise elbo", 1), ("pathwise elbo", 2), ("pathwise ciwae(0.5)", 5)}
    assert len(with_references(list(VARIANTS))) == len(VARIANTS) + 1
    assert [least_draws(by_name[n]) for n in ("vae-2", "iwae", "ciwae-dreg")] == [1, 5, 5]


def test_the_floor_is_two_standard_deviations_of_pure_noise_in_one_direction():
    noise = torch.randn(20_000, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variance = noise.var(1)
    found = (noise.mean(1).square() - variance / 100) / variance
    assert 2 * found.std().item() == pytest.approx(snr_floor(100), rel=0.1)


def test_a_log_ratio_of_paired_repeats_has_the_error_of_its_differences():
    source = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        common = source.gamma(2.0, size=200)
        ours, theirs = common * source.gamma(5.0, size=200), common * source.gamma(5.0, size=200)
        found.append(log_ratio(ours, theirs))
    values, errors = np.array(found).T
    assert np.std(values) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.08)
    assert log_ratio(ours, ours[:100])[1] > 0


def test_a_slope_is_that_of_the_power_law():
    x = [1.0, 2.0, 4.0, 8.0]
    exact = slope(x, [3 * v**-1.5 for v in x])
    assert (exact.value, exact.low, exact.high) == pytest.approx((-1.5, -1.5, -1.5))
    bent = slope(x, [1.0, 2.0, 5.0, 8.0])
    assert bent.low < bent.value < bent.high
    assert math.isnan(slope(x[:2], [1.0, 2.0]).low)


def test_a_damaged_table_names_its_line(tmp_path: Path) -> None:
    lines = (REPOSITORY / "results" / "gradients" / "gradients.csv").read_text().splitlines()[:5]
    lines[2] = "training,digits"
    (tmp_path / "gradients.csv").write_text("\n".join([*lines, ""]))
    with pytest.raises(UserError, match="line 3 has no study, data set, quantity or variant"):
        tables.read(tmp_path / "gradients.csv")


def test_the_laboratory_is_no_run_to_show() -> None:
    with pytest.raises(UserError, match="is one of the laboratory"):
        folders.find_results("gradients", REPOSITORY / "results")
