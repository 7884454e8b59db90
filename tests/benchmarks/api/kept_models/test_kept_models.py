"""Models that a run keeps: evaluated again to the last bit, sampled, and refused where they do not fit."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vaezoo
from benchmarks.api.kept_models import find_models, samples
from benchmarks.common.errors import UserError
from benchmarks.reporting import results_table
from tests.conftest import FINISHED

METRICS = [
    "elbo", "elbo_se", "validation_elbo", "log_likelihood", "log_likelihood_se", "reconstruction_error",
    "reconstruction_mse", "kl", "active_units",
]  # fmt: skip
PLUGIN = """
from vaezoo import Architecture, Variant, elbo, mlp_normal, pathwise
from vaezoo.models import MLP
ARCHITECTURES = [Architecture("other", MLP.encoder, MLP.decoder, (9,))]
VARIANTS = [Variant("mine", mlp_normal, elbo, pathwise)]
"""


@pytest.fixture
def model_folder(finished, tmp_path):
    """A copy of the finished run, which has kept its models."""
    return shutil.copytree(finished.folder, tmp_path / "kept")


def read_table(folder, pattern):
    (path,) = (folder / "evaluations").glob(pattern)
    return last_rows(path)


def last_rows(path):
    table = results_table.read_results(path)
    return table[table["epoch"] == table["epoch"].max()].sort_values(["variant", "seed"], ignore_index=True)


def test_evaluation_repeats_the_metrics_of_the_run_to_the_last_bit(model_folder, ask):
    done = ask("evaluate", model_folder, "--workers", 2)
    assert done.returncode == 0, done.stderr
    path = next((model_folder / "evaluations").iterdir())
    rows, again = last_rows(model_folder / "results.csv"), last_rows(path)
    assert len(again) == len(FINISHED) * 2
    settings = ["variant", "seed", "epoch", "step", "protocol_id", "cell_id", "data_checksum", "hidden", "likelihood"]
    pd.testing.assert_frame_equal(rows[settings + METRICS], again[settings + METRICS])
    assert str(path) in done.stdout
    assert "log-likelihood" in done.stdout
    assert ask("show", path).returncode == 0


def test_more_draws_change_the_log_likelihood_only(model_folder, ask):
    done = ask("evaluate", model_folder, "--variants", "vae,iwae", "--log-likelihood-draws", 300)
    assert done.returncode == 0, done.stderr
    rows, again = (
        last_rows(model_folder / "results.csv"),
        read_table(model_folder, "digits-*-300-vae+iwae.csv"),
    )
    rows = rows[rows["variant"].isin(["vae", "iwae"])].reset_index(drop=True)
    assert set(again["log_likelihood_draws"]) == {300}
    assert (again["log_likelihood_se"] < rows["log_likelihood_se"]).all()
    assert (again["elbo"] == rows["elbo"]).all()
    assert not set(again["protocol_id"]) & set(rows["protocol_id"])
    z = (again["log_likelihood"] - rows["log_likelihood"]) / np.hypot(
        again["log_likelihood_se"], rows["log_likelihood_se"]
    )
    assert z.abs().max() < 5


def test_evaluation_on_other_data(model_folder, ask, tmp_path):
    dark = np.random.RandomState(0).randint(0, 9, (50, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "dark.npz", train=dark, test=dark[:20])
    done = ask(
        "evaluate", model_folder, "--variants", "vae", "--dataset", tmp_path / "dark.npz", "--log-likelihood-draws", 9
    )
    assert done.returncode == 0, done.stderr
    again, rows = (read_table(model_folder, "dark.npz-*-9-vae.csv"), last_rows(model_folder / "results.csv"))
    assert set(again["dataset"]) == {"dark.npz"}
    assert not set(again["cell_id"]) & set(rows["cell_id"])
    assert not set(again["protocol_id"]) & set(rows["protocol_id"])
    assert not set(again["elbo"]) & set(rows["elbo"])
    np.savez(tmp_path / "wide.npz", train=np.zeros((50, 9, 8), np.uint8))
    np.savez(tmp_path / "real.npz", train=np.full((50, 8, 8), 99.5))
    refused = (("wide.npz", "shape of its examples is (9, 8)"), ("real.npz", "kind of values"), ("none.npz", "No such"))
    for path, words in ((tmp_path / name, words) for name, words in refused):
        done = ask("evaluate", model_folder, "--dataset", path)
        assert done.returncode == 64
        assert words in done.stderr
        assert done.stderr.count("\n") == 1


def test_standardised_data_keep_their_units(command, ask, tmp_path, tiny):
    random = np.random.RandomState(0)
    pd.DataFrame(random.normal(5, 3, (300, 3)), columns=["a", "b", "c"]).to_csv(tmp_path / "t.csv", index=False)
    table = tmp_path / "t.csv"
    run = ("run", "vae", "--preset", tiny, "--dataset", table, "--no-figures", "--no-report", "--keep-models")
    assert ask(*run, "--out", tmp_path, "--name", "r").returncode == 0
    done = ask("evaluate", tmp_path / "r", "--dataset", table)
    assert done.returncode == 0, done.stderr
    rows, again = last_rows(tmp_path / "r" / "results.csv"), last_rows(next((tmp_path / "r" / "evaluations").iterdir()))
    pd.testing.assert_frame_equal(rows[METRICS], again[METRICS])
    assert "give its path with --dataset" in ask("evaluate", tmp_path / "r").stderr
    done = ask("sample", tmp_path / "r", "vae", "--count", 200)
    drawn = pd.read_csv(done.stdout.strip())
    assert list(drawn.columns) == ["a", "b", "c"]
    assert drawn.mean().between(3, 7).all()  # in the units of the file


def test_other_tables_are_standardised_by_the_constants_of_training(ask, tmp_path, tiny):
    """The same numbers under other names: shifted test data have other code, hence a lower log likelihood."""
    random = np.random.RandomState(0)
    train, test = (random.normal(0, 1, (n, 2)) for n in (300, 60))
    np.savez(tmp_path / "t.npz", train=train, test=test)
    np.savez(tmp_path / "same.npz", train=train * 9 + 4, test=test)  # other constants, the same test data
    data = ("--dataset", tmp_path / "t.npz", "--preprocessing", "standardised")
    run = ("run", "vae", "--preset", tiny, *data, "--no-figures", "--no-report", "--keep-models", "--seeds", 1)
    assert ask(*run, "--out", tmp_path, "--name", "r").returncode == 0
    done = ask("evaluate", tmp_path / "r", "--dataset", tmp_path / "same.npz")
    assert done.returncode == 0, done.stderr
    rows = last_rows(tmp_path / "r" / "results.csv")
    again = last_rows(next((tmp_path / "r" / "evaluations").iterdir()))
    assert again["elbo"].tolist() == rows["elbo"].tolist()


def test_a_model_is_loaded_by_the_library_alone(model_folder):
    file = find_models.find_model(model_folder, "vae", 1).path
    trained = vaezoo.load_model(file)
    assert (trained.variant, trained.spec.shape, trained.about["seed"]) == ("vae", (8, 8), 1)
    assert trained.sample(2).shape == (2, 8, 8)


@pytest.mark.parametrize(("suffix", "read"), [(".png", Image.open), (".npy", np.load), (".csv", pd.read_csv)])
def test_samples_are_written_in_the_format_of_the_name(model_folder, ask, tmp_path, suffix, read):
    path = tmp_path / f"s{suffix}"
    done = ask("sample", model_folder, "vae", "--count", 5, "--seed", 1, "--out", path)
    assert done.stdout.strip() == str(path), done.stderr
    assert np.asarray(read(path)).shape == {".png": (18, 28), ".npy": (5, 8, 8), ".csv": (5, 64)}[suffix]


def test_a_picture_has_the_images_in_rows():
    images = np.linspace(0, 1, 6)[:, None, None].repeat(4, 1).repeat(3, 2)
    tiled = samples.tile_images(images)
    assert tiled.shape == (2 * 4 + samples.GAP, 3 * 3 + 2 * samples.GAP)
    assert [tiled[0, 0], tiled[0, 5], tiled[-1, -1], tiled[4, 0]] == [0, 51, 255, 255]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sample", "RUN", "vea"], "did you mean vae"),
        (["sample", "RUN", "vae", "--seed", 7], "it has the seeds 0, 1"),
        (["sample", "RUN", "vae", "--out", "s.jpg"], ".png, .npy, .csv"),
        (["evaluate", "RUN", "--variants", "vea"], "did you mean vae"),
        (["evaluate", "nothing"], "not a run folder"),
        (["evaluate", "RUN", "--log-likelihood-draws", 1], "log-likelihood-draws"),
    ],
)
def test_mistakes_are_one_line(finished, ask, words, message):
    done = ask(*[finished.folder if word == "RUN" else word for word in words])
    assert done.returncode == 64
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_damaged_model_is_named(model_folder, ask):
    path = find_models.find_model(model_folder, "vae", 0).path
    path.write_bytes(path.read_bytes()[:-10])
    done = ask("sample", model_folder, "vae")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert path.name in done.stderr
    done = ask("evaluate", model_folder, "--variants", "vae")
    assert (done.returncode, path.name in done.stderr, "Traceback" in done.stderr) == (2, True, False)
    assert set(read_table(model_folder, "*-vae.csv")["seed"]) == {1}  # the others are evaluated
    (model_folder / "dataset.json").unlink()
    done = ask("evaluate", model_folder)
    assert (done.returncode, "dataset.json, which says how" in done.stderr) == (64, True)


def test_only_cells_without_a_model_are_trained_again(undisturbed, words, ask, tmp_path, numbers):
    folder = shutil.copytree(undisturbed, tmp_path / "run")
    with pytest.raises(UserError, match="has no kept models; give the command of the run again"):
        find_models.list_models(folder)
    assert "no kept models" in ask("evaluate", folder).stderr
    before = numbers(folder)
    done = ask(*words(tmp_path, "run", "--keep-models"))
    assert done.returncode == 0, done.stderr
    assert "ok" in done.stderr
    assert len(find_models.list_models(folder)) == 4
    find_models.find_model(folder, "vae", 1).path.unlink()
    done = ask(*words(tmp_path, "run", "--keep-models"))
    assert "3 finished cells are kept" in done.stderr
    assert len(find_models.list_models(folder)) == 4
    assert ask(*words(tmp_path, "run")).returncode == 0  # a later run without the option leaves them
    assert len(find_models.list_models(folder)) == 4
    pd.testing.assert_frame_equal(numbers(folder), before)


def test_a_plug_ins_model_needs_its_file(ask, tmp_path, tiny):
    (tmp_path / "p.py").write_text(PLUGIN)
    plugin = ("--plugin", tmp_path / "p.py")
    run = ("run", "mine", "--preset", tiny, "--architecture", "other", "--no-figures", "--no-report", "--keep-models")
    assert ask(*run, "--seeds", 1, "--out", tmp_path, "--name", "r", *plugin).returncode == 0
    assert ask("sample", tmp_path / "r", "mine", *plugin).returncode == 0
    assert "unknown variant 'mine'" in ask("sample", tmp_path / "r", "mine").stderr
    done = ask("evaluate", tmp_path / "r", *plugin)
    assert done.returncode == 0, done.stderr
    (tmp_path / "p.py").write_text(PLUGIN.replace("(9,)", "(8,)"))
    done = ask("evaluate", tmp_path / "r", *plugin)
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert "as it was then" in done.stderr
