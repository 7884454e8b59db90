"""The harness in Python: as scripts and notebooks use it, and with the bits of the command line."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchmarks
from benchmarks.common.errors import UserError

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "use-in-python.md"


def run_script(script, folder, **environment):
    """Run a script from standard input: as in a notebook, its main module has no file that a process could import."""
    settings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    words = {"input": script, "cwd": folder, "env": settings}
    return subprocess.run([sys.executable, "-"], capture_output=True, text=True, timeout=300, **words)


@pytest.fixture(scope="module")
def page():
    """The first program of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]


@pytest.mark.parametrize("as_file", [False, pytest.param(True, marks=pytest.mark.faults)])
def test_the_program_of_the_page(page, tiny, tmp_path, as_file):
    assert len([line for line in page.splitlines() if line.strip()]) <= 15
    program = page.replace('"quick"', repr(tiny))
    assert program != page
    script = f"{program}\nprint(run.results['status'].unique(), codes.shape, samples.shape, len(figures))\n"
    if as_file:  # without `if __name__ == "__main__"`
        (tmp_path / "script.py").write_text(script)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "script.py"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment)
    else:
        done = run_script(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([4, 10]) torch.Size([9, 8, 8])" in done.stdout
    assert done.stderr.count(" ok, ") == 2  # the progress
    assert len(list(tmp_path.glob("*.png"))) == 1


def test_the_numbers_are_those_of_the_command_line(undisturbed, tiny, tmp_path, numbers):
    run = benchmarks.run(["vae", "reinforce-vae"], tiny, name="x", out=tmp_path)
    pd.testing.assert_frame_equal(numbers(run.folder), numbers(undisturbed))
    assert set(run.summary["variant"]) == {"vae", "reinforce-vae"}
    assert "ELBO" in repr(run)
    assert benchmarks.read("x", tmp_path) == benchmarks.read(run.folder) == run
    again = benchmarks.run(["vae", "reinforce-vae"], tiny, name="x", out=tmp_path)
    assert again.results.equals(run.results)


def test_settings_are_those_of_a_preset(tiny, tmp_path):
    run = benchmarks.run("vae", tiny, out=tmp_path, seeds=[3], hidden=[9, 5], epochs=1, keep_models=False)
    assert set(run.results["seed"]) == {3}
    assert set(run.results["hidden"]) == {"9,5"}
    with pytest.raises(UserError, match="has no kept models"):
        run.model("vae")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variants": "vea"}, "did you mean vae"),
        ({"preset": "quik"}, "did you mean quick"),
        ({"epoch": 3}, "unknown setting"),
        ({"epochs": 0}, "epochs"),
        ({"name": "a/b"}, "not allowed"),
        ({"plugin": "none.py"}, "none.py"),
    ],
)
def test_mistakes_are_one_line(tmp_path, arguments, message):
    words = {"variants": "vae", "preset": "quick", "out": tmp_path / "new"} | arguments
    with pytest.raises(benchmarks.UserError, match=message) as caught:
        benchmarks.run(**words)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_missing_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="there is no run nothing"):
        benchmarks.read("nothing", tmp_path)


def test_importing_the_interface_imports_neither_torch_nor_figures():
    script = "import sys, benchmarks; benchmarks.run; print({'torch', 'matplotlib', 'distributed'} & set(sys.modules))"
    assert run_script(script, ROOT).stdout == "set()\n"


def test_the_users_process_keeps_its_settings(tiny, tmp_path):
    """The backend of a notebook, its variables and its filters of warnings."""
    script = f"""
import os, warnings
os.environ["OMP_NUM_THREADS"] = "7"
warnings.simplefilter("error")
import benchmarks
run = benchmarks.run("vae", {tiny!r}, out={str(tmp_path)!r}, seeds=1)
run.figures()
import matplotlib
actions = [action for action, *_ in warnings.filters]
print(os.environ["OMP_NUM_THREADS"], os.environ["MPLBACKEND"], matplotlib.get_backend(), "error" in actions)
"""
    done = run_script(script, tmp_path, MPLBACKEND="svg")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["7", "svg", "svg", "True"]


def test_ordinary_arguments_are_understood(tiny, tmp_path, monkeypatch):
    run = benchmarks.run(
        ("vae",), Path(tiny), out=tmp_path, seeds=np.arange(1), hidden=(20,), epochs=np.int64(1), plugin=None
    )
    monkeypatch.chdir("/")
    assert set(run.results["seed"]) == {0}
    assert run.model("vae", seed=np.int64(0)).sample(2).shape == (2, 8, 8)
    assert {"run", "read", "Run", "UserError"} <= set(dir(benchmarks))
    with pytest.raises(UserError, match=r"workers is 1\.5"):
        benchmarks.run("vae", tiny, out=tmp_path, workers=1.5)


def test_a_file_of_the_users_with_the_same_name_is_not_imported(tiny, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "benchmarks.py").write_text("raise SystemExit('the file of the user')\n")
    (tmp_path / "script.py").write_text(
        f"import benchmarks\nprint(benchmarks.run('vae', {tiny!r}, seeds=1, out={str(tmp_path)!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "../script.py"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path / "here", env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "the file of the user" not in done.stdout + done.stderr


def test_a_failed_cell_is_a_line_and_a_row(tiny, tmp_path, capsys):
    (tmp_path / "p.py").write_text(
        "from vaezoo import Variant, elbo, pathwise\n"
        "def fail(spec, latent_dim): raise KeyError('no')\n"
        "VARIANTS = [Variant('failing', fail, elbo, pathwise)]\n"
    )
    run = benchmarks.run(["vae", "failing"], tiny, out=tmp_path, seeds=1, plugin=tmp_path / "p.py")
    assert set(run.results["status"]) == {"ok", "failed"}
    assert "failing seed 0: failed, KeyError" in capsys.readouterr().err
