"""The cache of users who have no home folder."""

import os
from pathlib import Path

import pytest

from benchmarks.common import cache_paths
from benchmarks.common.machine import checks, folders


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """HOME is not set, and the system does not list the user."""
    for name in ("VAEZOO_CACHE", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def raise_key_error(number):
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr("pwd.getpwuid", raise_key_error)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RuntimeError):
        cache_paths.cache_root()
    return tmp_path


def test_a_user_without_a_home_has_a_private_cache(homeless, capsys):
    folders.choose_cache()
    cache = cache_paths.cache_root()
    assert cache == homeless / f"vaezoo-{os.getuid()}"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert f"user {os.getuid()} has no cache folder" in capsys.readouterr().err


@pytest.mark.parametrize("obstacle", [Path.touch, lambda path: path.mkdir() or path.chmod(0o777)], ids=["file", "open"])
def test_a_folder_of_others_is_not_the_cache(homeless, obstacle):
    obstacle(homeless / f"vaezoo-{os.getuid()}")
    folders.choose_cache()
    assert cache_paths.cache_root().parent == homeless
    assert cache_paths.cache_root() != homeless / f"vaezoo-{os.getuid()}"


def test_doctor_says_that_there_is_no_home(homeless):
    (check,) = (check for check in checks.list_checks(homeless) if check.name == "cache")
    assert (check.state, check.remedy) == ("note", "set VAEZOO_CACHE to a writable folder")
