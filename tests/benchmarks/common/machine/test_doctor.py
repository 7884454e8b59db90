"""The exit code of `doctor`."""

import pytest

from benchmarks.cli.commands.machine import diagnose
from benchmarks.common.machine import checks


@pytest.mark.parametrize(("state", "code"), [("fault", 2), ("note", 0)])
def test_doctor_ends_with_an_error_if_no_run_can_work(monkeypatch, capsys, tmp_path, state, code):
    monkeypatch.setattr(checks, "list_checks", lambda out: [checks.Check("results", "read-only", "give --out", state)])
    monkeypatch.setattr(diagnose, "_check_libraries", list)
    assert diagnose.diagnose(out=tmp_path) == code
    assert "read-only. To do: give --out." in capsys.readouterr().out
