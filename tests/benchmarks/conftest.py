"""The harness is tested as users run it."""

import pytest


@pytest.fixture(autouse=True)
def as_users_run_it(unchecked_types):
    """The library's types and shapes are checked in the library's tests."""
