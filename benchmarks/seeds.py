"""Randomness: every stream of random numbers is named by a seed and a purpose."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """The CPU generator of this seed for this purpose: "init/decoder.network.0.weight", "batches", "noise", ...

    Variants of one seed so start from equal weights and see equal batches and, for equal draws, equal noise. Torch's
    generator takes 32 bits of the digest in: two of 1,000 streams are equal with a probability of 1 in 10,000.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
