"""Data sets of a user: what follows from the values, the split that is made, the identity, and faulty files."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks.common.atomic_files import NAME_PATTERN
from benchmarks.common.errors import UserError
from benchmarks.planning import planner
from benchmarks.planning.data.catalogue import DATASETS, find_dataset
from benchmarks.planning.data.tensors import load_dataset
from benchmarks.planning.data.user.arrays import make_name
from benchmarks.planning.settings import load_settings
from tests.benchmarks.planning.data.user_files import BYTES, FAULTY, blobs, images, save
from tests.planned import prepare


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(path, **overrides):
    settings = load_settings("quick", {"dataset": str(path), "batch_size": 2, **overrides})
    protocol, prepared = planner.prepare(settings)
    return protocol, load_dataset(prepared.folder, protocol)


@pytest.mark.parametrize(
    ("arrays", "values", "likelihood", "binarization"),
    [
        ({"train": BYTES + 7, "test": BYTES}, "unit", "bernoulli", "dynamic"),
        ({"train": BYTES / 2 + 0.25}, "unit", "bernoulli", "dynamic"),
        ({"train": BYTES + 7.5}, "real", "gaussian-learned", "none"),
        ({"train": BYTES.astype(int) - 1}, "real", "gaussian-learned", "none"),
        ({"train": BYTES > 0}, "binary", "bernoulli", "none"),
        ({"train": BYTES * 1.0, "test": BYTES}, "binary", "bernoulli", "none"),
        ({"train": BYTES, "test": BYTES + 0.5}, "unit", "bernoulli", "dynamic"),
        ({"train": blobs(5, 6, 4, 3)}, "unit", "continuous-bernoulli", "none"),
        ({"train": blobs(5, 6, 4, 1)}, "unit", "bernoulli", "dynamic"),
    ],
)
def test_defaults_follow_from_type_and_values(tmp_path, arrays, values, likelihood, binarization):
    np.savez(tmp_path / "x.npz", **arrays)
    info = find_dataset(str(tmp_path / "x.npz"))
    assert (info.name, info.values, info.likelihood, info.binarization) == ("x.npz", values, likelihood, binarization)
    assert info.shape == arrays["train"].shape[1:]
    protocol, data = load(tmp_path / "x.npz")
    assert (protocol.dataset, protocol.likelihood, protocol.binarization) == ("x.npz", likelihood, binarization)
    scale = 255 if arrays["train"].dtype == np.uint8 and values == "unit" else 1
    count = len(data.train)
    assert torch.equal(data.train[0], torch.from_numpy(np.float32(arrays["train"][0]) / np.float32(scale)).flatten())
    assert count == (len(arrays["train"]) if "test" in arrays else round(0.8 * len(arrays["train"])))


def test_the_choice_is_printed(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", train=blobs(10, 12, 20))
    load(tmp_path / "x.npz")
    assert capsys.readouterr().err == (
        "data set x.npz: 8 train, 0 validation, 2 test examples of 12 x 20; defaults: likelihood bernoulli, "
        "binarization dynamic, because all values are grey levels; the test split was drawn from train by a fixed "
        "seed, 20%\n"
    )


def test_the_test_split_is_the_same_each_time_and_has_other_examples(tmp_path):
    train = np.arange(50, dtype=np.float32)[:, None] + [[0.5, 0.25]]
    np.savez(tmp_path / "x.npz", train=train)
    first, second = load(tmp_path / "x.npz")[1], load(tmp_path / "x.npz")[1]
    assert torch.equal(first.test, second.test)
    both = torch.cat([first.train, first.test])
    assert torch.equal(both[both[:, 0].argsort()], torch.from_numpy(train).float())
    assert len(first.test) == 10


def test_identity_is_that_of_the_content(tmp_path):
    np.savez(tmp_path / "x.npz", train=blobs(10, 3, 3))
    first = prepare(str(tmp_path / "x.npz"))
    np.savez_compressed(tmp_path / "x.npz", train=blobs(10, 3, 3))
    assert prepare(str(tmp_path / "x.npz")) == first
    np.savez(tmp_path / "x.npz", train=blobs(11, 3, 3))
    assert prepare(str(tmp_path / "x.npz")).checksum != first.checksum


def test_the_same_numbers_in_another_shape_are_other_data(tmp_path):
    flat = blobs(10, 3, 4).reshape(10, 12)
    np.savez(tmp_path / "x.npz", train=flat)
    first = prepare(str(tmp_path / "x.npz"))
    np.savez(tmp_path / "x.npz", train=flat.reshape(10, 3, 4))
    assert (first.facts.shape, prepare(str(tmp_path / "x.npz")).facts.shape) == ((12,), (3, 4))


@pytest.mark.parametrize("stem", ["_data", "\u6570\u636e", "\u00e9coles", "x" * 150, ".-+", "a b$c"])
def test_any_file_name_gives_a_name_that_results_allow(stem):
    assert NAME_PATTERN.fullmatch(make_name(f"{stem}.npz"))


def test_a_table_is_standardised_and_its_densities_have_the_units_of_the_file(tmp_path):
    rows = np.random.RandomState(0).randn(40, 3) * [1e-3, 1, 1e6] + [0, 5, 1e9]
    lines = ["a,b,c", *(",".join(map(repr, row)) for row in rows.tolist())]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    protocol, data = load(tmp_path / "x.csv")
    assert (protocol.likelihood, protocol.preprocessing, data.facts.columns) == (
        "gaussian-diagonal", "standardised", ("a", "b", "c"),
    )  # fmt: skip
    torch.testing.assert_close(data.train.double().mean(0), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(data.train.double().std(0, correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)
    train = torch.from_numpy(rows[[row for row in range(40) if row not in _test_rows(data, rows)]])
    assert data.log_unit == pytest.approx(-train.std(0, correction=0).log().sum().item(), rel=1e-12)
    assert load(tmp_path / "x.csv", preprocessing="none")[1].log_unit == 0


def _test_rows(data, rows):
    scaled = (rows - np.array(data.facts.mean)) / np.array(data.facts.scale)
    return {int(np.abs(scaled - row).sum(1).argmin()) for row in data.test.numpy()}


def test_a_folder_has_one_folder_for_each_split_and_class(tmp_path):
    pixels = blobs(5, 6, 4)
    images(train__0=pixels[0], train__1=pixels[1], test__b__2=pixels[2], test__a__3=pixels[3])(tmp_path / "my photos")
    info = find_dataset(str(tmp_path / "my photos"))
    raw = info.decode(tmp_path).arrays
    assert (info.name, info.shape) == ("my_photos", (6, 4))
    np.testing.assert_array_equal(raw["train"], pixels[:2].reshape(2, -1))
    np.testing.assert_array_equal(raw["test"], pixels[[3, 2]].reshape(2, -1))
    assert raw["test_labels"].tolist() == [0, 1]


def test_a_folder_of_images_alone_is_split_and_one_colour_image_makes_all_colour(tmp_path):
    grey, colour = blobs(9, 6, 4), blobs(1, 6, 4, 3)
    images(**{f"i{i}": image for i, image in enumerate(grey)}, z=colour[0])(tmp_path / "photos")
    info = find_dataset(str(tmp_path / "photos"))
    assert info.shape == (6, 4, 3)
    assert [len(info.decode(tmp_path).arrays[name]) for name in ("train", "test")] == [8, 2]


def test_a_folder_with_the_name_of_a_data_set_is_refused(tmp_path, monkeypatch):
    images(a=BYTES[0], b=BYTES[1])(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="digits is the name of another data set; rename the folder"):
        find_dataset("./digits")
    assert find_dataset("digits") is DATASETS["digits"]


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_file_is_refused_in_one_line(tmp_path, private_cache, name):
    write, words = FAULTY[name]
    write(tmp_path / name)
    with pytest.raises(UserError) as raised:
        load(tmp_path / name)
    message = str(raised.value)
    assert words in message
    assert "\n" not in message
    assert not private_cache.exists()


def test_values_decide_which_settings_are_possible(tmp_path):
    save(train=BYTES > 0)(tmp_path / "binary.npz")
    save(train=BYTES + np.random.RandomState(0).randn(10, 4, 4) * (np.arange(4) > 0))(tmp_path / "real.npz")
    for name, change, words in (
        ("binary", {"binarization": "dynamic"}, "needs pixels in .* but binary.npz has binary pixels"),
        ("binary", {"preprocessing": "standardised"}, "needs real numbers, but binary.npz has binary pixels"),
        ("real", {"likelihood": "bernoulli"}, "without binarization is not binary"),
        ("real", {"preprocessing": "standardised"}, "dimension 0 of real.npz has the same value in all training"),
    ):
        with pytest.raises(UserError, match=words):
            load(tmp_path / f"{name}.npz", **change)


def test_a_mean_and_a_scale_are_kept_of_real_numbers_only(tmp_path):
    np.savez(tmp_path / "x.npz", train=BYTES + 7.5)
    assert prepare(str(tmp_path / "x.npz")).facts.mean == (7.5,) * 16
    assert prepare("digits").facts.mean == ()
    assert dataclasses.replace(prepare("digits").facts, mean=(1.0,)).name == "digits"
