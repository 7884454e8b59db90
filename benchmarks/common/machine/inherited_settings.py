"""Settings that a process inherits, and that must not change the results, the speed or the survival of a run."""

from __future__ import annotations

import os
import resource
import sys
import warnings

from benchmarks.common.machine import folders

# Threads, instruction sets, rounding and logs of numerical libraries; tqdm and Typer fail on invalid numbers.
PREFIXES = (
    "AOT_INDUCTOR_", "ATEN_", "BLIS_", "DNNL_", "GOMP_", "GOTO_", "KMP_", "LIBOMP", "MKL_", "MPLBACKEND", "NPY_",
    "NUMEXPR_", "NUMPY_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_", "OPENBLAS_", "PANDAS_", "PYTHONINSPECT",
    "PYTHONWARNINGS", "PYTORCH_", "SCIPY_", "SKLEARN_", "TERMINAL_WIDTH", "TORCH", "TQDM_", "TYPER_", "VECLIB_",
)  # fmt: skip
EXEMPT = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_HOME")  # memory of a GPU, and a folder
OPEN_FILES = 4096
INITIAL_TMPDIR = os.environ.get("TMPDIR", "")
_dropped: dict[str, str] = {}


def neutralize() -> None:
    """Drop inherited settings, and choose a suitable folder for temporary files; before libraries are imported.

    Processes that are started later inherit the result.
    """
    for name in [name for name in os.environ if name.startswith(PREFIXES) and name not in EXEMPT]:
        _dropped[name] = os.environ.pop(name)
    if any(action == "error" for action, *_ in warnings.filters):  # python -W error: libraries warn at their import
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
    sys.warnoptions.clear()
    folders.choose_temporary_folder()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


def list_dropped() -> dict[str, str]:
    """Return the environment variables that this process ignores, with their values."""
    return dict(sorted(_dropped.items()))
