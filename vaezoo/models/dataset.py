"""Data sets of a user, as records: a name and a function that loads the arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dataset:
    """A data set that a plug-in registers in its list `DATASETS`.

    Args:
        name: identifier in results, unique.
        load: () -> numpy arrays by name: train [N, ...] and, if they exist, validation, test [N, ...] and
            test_labels [N]. One example is one row, with channels last. Types: uint8, or floating-point numbers.
        summary: one line for `list datasets`.
    """

    name: str
    load: Callable[[], Mapping[str, Any]]
    summary: str = ""
