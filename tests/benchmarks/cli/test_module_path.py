"""Commands started in a folder whose files have the names of modules."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STANDARD = (
    *("calendar", "copy", "csv", "dataclasses", "email", "inspect", "json", "logging", "pickle", "platform", "queue"),
    *("random", "resource", "secrets", "select", "selectors", "shutil", "signal", "socket", "statistics", "struct"),
    *("tempfile", "test", "threading", "tokenize", "traceback", "typing"),
)
OTHERS = ("vaezoo", "torch", "numpy", "pandas", "typer", "filelock", "matplotlib")


@pytest.fixture
def script(tmp_path):
    """The console script `vaezoo`, as pip writes it."""
    (name, entry), *others = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"].items()
    module, _, function = entry.partition(":")
    assert (name, others) == ("vaezoo", [])
    path = tmp_path / "bin" / name
    path.parent.mkdir()
    path.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    return path


def shadow(folder, names):
    """Make a folder where an import of any of these modules fails."""
    folder.mkdir()
    for name in names:
        (folder / f"{name}.py").write_text(f"raise RuntimeError('{name}.py of the working folder was imported')\n")
    return folder


def test_no_file_of_the_working_folder_replaces_a_module(tmp_path, tiny):
    """In the command, the fork server and the cells; an empty entry of PYTHONPATH stands for the working folder."""
    here = shadow(tmp_path / "here", [*STANDARD, *OTHERS])
    command = [sys.executable, "-m", "benchmarks", "run", "vae", "--preset", tiny, "--seeds", "1", "--no-figures"]
    command += ["--out", tmp_path, "--name", "run"]
    variables = {**os.environ, "PYTHONPATH": f":{ROOT}"}
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    assert "was imported" not in done.stderr


def test_the_script_starts_beside_a_file_with_its_own_name_or_one_that_python_needs(tmp_path, script):
    here = shadow(tmp_path / "here", [*STANDARD, *OTHERS, "benchmarks", "types", "functools"])
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, script, "list", "presets"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    assert "quick" in done.stdout


def test_a_checkout_that_is_not_installed_runs_from_its_folder(tmp_path):
    for package in ("benchmarks", "vaezoo"):
        (tmp_path / package).symlink_to(ROOT / package)
    program = (
        "from benchmarks.cli import module_path; module_path.ignore_working_folder(); "
        "import importlib.util, os; print(importlib.util.find_spec('vaezoo').origin, os.environ.get('PYTHONSAFEPATH'))"
    )
    variables = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=variables)
    assert done.stdout == f"{tmp_path / 'vaezoo' / '__init__.py'} None\n", done.stderr


@pytest.mark.parametrize(("path", "importable"), [("", False), (os.curdir, True), ("{here}/", True)])
def test_the_working_folder_is_searched_if_pythonpath_names_it(tmp_path, path, importable):
    (tmp_path / "helper.py").touch()
    program = "from benchmarks.cli import module_path; module_path.ignore_working_folder(); import helper"
    variables = {**os.environ, "PYTHONPATH": f"{path.format(here=tmp_path)}:{ROOT}"}
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=variables)
    assert (done.returncode == 0) == importable, done.stderr
    assert importable or "No module named 'helper'" in done.stderr


def test_a_working_folder_that_was_deleted_is_said(tmp_path):
    program = "import os, sys; os.rmdir(os.getcwd()); from benchmarks.__main__ import main; main()"
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, "list", "presets"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=variables)
    assert done.returncode == 64
    assert done.stderr == "error: the working folder has been deleted; change to another folder, and run again\n"
