"""Names of runs."""

import pytest

from benchmarks.common import atomic_files
from benchmarks.common.errors import UserError


@pytest.mark.parametrize("name", ["a", "2026-01-01", "x.y_z+1", "a" * 100, "latest-1", None])
def test_allowed_names_of_runs(name):
    assert atomic_files.check_run_name(name) == name


@pytest.mark.parametrize("name", ["", "latest", "../x", "a/b", ".hidden", "-x", "a b", "a" * 101, "$x$"])
def test_refused_names_of_runs(name):
    with pytest.raises(UserError, match="is not allowed; use letters"):
        atomic_files.check_run_name(name)
