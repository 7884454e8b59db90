"""Data sets as tensors: loading, binary pixels and minibatches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.facts import SPLITS, Facts, read_facts
from benchmarks.planning.random_streams import make_generator


@dataclass(frozen=True)
class Dataset:
    """A data set on the device: one tensor per split, float32, [N, P].

    train: pixels in [0, 1] (binary if static binarization is used), or real numbers.
    validation, test: binarized once with the same pixels for all seeds; validation may be empty.
    log_unit: log of the factor from a density of these tensors to one in the units of the data, nats: minus the sum of
    the logarithms of the scales by which the dimensions were divided.
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    test_labels: Tensor
    facts: Facts
    log_unit: float = 0.0


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


def load_dataset(folder: str, protocol: Protocol, constants: Facts | None = None) -> Dataset:
    """Load a prepared data set to the protocol's device; binarize validation and test pixels once.

    constants: facts of other data, by whose mean and scale these are standardised; None for their own.
    """
    path, binarization, is_standardised = Path(folder), protocol.binarization, protocol.preprocessing == "standardised"
    facts, _ = read_facts(path)
    mean, scale = np.array((constants or facts).mean), np.array((constants or facts).scale)
    parts = {}
    for name in SPLITS:
        array = np.load(path / f"{name}.npy", mmap_mode="r")
        if is_standardised:
            array = (array - mean) / scale
        x = torch.from_numpy(array.astype(np.float32) / np.float32(facts.maximum)).to(protocol.device)
        is_binary = binarization == "static" or (binarization == "dynamic" and name != "train")
        parts[name] = binarize(x, make_generator(0, f"binarize/{name}")) if is_binary else x
    labels = torch.from_numpy(np.load(path / "test_labels.npy"))
    log_unit = -float(np.log(scale).sum()) if is_standardised else 0.0
    return Dataset(**parts, test_labels=labels, facts=facts, log_unit=log_unit)
