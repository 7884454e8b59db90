"""Kernels: the choice of the library, float32 precision, flushed denormals, and the matrix rate."""

import subprocess
import sys

import pytest
import torch

from benchmarks.common import kernels
from benchmarks.common.errors import UserError


@pytest.fixture
def machine(monkeypatch):
    """Replace the processor by another one; restore the settings of torch at the end."""
    before = torch.backends.mkldnn.matmul.fp32_precision

    def set_processor(vendor, flags):
        monkeypatch.setattr(kernels, "read_processor", lambda: {"vendor_id": vendor, "flags": flags})
        kernels.choose_library.cache_clear()

    yield set_processor
    monkeypatch.undo()
    kernels.choose_library.cache_clear()
    torch.backends.mkldnn.matmul.fp32_precision = before
    torch.set_deterministic_debug_mode("default")
    torch.set_flush_denormal(False)
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("vendor", "flags", "precision", "batch_size", "expected"),
    [
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", "float32", 32, "onednn"),
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", "float32", 31, "mkl"),
        ("AuthenticAMD", "avx2", "float32", 100, "mkl"),
        ("AuthenticAMD", "avx2 avx512f", "bfloat16", 100, "mkl"),
        ("GenuineIntel", "avx2 avx512f amx_bf16", "float32", 100, "mkl"),
        ("", "", "float32", 100, "mkl"),
    ],
)
@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch was built without MKL")
def test_choice_of_the_library(machine, vendor, flags, precision, batch_size, expected):
    machine(vendor, flags)
    assert kernels.choose_library(precision, batch_size) == expected


PRODUCT = """
import sys, torch
from benchmarks.common import kernels
kernels.choose_library = lambda precision, batch_size: sys.argv[1]
kernels.configure_kernels(1)
torch.manual_seed(0)
torch.save(torch.randn(100, 784) @ torch.randn(784, 400), sys.argv[2])
facts = kernels.describe_kernels(1, 1, "float32")
print(facts["kernels"]["product_error"])
"""


def test_both_libraries_give_float32_products(tmp_path):
    """They agree within 1e-6. Each runs in a new process, because oneDNN chooses its instruction set once."""
    products = []
    for library in ("mkl", "onednn"):
        command = [sys.executable, "-c", PRODUCT, library, tmp_path / library]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert float(done.stdout) < kernels.MAX_PRODUCT_ERROR
        products.append(torch.load(tmp_path / library, weights_only=True))
    assert (products[0] - products[1]).norm() <= 1e-6 * products[0].norm()


def test_products_rounded_to_bfloat16_are_refused(machine, monkeypatch):
    """Planted fault: a library that rounds to bfloat16, as the switch to oneDNN allows."""
    exact = torch.Tensor.__matmul__

    def rounded(a, b):
        return exact(a, b) if a.dtype == torch.float64 else exact(a.bfloat16(), b.bfloat16()).float()

    kernels.configure_kernels(1)
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    with pytest.raises(UserError, match=r"off by [0-9]e-0[23] here.*--precision bfloat16"):
        kernels.configure_kernels(1)


def test_denormal_numbers_are_flushed_to_zero(machine):
    kernels.configure_kernels(1)
    assert (torch.full((64,), 1e-30) * 1e-10).sum() == 0


def test_the_matrix_rate_is_that_of_the_median_duration(monkeypatch):
    """Five products of 512 x 512 matrices, 2 x 512³ operations each; the median of these durations is 4 seconds."""
    durations = [4.0, 1.0, 50.0, 3.0, 9.0]
    looks = iter([moment for d in durations for moment in (0.0, d)])
    monkeypatch.setattr(kernels, "read_clock", lambda device: next(looks))
    assert kernels.measure_matrix_rate() == 2 * 512**3 / 4
    assert list(looks) == []


@pytest.mark.parametrize(("threads", "workers", "expected"), [(2, 1, 2), (2, 4, 3)])
def test_matrix_rate_is_that_of_the_threads_of_all_workers(machine, monkeypatch, threads, workers, expected):
    configured = []
    monkeypatch.setattr(kernels, "count_cores", lambda: 3)
    monkeypatch.setattr(kernels, "configure_kernels", lambda count, *_: configured.append(count))
    assert kernels.describe_kernels(threads, workers, "float32")["matrix_rate"]["threads"] == expected
    assert configured == [expected]


def test_a_process_has_the_threads_of_the_protocol(machine):
    kernels.configure_kernels(2)
    assert torch.get_num_threads() == 2
