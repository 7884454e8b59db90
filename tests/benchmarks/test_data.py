"""Data sets: what they declare is what they hold; corrupt and missing files are named."""

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import data, places
from benchmarks.decoders import FILES
from benchmarks.errors import UserError
from benchmarks.seeds import generator

SHIPPED = ["mnist5k", "digits", "linear-gaussian"]


@pytest.fixture
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(name, binarization=None):
    prepared = data.prepare(name, places.data_root())
    return data.load(name, prepared.folder, binarization or data.info(name).binarization, "cpu")


@pytest.mark.parametrize("name", SHIPPED)
def test_arrays_are_what_the_data_set_declares(name):
    found, pixels = load(name), int(np.prod(data.info(name).shape))
    for split in (found.train, found.test):
        assert split.shape[1:] == (pixels,)
        assert split.dtype == torch.float32
        assert split.isfinite().all()
    assert len(found.test_labels) == len(found.test)


def test_mnist5k_is_split_3500_500_1000_and_balanced():
    folder = data.prepare("mnist5k", places.data_root()).folder
    train, validation, test, labels = (np.load(f"{folder}/{name}.npy") for name in data.ARRAYS)
    assert [len(a) for a in (train, validation, test)] == [3500, 500, 1000]
    assert (np.bincount(labels) == 100).all()
    everything = np.concatenate([train, validation, test])
    assert len(np.unique(everything, axis=0)) == 5000


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_pixels_lie_in_the_unit_interval_and_test_pixels_are_binary(name):
    found = load(name)
    assert found.train.min() == 0
    assert found.train.max() == 1
    assert ((found.train > 0) & (found.train < 1)).any()
    assert ((found.test == 0) | (found.test == 1)).all()
    static = load(name, "static")
    assert ((static.train == 0) | (static.train == 1)).all()
    assert torch.equal(static.test, found.test)
    assert ((load(name, "none").test > 0) & (load(name, "none").test < 1)).any()


def test_binarized_pixels_have_their_greys_as_means():
    grey = torch.tensor([0.0, 0.1, 0.5, 1 / 255, 254 / 255, 1.0])
    draws = data.binarize(grey.expand(100_000, -1), generator(0, "test"))
    assert (draws[:, 0] == 0).all()
    assert (draws[:, -1] == 1).all()
    error = (draws.mean(0) - grey)[1:-1].abs() / (grey * (1 - grey) / 100_000).sqrt()[1:-1]
    assert error.max() < 5


def test_linear_gaussian_knows_its_evidence():
    found = load("linear-gaussian")
    covariance = torch.cov(found.train.double().T)
    normal = torch.distributions.MultivariateNormal(found.train.double().mean(0), covariance)
    assert found.exact_log_likelihood == pytest.approx(normal.log_prob(found.test.double()).mean().item(), abs=0.02)
    assert torch.linalg.eigvalsh(covariance)[:-2].mean().item() == pytest.approx(1, abs=0.02)


def test_preparing_twice_decodes_once(private_cache, monkeypatch):
    first = data.prepare("digits", places.data_root())
    monkeypatch.setattr(data, "_decode", None)
    assert data.prepare("digits", places.data_root()) == first


def test_a_corrupt_cache_is_named(private_cache):
    folder = data.prepare("digits", places.data_root()).folder
    array = np.load(f"{folder}/train.npy")
    array[5, 5] += 1
    np.save(f"{folder}/train.npy", array)
    with pytest.raises(UserError, match=r"corrupt: their SHA-256 is .* delete that folder"):
        data.prepare("digits", places.data_root())


@pytest.mark.parametrize("text", ["", "[]", "{", '{"checksum": "x"}'])
def test_corrupt_facts_are_named(private_cache, text):
    folder = data.prepare("digits", places.data_root()).folder
    (Path(folder) / "facts.json").write_text(text)
    with pytest.raises(UserError, match="corrupt"):
        data.prepare("digits", places.data_root())


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY"])
def test_a_truncated_cache_is_named(private_cache, content):
    folder = data.prepare("digits", places.data_root()).folder
    (Path(folder) / "train.npy").write_bytes(content)
    with pytest.raises(UserError, match="corrupt"):
        data.prepare("digits", places.data_root())


def test_a_package_that_ships_other_data_is_noticed(private_cache, monkeypatch):
    from sklearn import datasets

    real = datasets.load_digits(return_X_y=True)
    monkeypatch.setattr(datasets, "load_digits", lambda **_: (real[0][::-1], real[1][::-1]))
    with pytest.raises(UserError, match=r"digits is corrupt: its SHA-256 is .* is right; install"):
        data.prepare("digits", places.data_root())
    assert not list(private_cache.glob("digits*"))


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def fashion(tmp_path):
    """Files in torchvision's layout, of the right shapes, under a root."""
    raw = tmp_path / "root" / "FashionMNIST" / "raw"
    for name, count in zip(FILES, (60000, 60000, 10000, 10000), strict=True):
        write_idx(raw / name, np.zeros((count, 28, 28) if "images" in name else (count,)))
    return tmp_path / "root"


def test_torchvisions_files_are_read_and_changes_to_them_seen(private_cache, fashion):
    first = data.prepare("fashion-mnist", fashion)
    loaded = data.load("fashion-mnist", first.folder, "dynamic", "cpu")
    assert loaded.train.shape == (60000, 784)
    write_idx(fashion / "FashionMNIST" / "raw" / FILES[0], np.ones((60000, 28, 28)))
    assert data.prepare("fashion-mnist", fashion).checksum != first.checksum


@pytest.mark.parametrize("damage", ["truncated", "emptied", "other shape"])
def test_a_corrupt_file_of_torchvisions_is_named(private_cache, fashion, damage):
    path = fashion / "FashionMNIST" / "raw" / FILES[0]
    if damage == "other shape":
        write_idx(path, np.zeros((10, 28, 28)))
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == "truncated" else 0])
    with pytest.raises(UserError, match=r"FashionMNIST in .*raw is corrupt .* delete the files"):
        data.prepare("fashion-mnist", fashion)


def test_mnist_files_with_other_digits_are_found_by_their_checksum(private_cache, fashion):
    (fashion / "FashionMNIST").rename(fashion / "MNIST")
    with pytest.raises(UserError, match=r"mnist is corrupt: its SHA-256 is .* is right"):
        data.prepare("mnist", fashion)


def test_missing_files_without_a_network(private_cache, tmp_path, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"can't be downloaded .*; put train-images-idx3-ubyte, .*--data-root"):
        data.prepare("kmnist", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_cache_that_cannot_be_written(monkeypatch):
    monkeypatch.setenv("VAEZOO_CACHE", "/proc/nowhere")
    with pytest.raises(UserError, match="set VAEZOO_CACHE to a writable folder"):
        data.prepare("linear-gaussian", places.data_root())


def test_generators_are_named_by_seed_and_purpose():
    def first(seed, purpose):
        return torch.rand(3, generator=generator(seed, purpose)).tolist()

    assert first(0, "a") == first(0, "a")
    assert first(0, "a") != first(0, "b")
    assert first(0, "a") != first(1, "a")
    assert first(11, "a") != first(1, "1/a")
