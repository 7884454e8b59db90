"""The import of matplotlib without the user's settings, styles, fonts and backend."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from benchmarks.common import cache_paths
from benchmarks.common.machine import folders


def import_matplotlib() -> None:
    """Import matplotlib, before any module that draws; it reads its settings from these places at its import."""
    folders.choose_cache()
    os.environ |= {"MPLBACKEND": "Agg", "MATPLOTLIBRC": os.devnull}
    os.environ["MPLCONFIGDIR"] = str(cache_paths.cache_root() / "matplotlib")
    with contextlib.chdir(Path(__file__).parent):  # not the user's folder, which may contain a file matplotlibrc
        import matplotlib
    matplotlib.use("Agg")  # also if it was imported before; needs no display
