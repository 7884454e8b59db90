"""Randomness: every stream of random numbers is named by a seed and a purpose."""

from __future__ import annotations

import hashlib

import torch


def generator(seed: int, purpose: str) -> torch.Generator:
    """The CPU generator of this seed for this purpose: "init/decoder.network.0.weight", "batches", "noise", ...

    Variants of one seed so start from equal weights and see equal batches and, for equal draws, equal noise.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
