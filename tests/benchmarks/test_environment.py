"""Where a run took place."""

import platform

from benchmarks import environment


def test_code_without_git_is_known_by_its_hash(monkeypatch):
    monkeypatch.setattr(environment, "_git", lambda *arguments: None)
    assert environment.commit.__wrapped__() == f"source-{environment.code()}"
    assert len(environment.code()) == 12


def test_versions_are_those_that_machines_must_share():
    found = environment.versions()
    assert found["Python"] in platform.python_version()
    assert environment.code() in found["vaezoo"]
