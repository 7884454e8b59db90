"""Studies of trained models: from rows of results.csv to learning rates, budgets, findings and figures."""

import math

import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.laboratory import figures, pages, tables, trained
from benchmarks.metrics import RESULT_COLUMNS
from vaezoo import VARIANTS

PASSES = {"vae": 1, "reinforce-vae": 1, "vae-2": 2}
ELBO = {
    ("vae", 0.001): -110.0,
    ("vae", 0.01): -120.0,
    ("reinforce-vae", 0.001): -200.0,
    ("reinforce-vae", 0.01): -180.0,
}


def cell(variant, rate, seed, validation=None, test=None, status="ok", dataset="digits", code=""):
    """Epochs 0, 1 and 4 of a cell; its ELBO on the validation split and on the test images at the end."""
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
    pd.DataFrame([row for own in cells for row in own], columns=list(RESULT_COLUMNS)).to_csv(path, index=False)
    return path


@pytest.fixture
def two_runs(tmp_path):
    rates = {name: [cell(v, r, seed) for v, r in ELBO if r == name for seed in range(3)] for name in (0.001, 0.01)}
    return [run(tmp_path / str(rate), *cells) for rate, cells in rates.items()]


def table(paths, studies=trained.TRAINED, passes=PASSES):
    return tables.frame(list(trained.rows(trained.read(paths), passes, studies)))


def test_each_variant_is_taken_at_its_own_best_rate(two_runs):
    chosen = tables.chosen_rates(table(two_runs)).set_index("variant")
    assert chosen["setting_value"].to_dict() == {"vae": 0.001, "reinforce-vae": 0.01}
    assert chosen["value"].to_dict() == {"vae": -110.0, "reinforce-vae": -180.0}
    assert set(chosen["flag"]) == {"best at the edge"}


def test_the_validation_split_chooses_and_the_test_images_are_reported(tmp_path):
    paths = [
        run(tmp_path / "a", cell("vae", 0.001, 0, -110, -105)),
        run(tmp_path / "b", cell("vae", 0.01, 0, -109, -130)),
    ]
    (row,) = tables.chosen_rates(table(paths)).itertuples()
    assert (row.setting_value, row.value) == (0.01, -130)


def test_a_diverged_seed_counts_as_the_worst(tmp_path):
    steady = [cell("vae", 0.001, seed, validation=-150) for seed in range(3)]
    wild = [cell("vae", 0.01, seed, status="ok" if seed == 0 else "diverged") for seed in range(3)]
    found = table([run(tmp_path / "a", *steady), run(tmp_path / "b", *wild)])
    (row,) = tables.chosen_rates(found).itertuples()
    assert row.setting_value == 0.001
    assert set(found[(found["setting_value"] == 0.01) & found["seed"].isna()]["flag"]) == {"diverged"}


def test_only_seeds_that_every_rate_has_are_compared(tmp_path):
    wide = [cell("vae", 0.001, seed, test=-100 - seed) for seed in range(5)]
    found = table([run(tmp_path / "a", *wide), run(tmp_path / "b", cell("vae", 0.01, 1), cell("vae", 0.01, 2))])
    own = found[(found["setting_value"] == 0.001) & (found["part"] == "test")]
    assert set(own["seed"].dropna()) == {1, 2}
    (whole,) = own[own["seed"].isna()].itertuples()
    assert (whole.value, whole.low, whole.high) == (-101.5, -102, -101)


def test_the_budget_counts_examples_times_passes(two_runs, tmp_path):
    two = run(tmp_path / "two", *(cell("vae-2", 0.001, seed) for seed in range(3)))
    found = table([*two_runs, two], ("budget",))
    rows = found[(found["variant"] == "vae-2") & (found["seed"] == 0)].sort_values("setting_value")
    passes, seconds = (
        rows[rows["setting"] == s].set_index("setting_value")["value"] for s in ("decoder_passes", "seconds")
    )
    assert passes.to_dict() == {7 * 10 * 2: -103.0, 28 * 10 * 2: -100.0}
    assert seconds.to_dict() == {0.5: -103.0, 2.0: -100.0}


def test_variants_that_nobody_asks_for_are_left_out(two_runs):
    assert set(table(two_runs, passes={"vae": 1})["variant"]) == {"vae"}


def test_findings_table_and_figures(two_runs, tmp_path):
    found = table(two_runs)
    (sentence,) = tables.findings(found)
    assert "vae -110.0 [-110.0, -110.0] (0.001, the edge of those tried); reinforce-vae -180.0" in sentence
    assert "| `vae` | elbo |  | **-110.0 [-110.0, -110.0]** | -120.0 [-120.0, -120.0] |" in pages.trained(found)
    assert [path.stem for path in figures.write(found, tmp_path)] == ["learning-rate", "budget"]


def no_validation(rows):
    return [row | {"validation_elbo": None} for row in rows]


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (cell("vae", 0.001, 0), cell("vae", 0.01, 0, dataset="mnist5k"), "dataset is digits in"),
        (cell("vae", 0.001, 0), cell("vae", 0.001, 0, code="x"), "more than once"),
        (no_validation(cell("vae", 0.001, 0)), no_validation(cell("vae", 0.01, 0)), "no ELBO on a validation split"),
        (cell("vae", 0.001, 0), cell("vae", 0.01, 1), "no seed is there for every"),
    ],
)
def test_runs_that_cant_be_compared_are_refused(first, second, words, tmp_path):
    with pytest.raises(UserError, match=words):
        table([run(tmp_path / "a", first), run(tmp_path / "b", second)])


def test_the_command_reads_runs_and_keeps_what_it_read(two_runs, command, ask, tmp_path):
    arguments = ("gradients", "--preset", "quick", "--out", tmp_path / "out", "--name", "g")
    runs = [part for path in two_runs for part in ("--run", path)]
    done = command(*arguments, "--study", "learning-rate", *runs)
    assert done.returncode == 0, done.stderr
    assert "reinforce-vae -180.0" in done.stdout
    written = tables.read(tmp_path / "out" / "g" / "gradients.csv")
    assert set(written["study"]) == {"learning-rate"}
    assert math.isclose(tables.chosen_rates(written)["value"].max(), -110)
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
batch_size = 200
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


def test_runs_are_made_once_where_none_are_given(command, tmp_path):
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "small.toml").write_text(PRESET)
    files = ("--preset", tmp_path / "small.toml", "--plugin", tmp_path / "mine.py", "--out", tmp_path / "out")
    done = command("gradients", *files, "--study", "learning-rate", "--study", "budget", "--name", "g")
    assert done.returncode == 0, done.stderr
    written = tables.read(tmp_path / "out" / "g" / "gradients.csv")
    everyone = {v.name for v in VARIANTS} - {"autoencoder"} | {"vae-3"}
    for study in trained.TRAINED:
        assert set(written[written["study"] == study]["variant"]) == everyone
    again = command("gradients", *files, "--study", "budget", "--name", "h")
    assert again.returncode == 0, again.stderr
    assert f"{len(VARIANTS) + 1} finished cells are kept" in again.stderr
