"""Read the image arrays of cells. Does not import matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import UserError

Array = NDArray[Any]
Arrays = dict[str, Array]


def read_image_arrays(folder: Path, cell_id: str) -> Arrays:
    """Read the image arrays of a cell, by name; empty if it has no .npz file."""
    path = folder / "cells" / f"{cell_id}.npz"
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a damaged archive raises one of many types
        raise UserError(f"{path} is damaged; delete it and its .json, and run the cell again") from error
