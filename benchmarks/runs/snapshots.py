"""Snapshot files: arrays and JSON in one .npz archive, without pickled objects."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.atomic_files import Record, write_bytes

ABOUT = "about"


def save(path: Path, about: Record, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a snapshot; if the write fails, print a line and continue, because a cell can finish without it."""
    buffer = io.BytesIO()
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{**arrays, ABOUT: text})
    try:
        write_bytes(path, buffer.getvalue())
    except OSError as error:
        print(f"can't write the snapshot {path}: {error.strerror}; the cell continues without it")


def load(path: Path) -> tuple[Record, dict[str, NDArray[Any]]] | None:
    """Read a snapshot, if the file exists; a damaged file raises one of many exceptions."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive}
    except FileNotFoundError:
        return None
    about: Record = json.loads(arrays.pop(ABOUT).tobytes())
    return about, arrays
