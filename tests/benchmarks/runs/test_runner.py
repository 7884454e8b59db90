"""Whole runs: the same bits for any number of workers and after interruptions; finished cells are kept."""

import json
import os
import shutil
import signal
import sys
import time

import pandas as pd
import pytest
import torch

from benchmarks.common import environment
from benchmarks.runs import cell_files
from tests.conftest import FINISHED
from vaezoo import VARIANTS

VARIANT_NAMES = ["vae", "reinforce-vae-ema", "iwae-vimco"]  # one draw, a state beside the parameters, five draws


@pytest.fixture
def copy(undisturbed, tmp_path):
    """A copy of a finished run of four cells, as tmp_path / "run"."""
    shutil.copytree(undisturbed, tmp_path / "run")
    return tmp_path / "run"


def check_same(numbers, folder, finished):
    """Check that the rows of a run are those of the same variants in the run of all variants by two workers."""
    rows, expected = numbers(folder), numbers(finished.folder)
    assert set(rows["variant"]) == set(VARIANT_NAMES)
    expected = expected[expected["variant"].isin(VARIANT_NAMES)].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows, expected)


def test_one_worker_and_two_give_the_same_bits(ask, finished, tmp_path, tiny, numbers):
    done = ask(
        "run", *VARIANT_NAMES, "--preset", tiny, "--no-figures", "--out", tmp_path, "--name", "one", "--workers", 1
    )
    assert done.returncode == 0, done.stderr
    check_same(numbers, tmp_path / "one", finished)


def test_the_longest_cells_start_first(finished):
    """So no core idles at the end; the tables keep the order of the plan."""
    results = pd.read_csv(finished.folder / "results.csv")
    times = results.groupby("draws")["started"]
    assert times.max()[5] <= times.min()[2] <= times.max()[2] <= times.min()[1]
    assert list(results["variant"].unique()) == FINISHED


def test_a_killed_run_continues_to_the_same_result(finished, tmp_path, tiny, ask, numbers, start_command):
    run = ["run", *VARIANT_NAMES, "--preset", tiny, "--no-figures", "--out", tmp_path, "--name", "x"]
    cells, deadline = tmp_path / "x" / "cells", time.monotonic() + 60
    with start_command([sys.executable, "-m", "benchmarks", *run], tmp_path / "x" / "environment.json"):
        while len(list(cells.glob("*.json"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
    times = {path.name: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 2 <= len(times) < 2 * len(VARIANT_NAMES)
    done = ask(*run)
    assert done.returncode == 0, done.stderr
    assert f"{len(times)} finished cells are kept" in done.stderr
    assert {name: (cells / name).stat().st_mtime_ns for name in times} == times
    check_same(numbers, tmp_path / "x", finished)


def test_an_unfinished_run_of_the_same_cells_continues_without_its_name(ask, words, copy):
    lost = sorted((copy / "cells").glob("*.json"))[0]
    lost.unlink()
    done = ask(*words(copy.parent, "")[:-2])
    assert done.returncode == 0, done.stderr
    assert "3 finished cells are kept" in done.stderr
    assert lost.exists()
    assert [path.name for path in copy.parent.iterdir()] == ["run"]


def test_after_a_finished_run_a_new_folder_is_created(ask, copy, tiny):
    done = ask("run", "vae", "--preset", tiny, "--no-figures", "--seeds", 1, "--out", copy.parent)
    assert done.returncode == 0, done.stderr
    assert len(list(copy.parent.iterdir())) == 2


def test_seeds_can_be_added_to_a_run(ask, words, copy):
    done = ask(*words(copy.parent, "run", "--seeds", "0,1,5"))
    assert done.returncode == 0, done.stderr
    assert "4 finished cells are kept" in done.stderr
    assert len(pd.read_csv(copy / "results.csv")) == 3 * 3 * 2
    assert "results.csv, summary.csv" in done.stdout
    assert not (copy / "figures").exists()


def change(folder, **changes):
    """Edit the first cell's file, and return its path."""
    path = sorted((folder / "cells").glob("*.json"))[0]
    record = json.loads(path.read_text())
    record["common"] |= changes.pop("common", {})
    path.write_text(json.dumps(record | changes))
    return path


@pytest.mark.parametrize(("key", "value"), [("commit", "0123456789ab"), ("torch", "1.0.0")])
def test_cells_of_other_code_stop_the_run_unless_accepted(ask, words, copy, key, value):
    change(copy, common={key: value})
    done = ask(*words(copy.parent, "run"))
    assert done.returncode == 64
    assert f"has cells made by {key} {value}" in done.stderr
    assert "--keep-stale" in done.stderr
    assert ask(*words(copy.parent, "run", "--keep-stale")).returncode == 0


@pytest.mark.parametrize("key", ["commit", "torch", "code"])
def test_a_snapshot_of_other_code_stops_the_run(ask, words, copy, key):
    """Its hours of training would be lost. Without --name, the run has another folder."""
    path = sorted((copy / "cells").glob("*.json"))[0]
    versions = json.loads(path.read_text())["common"] | {"code": environment.hash_source(), key: "other"}
    cell_files.write_snapshot(path.with_suffix(".snapshot"), {**versions, "epoch": 7}, {})
    path.unlink()
    done = ask(*words(copy.parent, "run"))
    assert done.returncode == 64
    assert f"{path.stem}.snapshot was saved at epoch 7 by {key} other, and this is " in done.stderr
    assert "continue with that version, or delete the file" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    again = ask(*words(copy.parent, "")[:-2])
    assert f"can't be continued, because {path.with_suffix('.snapshot')} was saved at epoch 7" in again.stderr
    accepted = ask(*words(copy.parent, "run", "--keep-stale"))
    assert accepted.returncode == 0
    assert "the cell starts from epoch 0" in accepted.stderr


def test_failed_cells_are_run_again_and_finished_ones_not(ask, words, undisturbed, copy, numbers):
    path = change(copy, status="failed")
    done = ask(*words(copy.parent, "run"))
    assert done.returncode == 0, done.stderr
    assert json.loads(path.read_text())["status"] == "ok"
    pd.testing.assert_frame_equal(numbers(copy), numbers(undisturbed))


def test_divergence_is_a_result_and_ends_with_0(ask, tmp_path, tiny):
    run = ["run", "vae", "autoencoder", "--preset", tiny, "--no-figures", "--learning-rate", 1e30, "--out", tmp_path]
    done = ask(*run, "--name", "d")
    assert done.returncode == 0, done.stderr
    assert "diverged" in done.stdout
    results = pd.read_csv(tmp_path / "d" / "results.csv")
    assert list(results.loc[results["status"] == "diverged", "variant"].unique()) == ["vae", "autoencoder"]
    assert "4 finished cells are kept" in ask(*run, "--name", "d").stderr


def test_a_failing_cell_does_not_stop_the_others_and_ends_with_2(command, tmp_path, tiny):
    """sitecustomize makes the processes of one variant's cells kill themselves."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Planted:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'benchmarks.training.image_arrays':\n"
        "            sys.meta_path.remove(self)\n"
        "            import vaezoo.variants, vaezoo.objectives\n"
        "            real = vaezoo.objectives.Objective.__getattribute__\n"
        "            def getter(self, key):\n"
        "                if key == 'log_weight' and real(self, 'name') == 'beta_elbo(4)':\n"
        "                    os.kill(os.getpid(), signal.SIGKILL)\n"
        "                return real(self, key)\n"
        "            vaezoo.objectives.Objective.__getattribute__ = getter\n"
        "sys.meta_path.insert(0, Planted())\n"
    )
    names = [
        v.name
        for v in VARIANTS
        if v.objective.name in ("elbo", "beta_elbo(4)") and v.estimator.name == "pathwise" and v.draws == 1
    ]
    done = command(
        "run", *names, "--preset", tiny, "--no-figures", "--out", tmp_path, "--name", "k", PYTHONPATH=str(tmp_path)
    )
    assert done.returncode == 2, done.stderr
    results = pd.read_csv(tmp_path / "k" / "results.csv")
    assert dict(results.groupby("variant")["status"].agg(set)) == {"vae": {"ok"}, "beta-vae": {"killed"}}
    assert "signal 9" in done.stderr
    assert "2 of 4 cells failed" in done.stderr
    assert "2 killed" not in done.stdout
    assert "2 failed" in done.stdout


def test_an_inconsistent_result_ends_with_2(ask, words, copy):
    path = sorted((copy / "cells").glob("*.json"))
    for cell in path:
        record = json.loads(cell.read_text())
        if record["rows"][-1].get("kl"):
            record["rows"][-1]["kl"] += 1
            cell.write_text(json.dumps(record))
            break
    done = ask(*words(copy.parent, "run"))
    assert done.returncode == 2
    assert "inconsistent result, caused by a bug in this program" in done.stderr


def test_ctrl_c_ends_with_130_and_prints_how_to_continue(tmp_path, tiny, start_command):
    arguments = [sys.executable, "-m", "benchmarks", "run", "--all", "--preset", tiny, "--epochs", "2000",
                 "--out", tmp_path, "--name", "c"]  # fmt: skip
    with start_command(arguments, tmp_path / "c" / "environment.json") as process:
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)  # ends when every process that holds its standard error has
    assert process.returncode == 130
    assert "run the same command again to continue" in error
    assert "Traceback" not in error


def test_no_cell_outlives_a_run_that_is_killed(tmp_path, tiny, start_command):
    arguments = [sys.executable, "-m", "benchmarks", "run", "vae", "--preset", tiny, "--epochs", "5000", "--seeds", "1",
                 "--out", tmp_path, "--name", "o"]  # fmt: skip
    with start_command(arguments, tmp_path / "o" / "environment.json") as process:
        time.sleep(1)
        process.kill()
        process.communicate(timeout=60)  # ends when every process that holds its standard error has
    assert not list((tmp_path / "o").glob("cells/*.json"))


def test_a_converged_vae_reaches_the_known_log_likelihood(ask, tmp_path):
    """On data with known log p(x), for which the exact posterior can be learned: both bounds become tight."""
    arguments = [
        "--preset",
        "quick",
        "--no-figures",
        "--dataset",
        "linear-gaussian",
        "--epochs",
        100,
        "--batch-size",
        200,
    ]
    rate = ["--learning-rate", 0.002, "--seeds", 1, "--out", tmp_path, "--name", "x"]
    done = ask("run", "vae", *arguments, *rate, CXX="none")  # compiling the step takes longer than the run
    assert done.returncode == 0, done.stderr
    last = pd.read_csv(tmp_path / "x" / "results.csv").iloc[-1]
    assert abs(last["elbo"] - last["exact_log_likelihood"]) < 0.05
    assert abs(last["log_likelihood"] - last["exact_log_likelihood"]) < 0.05


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch finds none")
def test_cells_on_a_gpu(ask, tmp_path, tiny):
    done = ask("run", "vae", "--preset", tiny, "--no-figures", "--device", "cuda", "--out", tmp_path, "--name", "gpu")
    assert done.returncode == 0, done.stderr
    results = pd.read_csv(tmp_path / "gpu" / "results.csv")
    assert set(results["device"]) == {"cuda"}
    assert (results.loc[results["epoch"] > 0, "throughput"] > 0).all()
