"""The checks of a machine name the fact, the reason and the remedy."""

from pathlib import Path

import pytest

from benchmarks.common.machine import checks, cores, folders


@pytest.mark.parametrize(
    ("limits", "dropped", "words"),
    [
        ({"machine": 8.0, "affinity": 8}, {}, "8 of 8"),
        ({"machine": 8.0, "affinity": 8, "quota": 1.5}, {}, "the limit is: quota 1.5"),
        ({"machine": 8.0, "affinity": 3}, {}, "the limit is: affinity 3"),
        ({"machine": 8.0, "SLURM_CPUS_PER_TASK": 2}, {}, "the limit is: SLURM_CPUS_PER_TASK 2"),
        ({"machine": 8.0}, {"OMP_PROC_BIND": "true"}, "binding of threads to cores is ignored"),
    ],
)
def test_cores(monkeypatch, limits, dropped, words):
    monkeypatch.setattr(cores, "list_core_limits", lambda: limits)
    check = checks.check_cores(limits, dropped)
    assert words in check.fact
    assert bool(check.remedy) == (min(limits.values()) < 8)
    assert check.state == ("note" if check.remedy else "ok")


def test_ignored_variables_are_named():
    assert "OMP_PROC_BIND=true" in checks.check_settings({"OMP_PROC_BIND": "true"}).fact
    assert checks.check_settings({}).fact == "nothing is ignored"


@pytest.mark.parametrize(
    ("variable", "state", "words"), [("none", "ok", "uncompiled"), ("nosuch", "note", "nosuch is not there")]
)
def test_compiler(monkeypatch, variable, state, words):
    monkeypatch.setenv("CXX", variable)
    check = checks.check_compiler()
    assert check.state == state
    assert words in check.fact
    assert ("install g++" in check.remedy) == (state == "note")


def test_temporary_folder(monkeypatch, tmp_path):
    assert checks.check_temporary_folder(tmp_path, str(tmp_path)).state == "ok"
    check = checks.check_temporary_folder(tmp_path, "/proc")
    assert "not TMPDIR=/proc: it can't be written" in check.fact
    assert "set TMPDIR" in check.remedy
    long = tmp_path / ("x" * 100)
    long.mkdir()
    assert (
        f"its path has more than {folders.MAX_LENGTH} bytes" in checks.check_temporary_folder(tmp_path, str(long)).fact
    )
    monkeypatch.setattr(folders, "allows_programs", lambda folder: str(folder) != "/dev")
    monkeypatch.setattr(folders, "is_writable", lambda folder: True)
    assert "it is mounted noexec" in checks.check_temporary_folder(tmp_path, "/dev").fact
    monkeypatch.setattr(folders, "allows_programs", lambda folder: False)
    assert "compiled steps can't be loaded" in checks.check_temporary_folder(tmp_path, "").fact


def test_results_that_cannot_be_written_are_a_fault(tmp_path):
    assert checks.check_disk(Path("/proc/results")).state == "fault"
    assert checks.check_disk(tmp_path / "results").state in ("ok", "note")


def test_a_full_disk_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "read_free", lambda folder: 10)
    assert checks.check_disk(tmp_path).remedy.startswith("free space")


def test_cache(monkeypatch, tmp_path):
    assert checks.check_cache(tmp_path).state == "ok"
    assert "set VAEZOO_CACHE to a writable folder" in checks.check_cache(Path("/proc/x")).remedy
    monkeypatch.setattr(folders, "allows_programs", lambda folder: False)
    assert "mounted noexec" in checks.check_cache(tmp_path).fact


def test_memory(monkeypatch):
    assert checks.check_memory(10**6).remedy == "run fewer cells at a time with --workers"
    assert checks.check_memory(0).state == "ok"


def test_limits(monkeypatch):
    monkeypatch.setattr(checks.resource, "getrlimit", lambda kind: (100, 100))
    assert "100 open files; a run needs about 256" in [check.fact for check in checks.check_limits()]
    monkeypatch.setattr(checks.resource, "getrlimit", lambda kind: (checks.resource.RLIM_INFINITY,) * 2)
    assert list(checks.check_limits()) == []


def test_fonts_and_browser(monkeypatch, tmp_path):
    assert checks.check_fonts().state == "ok"
    monkeypatch.setattr(checks, "FONT", "fonts/ttf/Nothing.ttf")
    assert "lacks its font" in checks.check_fonts().fact
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "copy report.html" in checks.check_browser().remedy
    (tmp_path / "firefox").write_text("#!/bin/sh\n")
    (tmp_path / "firefox").chmod(0o755)
    assert checks.check_browser().fact == "firefox opens report.html"
