"""Commit, versions and peak memory of a run."""

import platform
import sys
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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says which cores a process may use")
def test_only_cores_that_the_process_may_use_are_counted(monkeypatch):
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda process: {0, 5, 7})
    assert environment.count_cores() == 3
