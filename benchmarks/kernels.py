"""How a process computes: its threads, deterministic kernels, memory, and the library that multiplies matrices.

A rule on processor and versions chooses, never a race: all workers of a machine choose alike.
"""

from __future__ import annotations

import ctypes
import functools
import os
import statistics
import time
from typing import Any

import torch

from benchmarks.environment import cores, processor
from benchmarks.errors import UserError

EXACT = 1e-5  # of a float32 product, relative; rounding to bfloat16 leaves 1e-3
CEILING = "AVX512_CORE"  # the last of oneDNN's instruction sets without a product of bfloat16
KEPT = 2**30  # bytes
SIZE, TIMES = 512, 9


@functools.cache
def library(precision: str = "float32") -> str:
    """Which library multiplies float32 matrices: onednn, mkl, or whatever else torch was built with.

    On AMD's processors MKL leaves AVX-512 idle, and oneDNN does not: twice the rate on Zen 5, 1.02 times on Zen 4. On
    Intel's, MKL is ahead.
    """
    vendor, instructions = processor()["vendor_id"], processor()["flags"].split()
    wide = vendor == "AuthenticAMD" and "avx512f" in instructions
    if wide and precision == "float32" and torch.backends.mkldnn.is_available():
        return "onednn"
    return "mkl" if torch.backends.mkl.is_available() else "other"


def settle(threads: int, precision: str = "float32") -> None:
    """So many threads, and the same bits each time; refuses products that are not float32's."""
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # as use_deterministic_algorithms, which imports a compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)  # Adam's means of rare pixels end there, and a step would take twice its time
    _keep_freed_memory()
    if library(precision) == "onednn":
        # the only public switch to oneDNN allows it to round to bfloat16; below the ceiling it can't
        os.environ["ONEDNN_MAX_CPU_ISA"] = CEILING
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    if (error := product_error()) > EXACT:
        raise UserError(
            f"products of float32 matrices are off by {error:.0e} here, so they are rounded to fewer bits; unset "
            "ONEDNN_DEFAULT_FPMATH_MODE and its like, or ask for it with --precision bfloat16"
        )


def _keep_freed_memory() -> None:
    """Large tensors come and go at each step; the system's pages are to stay (where the allocator is GNU's)."""
    change = getattr(ctypes.CDLL(None), "mallopt", None)
    if change is not None:
        for what in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            change(what, KEPT)


def product_error() -> float:
    """The largest error of a product of float32 matrices, relative to the sum of its terms' sizes."""
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=source) for shape in ((64, 256), (256, 64)))
    exact, size = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    return float((((a @ b) - exact).abs() / size).max())


def matrix_rate(device: str = "cpu") -> float:
    """Floating-point operations per second of float32 products of 512 x 512 with this process's threads; the median."""
    a = torch.ones(SIZE, SIZE, device=device)
    out, times = torch.empty_like(a), []
    for _ in range(TIMES):
        start = now(device)
        torch.mm(a, a, out=out)
        times.append(now(device) - start)
    return 2 * SIZE**3 / statistics.median(times)


def now(device: str) -> float:
    """Seconds, after what the device has been asked to do is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def describe(threads: int, workers: int, precision: str) -> dict[str, Any]:
    """What environment.json says of kernels, and the machine's rate with as many threads as all workers have."""
    together = min(threads * workers, cores())
    settle(together, precision)
    return {
        "cuda_devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "kernels": {
            "products": library(precision),
            "product_error": product_error(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "matrix_rate": {"flops_per_second": matrix_rate(), "threads": together},
    }
