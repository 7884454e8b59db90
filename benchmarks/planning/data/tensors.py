"""Data sets as tensors: loading, binary pixels and minibatches."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.facts import SPLITS, Facts, read_facts
from benchmarks.planning.random_streams import make_generator


@dataclass(frozen=True)
class Dataset:
    """A data set on the device: one tensor per split, float32, [N, P].

    train: pixels in [0, 1] (binary if static binarization is used), or real numbers.
    validation, test: binarized once with the same pixels for all seeds; validation may be empty. Examples that are held
    out for validation are a random part of the training split, the same for all seeds.
    log_unit: log of the factor from a density of these tensors to one in the units of the data, nats: minus the sum of
    the logarithms of the scales, or numbers of levels, by which the dimensions were divided.
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


def count_levels(protocol: Protocol) -> int:
    """Return the number of values of a pixel that becomes continuous by added noise; 0 without such noise."""
    match = re.fullmatch(r"dequantised\((\d+)\)", protocol.preprocessing)
    return int(match[1]) if match else 0


def dequantise(x: Tensor, levels: int, source: torch.Generator) -> Tensor:
    """Add uniform noise to pixels that are whole numbers divided by the number of levels.

    The density of the sum integrates to the probability of a whole number, times the number of levels.
    Source: Theis et al. 2016, A note on the evaluation of generative models, arXiv:1511.01844, section 3.1.
    """
    return x + (torch.rand(x.shape, generator=source) / levels).to(x.device)


def draw_minibatch(images: Tensor, protocol: Protocol, source: torch.Generator, index: int = 0) -> Tensor:
    """Return minibatch number `index` in the order of the images, with the pixels of one step."""
    x = images[index * protocol.batch_size :][: protocol.batch_size]
    return draw_pixels(x, protocol, source)


def draw_pixels(x: Tensor, protocol: Protocol, source: torch.Generator) -> Tensor:
    """Return the pixels of one training step: binary if binarization is dynamic, with noise if they are dequantised."""
    if levels := count_levels(protocol):
        return dequantise(x, levels, source)
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
    """Load a prepared data set to the protocol's device; draw binary or noisy pixels of validation and test once.

    constants: facts of other data, by whose mean and scale these are standardised; None for their own.
    """
    path, binarization, levels = Path(folder), protocol.binarization, count_levels(protocol)
    facts, _ = read_facts(path)
    mean, scale = np.array((constants or facts).mean), np.array((constants or facts).scale)
    is_standardised = protocol.preprocessing == "standardised"

    def convert(array: NDArray[Any], name: str) -> Tensor:
        if is_standardised:
            array = (array - mean) / scale
        x = torch.from_numpy(array.astype(np.float32) / np.float32(levels or facts.maximum)).to(protocol.device)
        if name == "train" and binarization != "static":
            return x
        if levels:
            return dequantise(x, levels, make_generator(0, f"dequantise/{name}"))
        return binarize(x, make_generator(0, f"binarize/{name}")) if binarization != "none" else x

    arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in SPLITS}
    if protocol.held_out:
        order = torch.randperm(len(arrays["train"]), generator=make_generator(0, "held-out")).numpy()
        chosen, others = np.sort(order[: protocol.held_out]), np.sort(order[protocol.held_out :])
        arrays |= {"validation": arrays["train"][chosen], "train": arrays["train"][others]}
    labels = torch.from_numpy(np.load(path / "test_labels.npy"))
    log_unit = -float(np.log(scale).sum()) if is_standardised else 0.0
    if levels:
        log_unit = -math.prod(facts.shape) * math.log(levels)
    parts = {name: convert(array, name) for name, array in arrays.items()}
    return Dataset(**parts, test_labels=labels, facts=facts, log_unit=log_unit)
