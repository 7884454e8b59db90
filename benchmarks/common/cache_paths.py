"""Folders of data sets and of the cache. Does not import torch."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

CACHE_VARIABLE = "VAEZOO_CACHE"


def cache_root() -> Path:
    """Return the folder of decoded data sets and compiled steps: VAEZOO_CACHE, or vaezoo in the user's cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or user_cache_path("vaezoo"))


def data_root() -> Path:
    """Return the default folder of torchvision's data sets."""
    return cache_root() / "data"
