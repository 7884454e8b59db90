"""Random streams: each is identified by a seed and a purpose."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from benchmarks.planning.cases import Protocol


def make_generator(seed: int, purpose: str) -> torch.Generator:
    """Return the CPU generator for a seed and a purpose: "init/decoder.network.0.weight", "batches", "noise", ...

    All variants of a seed therefore have equal initial weights, equal minibatches and, for equal K, equal noise.
    Torch's generator uses 32 bits of the digest: two of 1,000 streams are equal with a probability of 1 in 10,000.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def draw_noise(protocol: Protocol, draws: int, source: torch.Generator, *repeats: int) -> Tensor:
    """Return standard normal noise for a minibatch, [*repeats, K, B, D], on the protocol's device."""
    shape = (*repeats, draws, protocol.batch_size, protocol.latent_dim)
    return torch.randn(shape, generator=source).to(protocol.device)
