"""Commit, versions and peak memory of a run."""

import platform
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.common import environment, repositories


def test_commit_without_git_is_a_hash_of_the_source(monkeypatch):
    monkeypatch.setattr(repositories, "run_git", lambda *arguments: None)
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


@pytest.mark.parametrize(("changes", "commit"), [("", "0123456789ab"), ("+ x = 1", "0123456789ab+15cec4")])
def test_commit_marks_uncommitted_changes(monkeypatch, changes, commit):
    answers = {"ls-files": "environment.py", "rev-parse": "0123456789abcdef", "diff": changes}
    monkeypatch.setattr(repositories, "run_git", lambda folder, command, *rest: answers[command])
    assert environment.read_commit.__wrapped__() == commit


@pytest.mark.parametrize(("system", "peak"), [("linux", 3 * 2**10), ("darwin", 3 * 2**20)])
def test_peak_memory_is_in_mib(monkeypatch, system, peak):
    monkeypatch.setattr(environment.sys, "platform", system)
    monkeypatch.setattr(environment.resource, "getrusage", lambda process: SimpleNamespace(ru_maxrss=peak))
    assert environment.peak_memory_mib() == 3


ARM = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\nFeatures\t: fp asimd\n\nprocessor\t: 1\n"


def test_a_processor_without_a_name_is_described_by_its_numbers():
    processor = environment.parse_processor(ARM)
    assert processor == {"model name": "CPU implementer 0x41, CPU part 0xd0c", "vendor_id": "", "flags": "fp asimd"}
    assert environment.parse_processor(ARM.replace("0xd0c", "0xd4f")) != processor


def test_a_system_that_hides_its_processor_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(environment.sys, "platform", "linux")
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "cpuinfo")
    assert "cpuinfo is missing" in environment.describe_hidden_processor()
    (tmp_path / "cpuinfo").touch()
    assert environment.describe_hidden_processor() == ""


def test_a_processor_with_a_name_keeps_it():
    text = "processor : 0\nvendor_id : AuthenticAMD\nmodel name : AMD EPYC\nflags : fpu avx2\n"
    expected = {"model name": "AMD EPYC", "vendor_id": "AuthenticAMD", "flags": "fpu avx2"}
    assert environment.parse_processor(text) == expected
