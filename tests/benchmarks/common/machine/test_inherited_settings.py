"""Inherited settings have no effect, and are recorded."""

import os
import resource
import warnings

import pytest

from benchmarks.common import environment
from benchmarks.common.machine import folders, inherited_settings


@pytest.fixture(autouse=True)
def restore(monkeypatch):
    monkeypatch.setattr(folders, "choose_temporary_folder", lambda: None)
    monkeypatch.setattr(inherited_settings, "_dropped", {})
    monkeypatch.setattr(inherited_settings.sys, "warnoptions", [])
    limits = {kind: resource.getrlimit(kind) for kind in inherited_settings.LIMITS}
    variables = dict(os.environ)
    with warnings.catch_warnings():
        yield
    os.environ.clear()
    os.environ.update(variables)
    for kind, values in limits.items():
        resource.setrlimit(kind, values)


def test_numerical_settings_are_dropped_and_recorded(monkeypatch):
    monkeypatch.setenv("OMP_PROC_BIND", "true")
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "x")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    inherited_settings.neutralize()
    inherited_settings.neutralize()  # each process that starts a server does it again
    assert "OMP_PROC_BIND" not in os.environ
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "x"
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    assert inherited_settings.list_dropped()["OMP_PROC_BIND"] == "true"
    assert environment.describe_environment(1, 1)["ignored_variables"]["OMP_PROC_BIND"] == "true"


def test_the_programs_own_threads_are_not_recorded(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    inherited_settings.neutralize()
    inherited_settings.neutralize()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert "OPENBLAS_NUM_THREADS" not in inherited_settings.list_dropped()


def test_warnings_are_no_errors(monkeypatch):
    inherited_settings.sys.warnoptions[:] = ["error", "default", "error::UserWarning"]
    warnings.simplefilter("error")
    inherited_settings.neutralize()
    warnings.warn("of a library at its import", stacklevel=1)
    assert inherited_settings.sys.warnoptions == ["default"]  # children inherit it, as `python -X dev` needs


def test_few_open_files_are_raised_to_the_hard_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    inherited_settings.neutralize()
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == min(4096, hard) or hard == resource.RLIM_INFINITY
