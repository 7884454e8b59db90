"""Data sets of a user through every command, on this machine and on Dask."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.planning.data.catalogue import DATASETS, find_dataset
from benchmarks.planning.random_streams import make_generator
from tests.benchmarks.planning.data.user_files import blobs, images
from tests.conftest import TINY
from tests.oracles import LinearGaussian

VARIANTS = ("vae", "reinforce-vae-loo", "iwae-dreg", "autoencoder")
STUDIES = """
[gradients]
checkpoints = [0, 1, 2]
repeats = 20
draws = [1, 4]
batch_sizes = [10, 50]
examples = 50
pairs = 2
"""
PLUGIN = """
import numpy as np
from vaezoo import Dataset

def load():
    random = np.random.RandomState(0)
    return {"train": random.rand(200, 9) < 0.3, "test": random.rand(50, 9) < 0.3}

DATASETS = [Dataset("coins", load, "biased coins")]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of five kinds."""
    folder = tmp_path_factory.mktemp("data")
    np.savez(folder / "grey.npz", train=blobs(400, 12, 20), test=blobs(100, 12, 20))
    labels = np.arange(60) % 3
    np.savez(folder / "colour.npz", train=blobs(300, 32, 32, 3), test=blobs(60, 32, 32, 3), test_labels=labels)
    random = np.random.RandomState(0)
    rows = random.randn(600, 2) @ random.randn(2, 7) * 3 + random.randn(600, 7) * [0.1, 1, 5, 1, 1, 1, 100]
    pd.DataFrame(rows, columns=list("abcdefg")).to_csv(folder / "table.csv", index=False)
    train = {f"train__{'ab'[i % 2]}__{i}": image for i, image in enumerate(blobs(120, 16, 16))}
    images(**train, **{f"test__{'ab'[i % 2]}__{i}": image for i, image in enumerate(blobs(30, 16, 16))})(
        folder / "photos"
    )
    (folder / "plugin.py").write_text(PLUGIN)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["grey.npz", "colour.npz", "table.csv", "photos", "coins"])
def test_every_command_on_data_of_a_user(command, numbers, folder, tmp_path, name):
    dataset = name if name == "coins" else str(folder / name)
    shared = [
        "--dataset",
        dataset,
        "--plugin",
        folder / "plugin.py",
        "--out",
        tmp_path,
        "--preset",
        tmp_path / "p.toml",
    ]
    (tmp_path / "p.toml").write_text(TINY.replace("epochs = 2", "epochs = 3") + STUDIES)
    words = ["run", *VARIANTS, *shared]
    for run, options in (("here", []), ("dask", ["--executor", "dask", "--workers", 2])):
        done = command(*words, "--name", run, *options)
        assert done.returncode == 0, done.stderr
        assert "not drawn" not in done.stderr
    assert numbers(tmp_path / "here").equals(numbers(tmp_path / "dask"))
    results = pd.read_csv(tmp_path / "here" / "results.csv")
    assert set(results["dataset"]) == {name}
    assert set(results["status"]) == {"ok"}
    assert json.loads((tmp_path / "here" / "dataset.json").read_text())["name"] == name
    has_pictures = name not in ("table.csv", "coins")
    assert (tmp_path / "here" / "figures" / "samples.svg").is_file() == has_pictures
    page = (tmp_path / "here" / "report.html").read_text()
    assert ("This run has no pictures" in page) != has_pictures
    done = command("compare", tmp_path / "here", tmp_path / "dask", "--format", "json")
    assert done.returncode == 0, done.stderr
    nats = [v["tolerance"] for v in json.loads(done.stdout)["verdicts"] if v["metric"] == "elbo"]
    assert nats == pytest.approx([0.5 * (results["dimensions"][0] / 784) ** 0.5] * 3, rel=0.05)
    studies = [word for study in ("training", "draws", "batch-size") for word in ("--study", study)]
    done = command("gradients", *studies, *shared, "--seeds", 1, "--name", "studies")
    assert done.returncode == 0, done.stderr
    measured = pd.read_csv(tmp_path / "studies" / "gradients.csv")
    assert {*VARIANTS[:3]} <= {*measured["variant"]}


@pytest.mark.slow
def test_the_log_likelihood_of_a_table_is_the_true_one_in_its_units(command, folder, tmp_path):
    """The data set linear-gaussian as a table in other units; a linear model can have the true density."""
    oracle = DATASETS["linear-gaussian"].decode(tmp_path)
    scales = np.logspace(-3, 3, 10)
    rows = np.concatenate([oracle.arrays[name] for name in ("train", "test")]).astype(float) * scales
    pd.DataFrame(rows, columns=list("abcdefghij")).to_csv(tmp_path / "linear.csv", index=False)
    words = ["--dataset", tmp_path / "linear.csv", "--hidden", "none", "--seeds", 1, "--epochs", 30]
    done = command("run", "vae", "iwae-dreg", *words, "--preset", "quick", "--out", tmp_path, "--name", "x")
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(tmp_path / "x" / "results.csv").query("epoch == 30")
    info = find_dataset(str(tmp_path / "linear.csv"))
    test = info.decode(tmp_path).arrays["test"] / scales
    source = make_generator(0, "data/linear-gaussian")
    columns, _ = torch.linalg.qr(torch.randn(10, 2, generator=source, dtype=torch.float64))
    offset = torch.randn(10, generator=source, dtype=torch.float64)
    truth = LinearGaussian(columns * torch.tensor([3.0, 1.5], dtype=torch.float64), offset)
    exact = truth.log_px(torch.from_numpy(test)).mean().item() - np.log(scales).sum()
    for row in results.itertuples():
        assert row.log_likelihood == pytest.approx(exact, abs=0.05), row.variant
