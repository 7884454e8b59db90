"""How a process computes: the rule that chooses, the guard of float32, and equal choices in all workers."""

import subprocess
import sys

import pytest
import torch

from benchmarks import kernels
from benchmarks.errors import UserError


@pytest.fixture
def machine(monkeypatch):
    """Pretends to be another processor, and leaves the switches as they were."""
    before = torch.backends.mkldnn.matmul.fp32_precision

    def be(vendor, flags):
        monkeypatch.setattr(kernels, "processor", lambda: {"vendor_id": vendor, "flags": flags})
        kernels.library.cache_clear()

    yield be
    monkeypatch.undo()
    kernels.library.cache_clear()
    torch.backends.mkldnn.matmul.fp32_precision = before
    torch.set_deterministic_debug_mode("default")
    torch.set_flush_denormal(False)


@pytest.mark.parametrize(
    ("vendor", "flags", "precision", "expected"),
    [
        ("AuthenticAMD", "avx2 avx512f avx512_bf16", "float32", "onednn"),
        ("AuthenticAMD", "avx2", "float32", "mkl"),
        ("AuthenticAMD", "avx2 avx512f", "bfloat16", "mkl"),
        ("GenuineIntel", "avx2 avx512f amx_bf16", "float32", "mkl"),
        ("", "", "float32", "mkl"),
    ],
)
@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="this torch was built without MKL")
def test_the_rule(machine, vendor, flags, precision, expected):
    machine(vendor, flags)
    assert kernels.library(precision) == expected


PRODUCT = """
import sys, torch
from benchmarks import kernels
kernels.library = lambda precision: sys.argv[1]
kernels.settle(1)
torch.manual_seed(0)
torch.save(torch.randn(100, 784) @ torch.randn(784, 400), sys.argv[2])
found = kernels.describe(1, 1, "float32")
print(found["kernels"]["product_error"])
"""


def test_products_are_those_of_float32_whichever_library_multiplies(tmp_path):
    """Within 1e-6 of each other; in processes of their own, since an instruction set is chosen once."""
    products = []
    for library in ("mkl", "onednn"):
        command = [sys.executable, "-c", PRODUCT, library, tmp_path / library]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert float(done.stdout) < kernels.EXACT
        products.append(torch.load(tmp_path / library, weights_only=True))
    assert (products[0] - products[1]).norm() <= 1e-6 * products[0].norm()


def test_a_product_that_is_rounded_to_bfloat16_is_refused(machine, monkeypatch):
    """Planted: a library that takes the permission at its word."""
    exact = torch.Tensor.__matmul__

    def rounded(a, b):
        return exact(a, b) if a.dtype == torch.float64 else exact(a.bfloat16(), b.bfloat16()).float()

    kernels.settle(1)
    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    with pytest.raises(UserError, match=r"off by [0-9]e-0[23] here.*--precision bfloat16"):
        kernels.settle(1)


def test_numbers_too_small_for_a_normal_float_are_flushed(machine):
    kernels.settle(1)
    assert (torch.full((64,), 1e-30) * 1e-10).sum() == 0


def test_the_rate_is_one_that_a_product_reaches():
    rate = kernels.matrix_rate()
    assert 1e8 < rate < 1e14
