"""What a test of a property yields."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Finding:
    """Whether a property of a variant holds, and the measured numbers as a sentence."""

    property: str
    holds: bool
    figure: str


def relative_difference(value: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference, divided by the largest absolute expected number."""
    return ((value - expected).abs().max() / expected.abs().max().clamp(min=1e-300)).item()
