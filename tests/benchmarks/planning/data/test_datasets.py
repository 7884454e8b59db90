"""Data sets: shapes and values of the arrays, and errors for corrupt and missing files."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.common.errors import UserError
from benchmarks.planning.data import cache, tensors
from benchmarks.planning.data.catalogue import DATASETS, find_dataset
from benchmarks.planning.data.facts import ARRAY_NAMES
from benchmarks.planning.data.sources import IDX_FILES
from benchmarks.planning.random_streams import make_generator
from tests.planned import prepare

SHIPPED = ["mnist5k", "digits", "linear-gaussian"]


@pytest.fixture
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(name, binarization=None):
    protocol = SimpleNamespace(
        binarization=binarization or DATASETS[name].binarization, preprocessing="none", held_out=0, device="cpu"
    )
    return tensors.load_dataset(prepare(name).folder, protocol)


@pytest.mark.parametrize("name", SHIPPED)
def test_arrays_match_the_declared_shape(name):
    dataset, pixels = load(name), int(np.prod(find_dataset(name).shape))
    for split in (dataset.train, dataset.test):
        assert split.shape[1:] == (pixels,)
        assert split.dtype == torch.float32
        assert split.isfinite().all()
    assert len(dataset.test_labels) == len(dataset.test)


def test_mnist5k_is_split_3500_500_1000_and_balanced():
    folder = prepare("mnist5k").folder
    train, validation, test, labels = (np.load(f"{folder}/{name}.npy") for name in ARRAY_NAMES)
    assert [len(a) for a in (train, validation, test)] == [3500, 500, 1000]
    assert (np.bincount(labels) == 100).all()
    everything = np.concatenate([train, validation, test])
    assert len(np.unique(everything, axis=0)) == 5000


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_pixels_are_in_the_unit_interval_and_test_pixels_are_binary(name):
    dataset = load(name)
    assert dataset.train.min() == 0
    assert dataset.train.max() == 1
    assert ((dataset.train > 0) & (dataset.train < 1)).any()
    assert ((dataset.test == 0) | (dataset.test == 1)).all()
    static = load(name, "static")
    assert ((static.train == 0) | (static.train == 1)).all()
    assert torch.equal(static.test, dataset.test)
    assert ((load(name, "none").test > 0) & (load(name, "none").test < 1)).any()


def test_mean_of_binarized_pixels_is_the_grey_value():
    grey = torch.tensor([0.0, 0.1, 0.5, 1 / 255, 254 / 255, 1.0])
    draws = tensors.binarize(grey.expand(100_000, -1), make_generator(0, "test"))
    assert (draws[:, 0] == 0).all()
    assert (draws[:, -1] == 1).all()
    error = (draws.mean(0) - grey)[1:-1].abs() / (grey * (1 - grey) / 100_000).sqrt()[1:-1]
    assert error.max() < 5


def test_exact_log_likelihood_of_linear_gaussian_data():
    dataset = load("linear-gaussian")
    covariance = torch.cov(dataset.train.double().T)
    normal = torch.distributions.MultivariateNormal(dataset.train.double().mean(0), covariance)
    assert dataset.facts.exact_log_likelihood == pytest.approx(
        normal.log_prob(dataset.test.double()).mean().item(), abs=0.02
    )
    assert torch.linalg.eigvalsh(covariance)[:-2].mean().item() == pytest.approx(1, abs=0.02)


def test_the_exact_log_likelihood_is_that_of_the_test_split():
    """Under the normal distribution of the formula; the splits are consecutive draws."""
    source = make_generator(0, "data/linear-gaussian")
    columns, _ = torch.linalg.qr(torch.randn(10, 2, generator=source, dtype=torch.float64))
    offset, weight = torch.randn(10, generator=source, dtype=torch.float64), columns * torch.tensor([3.0, 1.5])
    z, noise = (torch.randn(22_000, size, generator=source, dtype=torch.float64) for size in (2, 10))
    dataset, x = load("linear-gaussian"), z @ weight.T + offset + noise
    for split, rows in zip(
        (dataset.train, dataset.validation, dataset.test), x.split([20_000, 1000, 1000]), strict=True
    ):
        torch.testing.assert_close(split, rows.float())
    normal = stats.multivariate_normal(offset, weight @ weight.T + torch.eye(10))
    assert dataset.facts.exact_log_likelihood == pytest.approx(normal.logpdf(x[21_000:]).mean(), rel=1e-6)


@pytest.mark.parametrize("binarization", ["dynamic", "static"])
def test_the_pixels_of_each_split_are_drawn_once_from_its_own_stream(binarization):
    dataset = load("digits", binarization)
    folder = prepare("digits").folder
    for name in ("train", "validation", "test"):
        x = torch.from_numpy(np.load(f"{folder}/{name}.npy")).float() / 16
        if binarization == "static" or name != "train":
            x = (torch.rand(x.shape, generator=make_generator(0, f"binarize/{name}")) < x).float()
        assert torch.equal(getattr(dataset, name), x), name


def test_preparing_twice_decodes_once(private_cache, monkeypatch):
    first = prepare("digits")
    monkeypatch.setattr(cache, "_cache_decoded", None)
    assert prepare("digits") == first


def test_corrupt_cache_is_reported(private_cache):
    folder = prepare("digits").folder
    array = np.load(f"{folder}/train.npy")
    array[5, 5] += 1
    np.save(f"{folder}/train.npy", array)
    with pytest.raises(UserError, match=r"corrupt: their SHA-256 is .* delete that folder"):
        prepare("digits")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"checksum": "x"}'])
def test_corrupt_facts_are_reported(private_cache, text):
    folder = prepare("digits").folder
    (Path(folder) / "facts.json").write_text(text)
    with pytest.raises(UserError, match="corrupt"):
        prepare("digits")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY"])
def test_truncated_cache_is_reported(private_cache, content):
    folder = prepare("digits").folder
    (Path(folder) / "train.npy").write_bytes(content)
    with pytest.raises(UserError, match="corrupt"):
        prepare("digits")


def test_other_data_in_a_package_are_detected(private_cache, monkeypatch):
    from sklearn import datasets as sklearn_datasets

    real = sklearn_datasets.load_digits(return_X_y=True)
    monkeypatch.setattr(sklearn_datasets, "load_digits", lambda **_: (real[0][::-1], real[1][::-1]))
    with pytest.raises(UserError, match=r"digits is corrupt: its SHA-256 is .*, but must be .*; reinstall"):
        prepare("digits")
    assert not list(private_cache.glob("digits*"))


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture
def fashion(tmp_path):
    """Make files in torchvision's layout with the right shapes; return the data folder."""
    raw = tmp_path / "root" / "FashionMNIST" / "raw"
    for name, count in zip(IDX_FILES, (60000, 60000, 10000, 10000), strict=True):
        write_idx(raw / name, np.zeros((count, 28, 28) if "images" in name else (count,)))
    return tmp_path / "root"


def test_torchvision_files_are_read_and_changes_are_detected(private_cache, fashion):
    first = prepare("fashion-mnist", fashion)
    loaded = tensors.load_dataset(
        first.folder, SimpleNamespace(binarization="dynamic", preprocessing="none", held_out=0, device="cpu")
    )
    assert loaded.train.shape == (60000, 784)
    write_idx(fashion / "FashionMNIST" / "raw" / IDX_FILES[0], np.ones((60000, 28, 28)))
    assert prepare("fashion-mnist", fashion).checksum != first.checksum


@pytest.mark.parametrize("damage", ["truncated", "emptied", "other shape"])
def test_corrupt_torchvision_file_is_reported(private_cache, fashion, damage):
    path = fashion / "FashionMNIST" / "raw" / IDX_FILES[0]
    if damage == "other shape":
        write_idx(path, np.zeros((10, 28, 28)))
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == "truncated" else 0])
    with pytest.raises(UserError, match=r"FashionMNIST in .*raw is corrupt .* delete the files"):
        prepare("fashion-mnist", fashion)


def test_mnist_files_with_other_digits_are_detected_by_checksum(private_cache, fashion):
    (fashion / "FashionMNIST").rename(fashion / "MNIST")
    with pytest.raises(UserError, match=r"mnist is corrupt: its SHA-256 is .*, but must be"):
        prepare("mnist", fashion)


def test_missing_files_without_a_network(private_cache, tmp_path, monkeypatch):
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"can't be downloaded .*; put train-images-idx3-ubyte, .*--data-root"):
        prepare("kmnist", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_unwritable_cache(monkeypatch):
    monkeypatch.setenv("VAEZOO_CACHE", "/proc/nowhere")
    with pytest.raises(UserError, match="set VAEZOO_CACHE to a writable folder"):
        prepare("linear-gaussian")


def test_random_streams_depend_on_seed_and_purpose():
    def first(seed, purpose):
        return torch.rand(3, generator=make_generator(seed, purpose)).tolist()

    assert first(0, "a") == first(0, "a")
    assert first(0, "a") != first(0, "b")
    assert first(0, "a") != first(1, "a")
    assert first(11, "a") != first(1, "1a")


def test_pixels_of_each_split_have_a_stream():
    binary, grey = load("digits", "static"), load("digits", "none")
    for name in ("train", "validation", "test"):
        expected = tensors.binarize(getattr(grey, name), make_generator(0, f"binarize/{name}"))
        assert torch.equal(getattr(binary, name), expected), name


def test_minibatches_follow_each_other():
    protocol = SimpleNamespace(batch_size=3, binarization="none", preprocessing="none")
    images = torch.arange(9.0)[:, None]
    rows = [tensors.draw_minibatch(images, protocol, torch.Generator(), index).flatten().tolist() for index in range(3)]
    assert rows == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_white_pixels_are_drawn_as_white_without_exception():
    """A million of them: a limit that is lower by one of 32,768 steps would give about 30 black ones."""
    binarizer = tensors.Binarizer(torch.ones(1000, 1000), 1000)
    assert binarizer.draw(torch.arange(1000), make_generator(0, "test")).all()


def test_random_streams_depend_on_the_whole_purpose():
    draws = {torch.rand((), generator=make_generator(0, f"init/{name}")).item() for name in ("a", "b", "b/a")}
    assert len(draws) == 3
