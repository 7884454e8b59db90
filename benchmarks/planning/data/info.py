"""The properties of a data set that are known before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.planning.data.facts import RawDataset, Values


@dataclass(frozen=True)
class DatasetInfo:
    """Properties of a data set; the defaults are for 28 x 28 images with 256 grey levels.

    decode: reads the arrays from the folder of torchvision data. values, maximum: see `Facts`. likelihood, latent_dim,
    hidden, preprocessing: defaults; `hidden` are the widths of the hidden layers.
    sha256: of the decoded arrays, if fixed in advance. fingerprint: data folder -> a text that changes if the files to
    decode change. note: what the program chose for a file of the user.
    """

    name: str
    summary: str
    decode: Callable[[Path], RawDataset]
    shape: tuple[int, ...] = (28, 28)
    values: Values = "unit"
    likelihood: str = "bernoulli"
    latent_dim: int = 20
    hidden: tuple[int, ...] = (400,)
    maximum: float = 255
    preprocessing: str = "none"
    fingerprint: Callable[[Path], str] = lambda root: "1"
    sha256: str = ""
    note: str = ""

    @property
    def binarization(self) -> str:
        """The default: grey pixels are drawn at each step if the likelihood is for binary data."""
        return "dynamic" if self.values == "unit" and self.likelihood == "bernoulli" else "none"
