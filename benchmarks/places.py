"""Where data sets lie, and what is kept between runs. Needs no torch."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_root() -> Path:
    """Where decoded data sets and compiled steps are kept between runs; VAEZOO_CACHE moves it."""
    return Path(os.environ.get("VAEZOO_CACHE") or user_cache_path("vaezoo"))


def data_root() -> Path:
    """Where torchvision's data sets are looked for by default."""
    return cache_root() / "data"
