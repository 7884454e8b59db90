"""Installed packages that fail in any way are left out, and change no global setting."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.planning import registry
from benchmarks.planning.imports import trial
from benchmarks.planning.imports.global_settings import keep_global_settings
from tests.faults.environments.table import PACKAGE, ROOT, install


def fail():
    raise ValueError("of the package")


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (lambda: 7, ""),
        (lambda: os.write(1, b"much " * 100_000), ""),
        (fail, "ValueError: of the package"),
        (lambda: exec("raise SystemExit(0)"), "SystemExit: 0"),
        (lambda: os._exit(0), "its import ends the process (exit code 0)"),
        (lambda: os._exit(3), "its import ends the process (exit code 3)"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "its import ends the process (signal 9)"),
        (lambda: exec("raise KeyboardInterrupt"), "KeyboardInterrupt: "),
    ],
)
def test_an_import_is_tried(capfd, load, reason):
    assert trial.try_import(load) == reason
    assert capfd.readouterr() == ("", "")


def test_an_import_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 0.2)
    assert trial.try_import(lambda: time.sleep(60)) == "its import takes more than 0 s"


def test_global_settings_are_restored():
    before, filters, folder = dict(os.environ), list(warnings.filters), Path.cwd()
    handler = signal.getsignal(signal.SIGINT)
    with keep_global_settings():
        exec(PACKAGE["changes torch"])
    assert torch.get_default_dtype() == torch.float32
    assert torch.zeros(1).device.type == "cpu"
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == 1
    assert np.geterr()["divide"] == "warn"
    assert warnings.filters == filters
    assert Path.cwd() == folder
    assert dict(os.environ) == before
    assert signal.getsignal(signal.SIGINT) is handler


def test_global_settings_are_restored_whichever_library_multiplies_matrices():
    """On some processors the program sets the newer of torch's two settings; torch then refuses to read the older."""
    code = (
        "import torch\n"
        "from benchmarks.planning.imports.global_settings import keep_global_settings\n"
        "from tests.faults.environments.table import PACKAGE\n"
        "matmul = torch.backends.mkldnn.matmul\n"
        "for value in ('ieee', 'bf16'):\n"
        "    matmul.fp32_precision = value\n"
        "    with keep_global_settings():\n"
        "        exec(PACKAGE['changes torch'])\n"
        "        torch.set_float32_matmul_precision('medium' if value == 'ieee' else 'highest')\n"
        "    assert matmul.fp32_precision == value, (matmul.fp32_precision, value)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_packages_that_fail_are_left_out(monkeypatch, tmp_path):
    """One that works is kept beside those that fail."""
    install(*PACKAGE).setup(tmp_path)
    imports = "from vaezoo import Variant, elbo, mlp_normal, pathwise"
    working = f'{imports}\nVARIANTS = [Variant("w", mlp_normal, elbo, pathwise)]'
    (tmp_path / "site" / "package0.py").write_text(working)
    monkeypatch.syspath_prepend(tmp_path / "site")
    with keep_global_settings():
        installed = registry.load_installed.__wrapped__()
        entries, faults = installed.variants, installed.faults
    assert "w" in entries
    assert len(faults) == len(PACKAGE) - 1
    assert all("package" in fault for fault in faults)
