"""Numerical setup of a process: threads, deterministic kernels, memory, and the library for matrix products."""

from __future__ import annotations

import ctypes
import functools
import os
import statistics
import time
from typing import Any

import torch

from benchmarks.common.environment import read_processor
from benchmarks.common.errors import UserError
from benchmarks.common.machine.cores import count_cores

MAX_PRODUCT_ERROR = 1e-5  # relative error of a float32 product; rounding to bfloat16 gives 1e-3
RATE_MATRIX_SIZE, RATE_REPEATS = 512, 5
SMALL_BATCH = 32  # minibatches with fewer examples are small


@functools.cache
def choose_library(precision: str = "float32", batch_size: int = SMALL_BATCH) -> str:
    """Return the library that multiplies float32 matrices in cells with this minibatch: onednn, mkl, or other.

    A fixed rule, so that all workers of a machine use the same one. On AMD CPUs only oneDNN uses AVX-512: it is 2 times
    as fast as MKL on Zen 5, and 1.02 times on Zen 4. It takes 20 microseconds longer to start a product, so MKL is
    faster for small minibatches: 1.37 times at 20 examples. On Intel CPUs MKL is faster.
    """
    vendor, instructions = read_processor()["vendor_id"], read_processor()["flags"].split()
    amd_with_avx512 = vendor == "AuthenticAMD" and "avx512f" in instructions and batch_size >= SMALL_BATCH
    if amd_with_avx512 and precision == "float32" and torch.backends.mkldnn.is_available():
        return "onednn"
    return "mkl" if torch.backends.mkl.is_available() else "other"


def configure_kernels(threads: int, precision: str = "float32", batch_size: int = SMALL_BATCH) -> None:
    """Set the number of threads and deterministic kernels; raise `UserError` if float32 products are imprecise."""
    torch.set_num_threads(threads)
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms would import a compiler
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)  # denormals in Adam's moments of rare pixels would double a step's time
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only in the GNU C library
    if mallopt is not None:  # keep 1 GiB of freed memory: each step frees and allocates large tensors
        for option in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(option, 2**30)
    if choose_library(precision, batch_size) == "onednn":
        # the only public switch to oneDNN also allows bfloat16 products; this older instruction set has none
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE"
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"  # type: ignore[attr-defined]
    if (error := measure_product_error()) > MAX_PRODUCT_ERROR:
        raise UserError(
            f"products of float32 matrices are off by {error:.0e} here, so they are rounded to fewer bits; unset "
            "ONEDNN_DEFAULT_FPMATH_MODE and similar variables, or allow it with --precision bfloat16"
        )


def measure_product_error() -> float:
    """Return the largest error of a product of float32 matrices, relative to the sum of its terms' absolute values."""
    source = torch.Generator().manual_seed(0)
    a, b = (torch.randn(shape, generator=source) for shape in ((64, 256), (256, 64)))
    exact, size = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    return float((((a @ b) - exact).abs() / size).max())


def measure_matrix_rate(device: str = "cpu") -> float:
    """Return the median rate of float32 products of 512 x 512 matrices, floating-point operations per second."""
    a = torch.ones(RATE_MATRIX_SIZE, RATE_MATRIX_SIZE, device=device)
    out, times = torch.empty_like(a), []
    for _ in range(RATE_REPEATS):
        start = read_clock(device)
        torch.mm(a, a, out=out)
        times.append(read_clock(device) - start)
    return 2 * RATE_MATRIX_SIZE**3 / statistics.median(times)


def read_clock(device: str) -> float:
    """Return the time in seconds, after the device has finished its queued work."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def describe_kernels(threads: int, workers: int, precision: str, batch_size: int = SMALL_BATCH) -> dict[str, Any]:
    """Return the kernels and the matrix rate for environment.json; the rate is for the threads of all workers."""
    all_threads = min(threads * workers, count_cores())
    configure_kernels(all_threads, precision, batch_size)
    return {
        "cuda_devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "kernels": {
            "products": choose_library(precision, batch_size),
            "product_error": measure_product_error(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "matrix_rate": {"flops_per_second": measure_matrix_rate(), "threads": all_threads},
    }
