"""Global settings of libraries that an import may change, and that decide results."""

from __future__ import annotations

import contextlib
import os
import signal
import warnings
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def keep_global_settings() -> Iterator[None]:
    """Restore the environment, signals, warnings, and the defaults of numpy and torch at the end."""
    variables, errors = dict(os.environ), np.geterr()
    folder = os.open(".", os.O_RDONLY)  # it may have been deleted, so its path is of no use
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    threads, precision = torch.get_num_threads(), _read_precision()
    products = torch.backends.mkldnn.matmul.fp32_precision  # type: ignore[attr-defined]
    dtype, is_grad_enabled = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(folder)
        os.close(folder)
        np.seterr(**errors)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        torch.set_default_device(None)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(is_grad_enabled)
        torch.set_num_threads(threads)
        if precision:
            torch.set_float32_matmul_precision(precision)
        torch.backends.mkldnn.matmul.fp32_precision = products  # type: ignore[attr-defined]


def _read_precision() -> str:
    """Return torch's older setting of matrix products; empty if torch refuses, because the newer one was set."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return ""
