"""Facts of a data set that its cells need: they are written beside the arrays, and go with them to other machines."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import UserError

Arrays = dict[str, NDArray[np.generic]]
Values = Literal["binary", "unit", "real"]
FACTS_FILE = "facts.json"
SPLITS = ("train", "validation", "test")
ARRAY_NAMES = (*SPLITS, "test_labels")


@dataclass(frozen=True)
class Facts:
    """What a cell must know of its data set.

    name: in results. shape: of one example, channels last. values: "binary" (0 or 1), "unit" (grey, from 0 to 1) or
    "real". maximum: stored value of white; pixels are divided by it. hidden: default widths of the hidden layers.
    exact_log_likelihood: mean log p(x) of the test data, nats; None if it is unknown. columns: names of the columns of
    a table. mean, scale: mean and standard deviation of each dimension of the training data, if values are "real".
    """

    name: str
    shape: tuple[int, ...]
    values: Values
    maximum: float
    hidden: tuple[int, ...]
    exact_log_likelihood: float | None = None
    columns: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


@dataclass(frozen=True)
class RawDataset:
    """Decoded arrays of a data set, before pixels are scaled.

    arrays: train, validation and test [N, P], test_labels [N]. remedy: how to repair corrupt arrays.
    """

    arrays: Arrays
    remedy: str = ""
    exact_log_likelihood: float | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedDataset:
    """A decoded data set on disk. checksum: SHA-256 of its arrays."""

    folder: str
    checksum: str
    facts: Facts


def compute_checksum(arrays: Arrays) -> str:
    """Return the SHA-256 of the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in ARRAY_NAMES:
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def write_facts(folder: Path, facts: Facts, checksum: str) -> None:
    content = {"checksum": checksum, **dataclasses.asdict(facts)}
    (folder / FACTS_FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_facts(folder: Path, name: str = FACTS_FILE) -> tuple[Facts, str]:
    """Return the facts in the folder of data or a run, and the checksum; raise `UserError` if they are corrupt."""
    try:
        content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
        checksum = content.pop("checksum")
        tuples = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
        return Facts(**content | tuples), str(checksum)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the cached data in {folder} are corrupt ({error}); delete it and run again") from error
