"""Commit, versions and peak memory of a run."""

import platform
from pathlib import Path

import pytest

from benchmarks.common import environment


def test_commit_without_git_is_a_hash_of_the_source(monkeypatch):
    monkeypatch.setattr(environment, "_run_git", lambda *arguments: None)
    assert environment.read_commit.__wrapped__() == f"source-{environment.hash_source()}"
    assert len(environment.hash_source()) == 12


def test_versions_contain_code_and_python():
    versions = environment.list_versions()
    assert versions["Python"] in platform.python_version()
    assert environment.hash_source() in versions["vaezoo"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_the_peak_memory_is_the_kernels_in_mib():
    before = environment.peak_memory_mib()
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    assert 0.9 * before <= int(line.split()[1]) / 1024 <= 1.1 * environment.peak_memory_mib()
