"""Settings that a process inherits, and that must not change the results, the speed or the survival of a run."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common.errors import UserError
from benchmarks.common.machine import folders

# Threads, instruction sets, rounding and logs of numerical libraries; tqdm and Typer fail on invalid numbers.
PREFIXES = (
    "AOT_INDUCTOR_", "ATEN_", "BLIS_", "DNNL_", "GOMP_", "GOTO_", "KMP_", "LIBOMP", "MKL_", "MPLBACKEND", "NPY_",
    "NUMEXPR_", "NUMPY_", "NVIDIA_TF32_OVERRIDE", "OMP_", "ONEDNN_", "OPENBLAS_", "PANDAS_", "PYTHONINSPECT",
    "PYTHONWARNINGS", "PYTORCH_", "SCIPY_", "SKLEARN_", "TERMINAL_WIDTH", "TORCH", "TQDM_", "TYPER_", "VECLIB_",
)  # fmt: skip
EXEMPT = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "TORCH_HOME")  # memory of a GPU, and a folder
THREADS = {"OPENBLAS_NUM_THREADS": "1"}  # of numpy, which needs none; with more it ends if memory is limited
LIMITS = {resource.RLIMIT_NOFILE: 4096, resource.RLIMIT_STACK: 8 * 2**20}  # open files; bytes of the stack
INITIAL_TMPDIR = os.environ.get("TMPDIR", "")
_dropped: dict[str, str] = {}


def neutralize() -> None:
    """Drop inherited settings, and choose a suitable folder for temporary files; before libraries are imported.

    Processes that are started later inherit the result. Raises `UserError` if the working folder has been deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working folder has been deleted; change to another folder, and run again") from None
    for name in [name for name in os.environ if name.startswith(PREFIXES) and name not in EXEMPT]:
        if (value := os.environ.pop(name)) != THREADS.get(name):
            _dropped[name] = value
    os.environ |= THREADS
    if any(action == "error" for action, *_ in warnings.filters):  # python -W error: libraries warn at their import
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
    sys.warnoptions[:] = [option for option in sys.warnoptions if not option.startswith("error")]
    folders.choose_temporary_folder()
    for kind, need in LIMITS.items():
        soft, hard = resource.getrlimit(kind)
        allowed = need if hard == resource.RLIM_INFINITY else min(need, hard)
        if soft != resource.RLIM_INFINITY and soft < allowed:
            resource.setrlimit(kind, (allowed, hard))


@contextlib.contextmanager
def neutral_environment() -> Iterator[None]:
    """Start processes without the inherited settings; the variables and warnings of this process are kept.

    A notebook that uses the harness needs them.
    """
    names = [name for name in os.environ if name.startswith(PREFIXES)]
    before = {name: os.environ.get(name) for name in (*names, "PYTHONSAFEPATH")}
    with warnings.catch_warnings():
        neutralize()
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ |= {} if value is None else {name: value}


def list_dropped() -> dict[str, str]:
    """Return the environment variables that this process ignores, with their values."""
    return dict(sorted(_dropped.items()))
