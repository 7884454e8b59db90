"""Folders for temporary files and the cache: writable, short, and able to hold programs."""

import os
import tempfile
from pathlib import Path

import pytest

from benchmarks.common import cache_paths
from benchmarks.common.errors import UserError
from benchmarks.common.machine import compiler, folders


@pytest.fixture(autouse=True)
def restore(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", tempfile.gettempdir())
    monkeypatch.setenv("TMPDIR", tempfile.gettempdir())


@pytest.fixture
def candidates(monkeypatch, tmp_path_factory):
    """Two folders that take the place of /tmp and /var/tmp, and a way to say what is wrong with a folder."""
    first, second = (tmp_path_factory.mktemp(name) for name in ("a", "b"))
    monkeypatch.setattr(folders, "TEMPORARY_FOLDERS", (str(first), str(second)))
    monkeypatch.setattr(folders, "MAX_LENGTH", 300)
    return str(first), str(second)


def choose(monkeypatch, wish):
    monkeypatch.setenv("TMPDIR", wish)
    folders.choose_temporary_folder()
    assert tempfile.gettempdir() == os.environ["TMPDIR"]
    return os.environ["TMPDIR"]


def test_the_users_folder_is_preferred(monkeypatch, candidates, tmp_path):
    assert choose(monkeypatch, str(tmp_path)) == str(tmp_path)
    assert choose(monkeypatch, "") == candidates[0]


def test_a_folder_that_is_missing_or_long_is_replaced(monkeypatch, candidates, tmp_path):
    assert choose(monkeypatch, str(tmp_path / "none")) == candidates[0]
    monkeypatch.setattr(folders, "MAX_LENGTH", len(str(tmp_path)))
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(folders, "TEMPORARY_FOLDERS", (str(tmp_path),))
    assert choose(monkeypatch, str(tmp_path / "x")) == str(tmp_path)


def test_a_folder_that_allows_programs_is_preferred(monkeypatch, candidates, tmp_path):
    monkeypatch.setattr(folders, "allows_programs", lambda folder: str(folder) == candidates[1])
    assert choose(monkeypatch, str(tmp_path)) == candidates[1]
    monkeypatch.setattr(folders, "allows_programs", lambda folder: False)
    assert choose(monkeypatch, str(tmp_path)) == str(tmp_path)


def test_without_any_folder_there_is_one_line(monkeypatch, candidates):
    monkeypatch.setattr(folders, "is_writable", lambda folder: False)
    with pytest.raises(UserError, match=r"no folder for temporary files: .* set TMPDIR to a writable folder"):
        choose(monkeypatch, "/nosuch")


def test_proc_is_not_writable_and_allows_no_programs():
    assert not folders.is_writable(Path("/proc"))
    assert folders.allows_programs(Path(__file__).parent)


def test_a_cache_that_cannot_be_written_is_replaced_and_said(monkeypatch, capsys, tmp_path):
    monkeypatch.delenv(cache_paths.CACHE_VARIABLE)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(folders, "cache_root", lambda: Path("/proc/nosuch"))
    folders.choose_cache()
    cache = Path(os.environ[cache_paths.CACHE_VARIABLE])
    assert cache == tmp_path / f"vaezoo-{os.getuid()}"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert "the cache folder /proc/nosuch is not used" in capsys.readouterr().err
    monkeypatch.delenv(cache_paths.CACHE_VARIABLE)
    cache.chmod(0o777)  # another user may have made it, to plant a compiled step
    folders.choose_cache()
    assert os.environ[cache_paths.CACHE_VARIABLE] != str(cache)


def test_a_cache_that_the_user_chose_is_kept(monkeypatch, capsys):
    monkeypatch.setenv(cache_paths.CACHE_VARIABLE, "/proc/nosuch")
    folders.choose_cache()
    assert os.environ[cache_paths.CACHE_VARIABLE] == "/proc/nosuch"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("works", 'g++ "$@"', ""),
        ("fails", "echo no such header >&2; exit 1", "no such header"),
        ("silent", "exit 3", "exit code 3"),
        ("empty", 'while [ "$1" != "-o" ]; do shift; done; touch "$2"', "too short"),
    ],
)  # fmt: skip
def test_a_compiler_is_tried(monkeypatch, tmp_path, name, text, reason):
    program = tmp_path / name
    program.write_text(f"#!/bin/bash\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("CXX", str(program))
    if name == "works" and not compiler.shutil.which("g++"):
        pytest.skip("needs g++")
    assert reason in compiler.try_compiler()
    assert bool(compiler.try_compiler()) == bool(reason)


def test_a_compiler_that_is_not_there(monkeypatch):
    monkeypatch.setenv("CXX", "nosuch-compiler")
    assert compiler.try_compiler() == "nosuch-compiler is not there"
