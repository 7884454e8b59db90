"""Studies of trained models: from rows of results.csv to learning rates, budgets, findings and figures."""

import math

import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.gradient_studies import trained_models
from benchmarks.gradient_studies.report import figures, findings, tables, trained_figures
from benchmarks.reporting.figures import looks
from benchmarks.reporting.results_table import RESULT_COLUMNS
from docs import laboratory_tables
from vaezoo import VARIANTS

PASSES = {"vae": 1, "reinforce-vae": 1, "vae-2": 2}
ELBO = {
    ("vae", 0.001): -110.0,
    ("vae", 0.01): -120.0,
    ("reinforce-vae", 0.001): -200.0,
    ("reinforce-vae", 0.01): -180.0,
}


def cell(variant, rate, seed, validation=None, test=None, status="ok", dataset="digits", code=""):
    """Return rows of a cell at epochs 0, 1 and 4. validation, test: final ELBO on these splits."""
    end = ELBO[variant, rate] if variant in ("vae", "reinforce-vae") else -100.0
    validation, test = end if validation is None else validation, end if test is None else test
    common = dict.fromkeys(RESULT_COLUMNS) | {
        "variant": variant, "dataset": dataset, "seed": seed, "objective": "elbo", "estimator": "pathwise",
        "draws": PASSES.get(variant, 1), "learning_rate": rate, "batch_size": 10, "latent_dim": 5,
        "binarization": "dynamic", "likelihood": "bernoulli", "evaluation_draws": 4,
        "cell_id": f"{variant}-{rate}-{seed}{code}", "status": "ok",
    }  # fmt: skip
    rows = [
        common
        | {"epoch": e, "step": 7 * e, "train_seconds": e / 2, "elbo": test - 4 + e}
        | {"validation_elbo": validation - 4 + e}
        for e in (0, 1, 4)
    ]  # fmt: skip
    return rows if status == "ok" else [*rows[:-1], common | {"epoch": 4, "status": status}]


def run(folder, *cells):
    path = folder / "results.csv"
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([row for rows in cells for row in rows], columns=list(RESULT_COLUMNS)).to_csv(path, index=False)
    return path


@pytest.fixture
def two_runs(tmp_path):
    rates = {name: [cell(v, r, seed) for v, r in ELBO if r == name for seed in range(3)] for name in (0.001, 0.01)}
    return [run(tmp_path / str(rate), *cells) for rate, cells in rates.items()]


def table(paths, studies=trained_models.TRAINED_STUDIES, passes=PASSES):
    return tables.make_frame(list(trained_models.make_rows(trained_models.read_runs(paths), passes, studies)))


def test_best_rate_of_each_variant(two_runs):
    best = tables.select_best_rates(table(two_runs)).set_index("variant")
    assert best["setting_value"].to_dict() == {"vae": 0.001, "reinforce-vae": 0.01}
    assert best["value"].to_dict() == {"vae": -110.0, "reinforce-vae": -180.0}
    assert set(best["flag"]) == {"best at the edge"}


def test_best_rate_is_chosen_on_validation_and_reported_on_test(tmp_path):
    paths = [
        run(tmp_path / "a", cell("vae", 0.001, 0, -110, -105)),
        run(tmp_path / "b", cell("vae", 0.01, 0, -109, -130)),
    ]
    (row,) = tables.select_best_rates(table(paths)).itertuples()
    assert (row.setting_value, row.value) == (0.01, -130)


def test_diverged_seed_counts_as_lowest_elbo(tmp_path):
    stable = [cell("vae", 0.001, seed, validation=-150) for seed in range(3)]
    unstable = [cell("vae", 0.01, seed, status="ok" if seed == 0 else "diverged") for seed in range(3)]
    rows = table([run(tmp_path / "a", *stable), run(tmp_path / "b", *unstable)])
    (best,) = tables.select_best_rates(rows).itertuples()
    assert best.setting_value == 0.001
    assert set(rows[(rows["setting_value"] == 0.01) & rows["seed"].isna()]["flag"]) == {"diverged"}


def test_only_common_seeds_are_compared(tmp_path):
    five_seeds = [cell("vae", 0.001, seed, test=-100 - seed) for seed in range(5)]
    two_seeds = [cell("vae", 0.01, seed) for seed in (1, 2)]
    rows = table([run(tmp_path / "a", *five_seeds), run(tmp_path / "b", *two_seeds)])
    rows = rows[(rows["setting_value"] == 0.001) & (rows["part"] == "test")]
    assert set(rows["seed"].dropna()) == {1, 2}
    (over_seeds,) = rows[rows["seed"].isna()].itertuples()
    assert (over_seeds.value, over_seeds.low, over_seeds.high) == (-101.5, -102, -101)


def test_budget_is_examples_times_passes(two_runs, tmp_path):
    third_run = run(tmp_path / "third", *(cell("vae-2", 0.001, seed) for seed in range(3)))
    rows = table([*two_runs, third_run], ("budget",))
    rows = rows[(rows["variant"] == "vae-2") & (rows["seed"] == 0)].sort_values("setting_value")
    passes, seconds = (
        rows[rows["setting"] == s].set_index("setting_value")["value"] for s in ("decoder_passes", "seconds")
    )
    assert passes.to_dict() == {7 * 10 * 2: -103.0, 28 * 10 * 2: -100.0}
    assert seconds.to_dict() == {0.5: -103.0, 2.0: -100.0}


def test_variants_of_one_rate_have_a_budget_but_no_best_rate(two_runs, tmp_path):
    third_run = run(tmp_path / "third", cell("vae-2", 0.001, 0))
    rows = table([*two_runs, third_run])
    assert set(rows.loc[rows["study"] == "learning-rate", "variant"]) == {"vae", "reinforce-vae"}
    assert set(rows.loc[rows["study"] == "budget", "variant"]) == {"vae", "reinforce-vae", "vae-2"}


def test_variants_may_differ_in_their_latents_but_runs_may_not(two_runs, tmp_path):
    def latents(count):
        return [row | {"latent_dim": count, "prior": f"prior-{count}"} for row in cell("vae-2", 0.001 * count, 0)]

    assert len(table([*two_runs, run(tmp_path / "third", latents(200))]))
    with pytest.raises(UserError, match=r"latent_dim is 200 in .* and 6 in "):
        table([run(tmp_path / "a", latents(200)), run(tmp_path / "b", latents(6))])


def test_only_requested_variants_are_included(two_runs):
    assert set(table(two_runs, passes={"vae": 1})["variant"]) == {"vae"}


def test_findings_table_and_figures(two_runs, tmp_path):
    rows = table(two_runs)
    (sentence,) = findings.list_findings(rows)
    assert "vae -110.0 [-110.0, -110.0] at 0.001 (edge of the rates tried); reinforce-vae -180.0" in sentence
    line = "| `vae` | elbo |  | **-110.0 [-110.0, -110.0]** | -120.0 [-120.0, -120.0] |"
    assert line in laboratory_tables.trained_markdown(rows)
    names = [path.stem for path in figures.write_figures(rows, tmp_path)]
    assert names == ["learning-rate", "learning-rate-all", "budget", "budget-all"]


def test_likelihoods_are_ranked_apart(tmp_path):
    density = [
        [row | {"variant": "density", "likelihood": "gaussian", "cell_id": f"density-{seed}"} for row in rows]
        for seed in range(2)
        for rows in [cell("vae-2", 0.001, seed, test=40.0)]
    ]
    failed = dict.fromkeys(RESULT_COLUMNS) | density[1][0] | {"status": "failed", "epoch": None, "likelihood": None}
    failed |= {"seed": 2, "cell_id": "density-2", "elbo": None, "validation_elbo": None}
    seeds = [cell("vae", 0.001, seed) for seed in range(3)]
    rows = table([run(tmp_path / "a", [failed], *density, *seeds)], passes=PASSES | {"density": 1})
    first, second = findings.list_findings(rows)
    assert first.startswith("digits, likelihood gaussian: test ELBO")
    assert second.startswith("digits, likelihood bernoulli: test ELBO")
    assert ("vae" in first, "density" in second) == (False, False)
    for draw, study in ((trained_figures.draw_learning_rate, "learning-rate"), (trained_figures.draw_budget, "budget")):
        axes = draw(rows[rows["study"] == study], looks.assign_looks(["vae", "density"]))[study].axes
        half = len(axes) // 2
        lines = [axis.get_legend_handles_labels()[1] for axis in axes]
        assert {name for line in lines[:half] for name in line} == {"density"}
        assert {name for line in lines[half:] for name in line} == {"vae"}
        assert [axis.get_title() for axis in axes[::half]] == ["likelihood gaussian", "likelihood bernoulli"]
        assert axes[0].get_ylim()[0] > 0 > axes[half].get_ylim()[1]


def remove_validation(rows):
    return [row | {"validation_elbo": None} for row in rows]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (cell("vae", 0.001, 0), cell("vae", 0.01, 0, dataset="mnist5k"), "dataset is digits in"),
        (cell("vae", 0.001, 0), cell("vae", 0.001, 0, code="x"), "more than once"),
        (
            remove_validation(cell("vae", 0.001, 0)),
            remove_validation(cell("vae", 0.01, 0)),
            "no ELBO on a validation split",
        ),
        (cell("vae", 0.001, 0), cell("vae", 0.01, 1), "have no seed in common"),
        (
            cell("vae", 0.001, 0),
            [row | {"likelihood": "gaussian"} for row in cell("vae", 0.01, 0)],
            "likelihood of vae is bernoulli in one run and gaussian in another",
        ),
    ],
)
def test_runs_that_cannot_be_compared_raise_an_error(first, second, words, tmp_path):
    with pytest.raises(UserError, match=words):
        table([run(tmp_path / "a", first), run(tmp_path / "b", second)])


def test_command_reads_runs(two_runs, ask, tmp_path):
    arguments = ("gradients", "--preset", "quick", "--out", tmp_path / "out", "--name", "g")
    runs = [part for path in two_runs for part in ("--run", path)]
    done = ask(*arguments, "--study", "learning-rate", *runs)
    assert done.returncode == 0, done.stderr
    assert "reinforce-vae -180.0" in done.stdout
    written = tables.read_gradients(tmp_path / "out" / "g" / "gradients.csv")
    assert set(written["study"]) == {"learning-rate"}
    assert math.isclose(tables.select_best_rates(written)["value"].max(), -110)
    wrong = ask(*arguments, "--study", "draws", *runs)
    assert wrong.returncode == 64
    assert "--run is read by the studies learning-rate and budget" in wrong.stderr
    other = ask("gradients", "--out", tmp_path / "out", "--study", "budget", *runs)
    assert other.returncode == 64
    assert "add --dataset digits" in other.stderr


PRESET = """
dataset = "digits"
seeds = 1
epochs = 3
checkpoints = [0, 3]
batch_size = 400
latent_dim = 10
hidden = "20"
evaluation_draws = 2
log_likelihood_draws = 2
gradient_repeats = 2

[gradients]
checkpoints = [0, 1, 2]
learning_rates = [0.002]
"""
PLUGIN = """
from vaezoo import Variant, elbo, mlp_normal, pathwise

VARIANTS = [Variant("vae-3", mlp_normal, elbo, pathwise, draws=3)]
"""


def test_missing_runs_are_made_once(ask, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "small.toml").write_text(PRESET)
    files = ("--preset", tmp_path / "small.toml", "--plugin", tmp_path / "mine.py", "--out", tmp_path / "out")
    done = ask("gradients", *files, "--study", "learning-rate", "--study", "budget", "--name", "g", "--no-figures")
    assert done.returncode == 0, done.stderr
    written = tables.read_gradients(tmp_path / "out" / "g" / "gradients.csv")
    noisy = {v.name for v in VARIANTS} - {"autoencoder"} | {"vae-3"}
    for study in trained_models.TRAINED_STUDIES:
        assert set(written[written["study"] == study]["variant"]) == noisy
    again = ask("gradients", *files, "--study", "budget", "--name", "h", "--no-figures")
    assert again.returncode == 0, again.stderr
    assert f"{len(VARIANTS) + 1} finished cells are kept" in again.stderr
