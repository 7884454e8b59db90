"""The commands: their output, files and exit codes.

`command` starts a new Python process. `ask` forks a process that has imported torch, for commands that end quickly.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli import main
from benchmarks.reporting.metrics import METRICS
from benchmarks.reporting.results_table import RESULT_COLUMNS
from vaezoo import VARIANTS

ROOT = Path(__file__).parents[3]
DATA_ERROR = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}


@pytest.fixture(scope="session")
def without_torch(tmp_path_factory):
    """Return environment variables with which `import torch` fails."""
    folder = tmp_path_factory.mktemp("shadow")
    (folder / "torch.py").write_text("raise ImportError('there is no torch here')\n")
    return {"PYTHONPATH": str(folder)}


def one_line_error(done):
    assert done.returncode == 64, done.stdout + done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_run_writes_every_file_and_column(finished):
    folder = finished.folder
    names = {path.name for path in folder.iterdir()}
    assert names == {"cells", "results.csv", "summary.csv", "manifest.json", "environment.json", "figures"}
    results = pd.read_csv(folder / "results.csv")
    assert tuple(results.columns) == (*RESULT_COLUMNS, "schema_version")
    assert len(results) == len(VARIANTS) * 2 * 3
    assert set(results["status"]) == {"ok"}
    assert set(results["variant"]) == {v.name for v in VARIANTS}
    assert len(list((folder / "cells").glob("*.json"))) == len(VARIANTS) * 2
    assert list(pd.read_csv(folder / "summary.csv")["variant"]) == [v.name for v in VARIANTS]


def test_run_prints_table_headline_and_folder(finished):
    assert "95 % t-interval" in finished.stdout
    assert "draws of REINFORCE without a baseline" in finished.stdout
    assert "With the baseline " in finished.stdout
    assert str(finished.folder) in finished.stdout


def test_progress_is_plain_lines_without_a_terminal(finished):
    lines = finished.stderr.splitlines()
    assert len(lines) == len(VARIANTS) * 2
    assert all("ok, " in line and ("left" in line or "all done" in line) for line in lines)


@pytest.mark.parametrize("style", ["text", "markdown", "csv", "latex"])
def test_show_from_a_copied_csv_without_torch(finished, command, without_torch, tmp_path, style):
    shutil.copy(finished.folder / "results.csv", tmp_path)
    done = command("show", tmp_path / "results.csv", "--format", style, **without_torch)
    assert done.returncode == 0, done.stderr
    for variant in VARIANTS:
        assert variant.name in done.stdout


def test_plot_from_a_copied_csv_without_torch(finished, command, without_torch, tmp_path):
    shutil.copy(finished.folder / "results.csv", tmp_path)
    done = command("plot", tmp_path / "results.csv", **without_torch)
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "figures").glob("*.png")} == {
        "learning-curves.png", "gradient-variance.png", "comparison.png"
    }  # fmt: skip
    for line in done.stdout.splitlines():
        assert line.endswith(".png")


def test_show_finds_runs_by_name_and_latest(finished, ask):
    out = finished.folder.parent
    by_name = ask("show", "tiny", "--out", out, "--metrics", "elbo,kl")
    assert by_name.returncode == 0
    assert by_name.stdout == ask("show", "--out", out, "--metrics", "elbo,kl").stdout
    assert "KL" in by_name.stdout
    assert "throughput" not in by_name.stdout


def test_show_another_checkpoint(finished, ask):
    assert "digits, epoch 1 " in ask("show", finished.folder, "--epoch", 1).stdout
    assert "it has 0, 1, 2" in one_line_error(ask("show", finished.folder, "--epoch", 7))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("variants", [v.name for v in VARIANTS]),
        ("datasets", ["mnist5k", "digits", "mnist", "fashion-mnist", "kmnist", "linear-gaussian"]),
        ("presets", ["default", "quick"]),
        ("metrics", [m.name for m in METRICS]),
    ],
)
def test_lists(ask, what, words):
    done = ask("list", what)
    assert done.returncode == 0
    for word in words:
        assert word in done.stdout


def test_user_error_of_a_new_process(command):
    assert "unknown variant 'vea'" in one_line_error(command("run", "vea"))


def test_help_groups_the_commands(command):
    done = command("--help")
    assert done.returncode == 0
    for panel, commands in main.COMMANDS.items():
        assert re.search(rf"{panel} ─.*" + r".*".join(rf"│ {name} +\w" for name in commands), done.stdout, re.DOTALL)


def test_help_of_run_groups_the_options(ask):
    panels = {"Data": "dataset", "Training": "epochs", "Running": "workers", "Limits": "timeout"}
    parts = [rf"{panel} ─[^╰]*│ --{option} " for panel, option in panels.items()]
    assert re.search(".*".join(parts), ask("run", "--help").stdout, re.DOTALL)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "vea"], "unknown variant 'vea'; did you mean vae"),
        (["run", "vae", "--dataset", "mnsit"], "unknown dataset 'mnsit'; did you mean mnist"),
        (["run", "vae", "--preset", "defualt"], "unknown preset 'defualt'; did you mean default"),
        (["run"], "nothing to run"),
        (["run", "vae", "--all"], "variants and --all were both given"),
        (["run", "vae", "--seeds", "0"], "--seeds: the number of seeds is 0, but must be at least 1"),
        (["run", "vae", "--seeds", "1,2,1"], "--seeds: seed 1 is repeated"),
        (["run", "vae", "--seeds=-1,2"], "--seeds: seed -1 is negative"),
        (["run", "vae", "--latent-dim", "0"], "--latent-dim: input should be greater than or equal to 1, got 0"),
        (["run", "vae", "--draws", "0"], "--draws: input should be greater than or equal to 1, got 0"),
        (["run", "reinforce-vae-loo", "--draws", "1"], "needs at least 2 draws per example, got 1"),
        (["run", "vae", "--device", "cuda"], "torch finds no CUDA device"),
        (["run", "vae", "--binarization", "none"], "the likelihood bernoulli is for binary data"),
        (["run", "vae", "--workers", "0"], "--workers 0"),
        (["run", "vae", "--name", "../x"], "is not allowed"),
        (["run", "vae", "--preset", "quick", "--batch-size", "5000"], "is larger than the 1258 training examples"),
        (["run", "vae", "--epochs", "many"], "--epochs"),
        (["run", "vae", "--dataset", "kmnist", "--data-root", "nowhere"], "put train-images-idx3-ubyte"),
        (["run", "vae", "--bogus"], "No such option"),
        (["walk"], "No such command 'walk'"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_input_to_run(ask, tmp_path, arguments, words):
    extra = ["--out", tmp_path / "out"] if arguments[0] == "run" else []
    environment = DATA_ERROR | {"CUDA_VISIBLE_DEVICES": ""}
    assert words in one_line_error(ask(*arguments, *extra, **environment))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nope"], "there is no run nope"),
        (["plot", "nope"], "there is no run nope"),
        (["show", "."], "has no results.csv"),
        (["show", "bad.csv"], "lacks the columns"),
        (["show", "{run}", "--metrics", "elob"], "unknown metric 'elob'; did you mean elbo"),
        (["show", "{run}", "--format", "html"], "no such format"),
        (["list", "variant"], "unknown list 'variant'; did you mean variants"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_bad_input_to_readers(ask, finished, tmp_path, arguments, words):
    (tmp_path / "bad.csv").write_text("variant,seed\nvae,0\n")
    paths = {"{run}": finished.folder, "bad.csv": tmp_path / "bad.csv", ".": tmp_path}
    extra = ["--out", tmp_path] if arguments[0] != "list" else []
    assert words in one_line_error(ask(*[paths.get(a, a) for a in arguments], *extra))


@pytest.mark.parametrize("out", ["/proc/nowhere", "file/below"])
def test_unwritable_output_folder(ask, tmp_path, out):
    (tmp_path / "file").write_text("")
    line = one_line_error(ask("run", "vae", "--preset", "quick", "--out", tmp_path / out))
    assert "--out: results can't be written" in line


def test_malformed_preset(ask, tmp_path):
    (tmp_path / "p.toml").write_text('dataset = "digits"\nepoch = 3\n')
    line = one_line_error(ask("run", "vae", "--preset", tmp_path / "p.toml", "--out", tmp_path / "out"))
    assert "p.toml, line 2, key epoch: unknown setting" in line


def test_corrupt_data_file(command, tmp_path, tiny):
    done = command(
        "run", "vae", "--preset", tiny, "--seeds", 1, "--out", tmp_path / "a", VAEZOO_CACHE=str(tmp_path / "c")
    )
    assert done.returncode == 0, done.stderr
    path = next((tmp_path / "c").glob("digits-*")) / "test.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    again = command("run", "vae", "--preset", tiny, "--out", tmp_path / "b", VAEZOO_CACHE=str(tmp_path / "c"))
    assert "are corrupt: their SHA-256" in one_line_error(again)
    assert not (tmp_path / "b").exists()


def test_run_folder_of_another_protocol(ask, finished, tiny):
    before = (finished.folder / "manifest.json").read_bytes()
    place = ["--out", finished.folder.parent, "--name", finished.folder.name]
    line = one_line_error(ask("run", "--all", "--preset", tiny, "--epochs", 3, *place))
    assert "has another protocol: epochs is 2 there and 3 here" in line
    line = one_line_error(ask("run", "vae", "--preset", tiny, "--draws", 2, *place))
    assert "another definition of vae: draws is 1 there and 2 here" in line
    assert (finished.folder / "manifest.json").read_bytes() == before


def test_folder_that_contains_no_run(ask, tmp_path, tiny):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    line = one_line_error(ask("run", "vae", "--preset", tiny, "--out", tmp_path, "--name", "mine"))
    assert "has thesis.tex but no cells" in line


def test_codes_of_one_latent_are_drawn(command, tmp_path, tiny):
    done = command("run", "vae", "autoencoder", "--preset", tiny, "--seeds", 1, "--latent-dim", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("*/figures/codes.png"))


def test_terminal_without_symbols(command, finished):
    done = command("show", finished.folder, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "ELBO ?" in done.stdout


def test_profile_prints_the_time_of_operations(command, tmp_path, tiny):
    done = command("profile", "iwae", "--preset", tiny, "--steps", 3, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"iwae on digits, eager, threads: 1\n[\d.]+ ms per step of 50 examples, [\d,]+ examples/s", done.stdout
    )
    assert re.search(r"matrix product \(addmm\) +[\d.]+ +\d+ +[\d.]+%", done.stdout)
    shares = [float(share) for share in re.findall(r"([\d.]+)%\n", done.stdout)]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert json.loads((tmp_path / "profile-iwae.json").read_text())["traceEvents"]


def test_profile_of_a_failing_plugin_is_one_line(ask, tmp_path, tiny):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import dataclasses\nfrom vaezoo import VARIANTS as ALL\n"
        "def broken(spec, latent_dim):\n    raise ZeroDivisionError('nothing there')\n"
        "VARIANTS = [dataclasses.replace(ALL[1], name='mine', architecture=broken)]\n"
    )
    line = one_line_error(ask("profile", "mine", "--plugin", plugin, "--preset", tiny, "--out", tmp_path))
    assert "mine fails in its first step: ZeroDivisionError: nothing there" in line


def test_no_arguments_show_the_help(command):
    done = command()
    assert done.returncode == 64
    assert "Compare runs" in done.stdout + done.stderr
    assert "error:" not in done.stderr


def test_run_name_that_is_too_long_for_a_file(ask, tmp_path):
    assert "name too long" in one_line_error(ask("show", "x" * 5000)).lower()


@pytest.mark.parametrize("what", ["compare", "list"])  # output in parts during the command, and at its end
def test_closed_output_exits_with_141(finished, what):
    words = [finished.folder, finished.folder] if what == "compare" else []
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks", what, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as done:
        done.stdout.close()
        assert done.wait() == 141
        assert done.stderr.read() == b""
