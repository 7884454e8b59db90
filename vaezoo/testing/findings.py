"""What a test of a property yields."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Finding:
    """Whether a property of a variant holds, and the measured numbers as a sentence."""

    property: str
    holds: bool
    figure: str


def find_worst(errors: Mapping[str, float]) -> tuple[str, float]:
    """Return the name and the value of the largest error; NaN counts as infinite."""
    known = {name: math.inf if math.isnan(error) else error for name, error in errors.items()}
    name = max(known, key=known.__getitem__)
    return name, known[name]


def relative_difference(value: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference, divided by the largest absolute expected number."""
    return ((value - expected).abs().max() / expected.abs().max().clamp(min=1e-300)).item()
