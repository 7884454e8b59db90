"""Commit and versions of a run."""

import platform

from benchmarks.common import environment


def test_commit_without_git_is_a_hash_of_the_source(monkeypatch):
    monkeypatch.setattr(environment, "_run_git", lambda *arguments: None)
    assert environment.read_commit.__wrapped__() == f"source-{environment.hash_source()}"
    assert len(environment.hash_source()) == 12


def test_versions_contain_code_and_python():
    versions = environment.list_versions()
    assert versions["Python"] in platform.python_version()
    assert environment.hash_source() in versions["vaezoo"]
