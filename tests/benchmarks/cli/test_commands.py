"""The commands: their output, files and exit codes.

`command` starts a new Python process. `ask` forks a process that has imported torch, which is faster.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import typer

import vaezoo
from benchmarks.cli import main
from benchmarks.reporting.metrics import METRICS
from benchmarks.reporting.results_table import RESULT_COLUMNS
from tests.conftest import FINISHED

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def without_torch(tmp_path_factory):
    """Return environment variables with which `import torch` fails."""
    folder = tmp_path_factory.mktemp("shadow")
    (folder / "torch.py").write_text("raise ImportError('there is no torch here')\n")
    return {"PYTHONPATH": str(folder)}


def test_run_writes_every_file_and_column(finished):
    folder = finished.folder
    names = {path.name for path in folder.iterdir()}
    tables = {"results.csv", "summary.csv", "manifest.json", "environment.json", "dataset.json"}
    assert names == {"cells", "figures", "report.html"} | tables
    results = pd.read_csv(folder / "results.csv")
    assert tuple(results.columns) == (*RESULT_COLUMNS, "schema_version")
    assert len(results) == len(FINISHED) * 2 * 3
    assert set(results["status"]) == {"ok"}
    assert set(results["variant"]) == {*FINISHED}
    assert len(list((folder / "cells").glob("*.json"))) == len(FINISHED) * 2
    assert list(pd.read_csv(folder / "summary.csv")["variant"]) == FINISHED


def test_run_prints_table_headline_and_folder(finished):
    assert "median over seeds" in finished.stdout
    assert "draws of REINFORCE without a baseline" in finished.stdout
    assert "With the baseline " in finished.stdout
    assert str(finished.folder) in finished.stdout


def test_progress_is_plain_lines_without_a_terminal(finished):
    lines = finished.stderr.splitlines()
    assert len(lines) == len(FINISHED) * 2
    assert all("ok, " in line and ("left" in line or "all done" in line) for line in lines)


@pytest.mark.parametrize("style", ["text", "markdown", "csv", "latex"])
def test_show_from_a_copied_csv_without_torch(finished, command, without_torch, tmp_path, style):
    shutil.copy(finished.folder / "results.csv", tmp_path)
    done = command("show", tmp_path / "results.csv", "--format", style, **without_torch)
    assert done.returncode == 0, done.stderr
    for variant in FINISHED:
        assert variant in done.stdout


def test_plot_from_a_copied_csv_without_torch(finished, command, without_torch, tmp_path):
    shutil.copy(finished.folder / "results.csv", tmp_path)
    done = command("plot", tmp_path / "results.csv", **without_torch)
    assert done.returncode == 0, done.stderr
    names = {"learning-curves", "learning-curves-all", "gradient-variance", "gradient-variance-all", "two-networks"}
    assert {p.stem for p in (tmp_path / "figures").glob("*.png")} == names
    for line in done.stdout.splitlines():
        assert line.endswith(".png")


def test_show_finds_runs_by_name_and_latest(finished, ask):
    out = finished.folder.parent
    by_name = ask("show", "tiny", "--out", out, "--metrics", "elbo,kl")
    assert by_name.returncode == 0
    assert by_name.stdout == ask("show", "--out", out, "--metrics", "elbo,kl").stdout
    assert "KL" in by_name.stdout
    assert "throughput" not in by_name.stdout


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("variants", FINISHED),
        ("datasets", ["mnist5k", "digits", "mnist", "fashion-mnist", "kmnist", "cifar10", "svhn", "linear-gaussian"]),
        ("architectures", ["mlp", "mlp-2", "conv"]),
        ("presets", ["default", "quick", "conv"]),
        ("metrics", [m.name for m in METRICS]),
    ],
)
def test_lists(ask, what, words):
    done = ask("list", what)
    assert done.returncode == 0
    for word in words:
        assert word in done.stdout


def test_version(ask):
    done = ask("--version")
    assert (done.returncode, done.stdout) == (0, f"vaezoo {vaezoo.__version__}\n")


def test_help_groups_the_commands(command):
    done = command("--help")
    assert done.returncode == 0
    for panel, commands in main.COMMANDS.items():
        assert re.search(rf"{panel} ─.*" + r".*".join(rf"│ {name} +\w" for name in commands), done.stdout, re.DOTALL)


def test_help_of_run_groups_the_options(ask):
    panels = {"Data": "dataset", "Training": "epochs", "Running": "workers", "Limits": "timeout"}
    parts = [rf"{panel} ─[^╰]*│ --{option} " for panel, option in panels.items()]
    assert re.search(".*".join(parts), ask("run", "--help").stdout, re.DOTALL)


VERBS = frozenset(
    re.findall(
        r"\w+",
        """
        Accept Build Change Compare Compute Connect Draw Give Judge Keep Limit Load Look Make Measure Multiply Name
        Print Put Read Replace Run Save Set Show Stop Take Test Train Use Write
        """,
    )
)


@pytest.mark.parametrize("command", sorted(typer.main.get_command(main.app).commands.items()), ids=lambda c: c[0])
def test_help_of_an_option_starts_with_a_verb_and_shows_one_default(command):
    for parameter in command[1].params:
        if parameter.param_type_name == "option" and parameter.name != "help":
            words = parameter.help.replace("\\[", "[")
            assert words.split()[0] in VERBS, words
            defaults = words.count("[default: ") + bool(parameter.show_default and parameter.default is not None)
            assert defaults == 1, words


def test_codes_of_one_latent_are_drawn(ask, tmp_path, tiny):
    done = ask("run", "vae", "autoencoder", "--preset", tiny, "--seeds", 1, "--latent-dim", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*/figures/codes.png"))


def test_terminal_without_symbols(command, finished):
    done = command("show", finished.folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "ELBO ?" in done.stdout


def test_profile_prints_the_time_of_operations(ask, tmp_path, tiny):
    done = ask("profile", "iwae", "--preset", tiny, "--steps", 3, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"iwae on digits, eager, threads: 1\n[\d.]+ ms per step of 50 examples, [\d,]+ examples/s", done.stdout
    )
    assert re.search(r"\noperation +calls per step +µs per step +share\n", done.stdout)
    assert json.loads((tmp_path / "profile-iwae.json").read_text())["traceEvents"]


def test_no_arguments_show_the_help(command):
    done = command()
    assert done.returncode == 64
    assert "Compare runs" in done.stdout + done.stderr
    assert "error:" not in done.stderr


@pytest.mark.parametrize("what", ["compare", "list"])  # output in parts during the command, and at its end
def test_closed_output_exits_with_141(finished, what):
    words = [finished.folder, finished.folder] if what == "compare" else []
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", what, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    ) as done:
        done.stdout.close()
        assert done.wait() == 141
        assert done.stderr.read() == b""
