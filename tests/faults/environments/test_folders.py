"""Folders with names of any bytes, and a cache that several first runs share."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.planning.data import cache
from benchmarks.planning.data.catalogue import DATASETS
from tests import planned
from tests.faults.environments.table import ROOT, Environment

FOLDER_NAMES = [b"\xff\xfe", b"a\nb", b" x ", b"'\"$(true)`", b"-dash", b"\x1b[31mred", "ünï".encode(), b"x" * 200]
STEPS = (
    ["show", "OUT/n"],
    ["plot", "OUT/n"],
    ["report", "OUT/n"],
    ["compare", "OUT/n", "OUT/n"],
    ["compare", "OUT/n", "OUT/n", "--format", "json"],
    ["rebuild", "OUT/n"],
    ["history", "OUT/n", "--out", "OUT"],
)


def run(folder, *arguments):
    """Run the program with arguments of any bytes."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=300, check=False)


@pytest.mark.faults
@pytest.mark.parametrize("name", FOLDER_NAMES)
def test_a_folder_may_have_any_name(tiny, tmp_path, name):
    out = b"./" + name
    run_arguments = ["run", "vae", "--preset", tiny, "--seeds", "1", b"--out=" + out, "--name", "n"]
    for arguments in (run_arguments, *STEPS):
        words = [word.encode() if isinstance(word, str) else word for word in arguments]
        done = run(tmp_path, *(word.replace(b"OUT", out) for word in words))
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        assert b"not drawn" not in done.stderr
    environment = json.loads((tmp_path / os.fsdecode(name) / "n" / "environment.json").read_text(encoding="utf-8"))
    assert any(os.fsdecode(name) in word for word in environment["command"])


@pytest.mark.faults
@pytest.mark.parametrize("option", ["--data-root", "--plugin", "--preset"])
def test_a_file_may_have_any_name(tmp_path, option):
    path = b"./\xff\xfe"
    dataset = ["--dataset", "mnist"] if option == "--data-root" else []
    done = run(tmp_path, "run", "vae", *dataset, option, path)
    assert done.returncode == 64
    assert done.stderr.count(b"\n") == 1
    assert rb"\udcff\udcfe" in done.stderr


@pytest.mark.faults
def test_first_runs_at_the_same_time_share_the_cache(start_folder, numbers, answer, tmp_path):
    """Each finds the data whole, and each has the same results."""
    folders = [tmp_path / f"run{i}" for i in range(6)]
    for folder in folders:
        shutil.copytree(start_folder, folder)
    cache = {**os.environ, "PYTHONPATH": str(ROOT), "VAEZOO_CACHE": str(tmp_path / "cache")}
    words = ["run", "vae", "reinforce-vae", "--preset", "tiny.toml", "--no-figures", "--no-report", "--out", "out"]
    command = [sys.executable, "-m", "benchmarks", *words, "--name", "new"]
    running = [subprocess.Popen(command, cwd=folder, env=cache, stderr=subprocess.PIPE) for folder in folders]
    errors = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0] * 6, errors
    assert len({numbers(folder / "out" / "new").to_csv() for folder in folders}) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")] == []


def test_decoded_data_that_are_whole_are_not_replaced(monkeypatch, tmp_path):
    """A process that reads them must not lose them."""
    monkeypatch.setenv("VAEZOO_CACHE", str(tmp_path))
    prepared = planned.prepare("digits", tmp_path)
    before = {path: path.stat().st_ino for path in Path(prepared.folder).iterdir()}
    cache._cache_decoded(DATASETS["digits"], tmp_path, Path(prepared.folder))
    assert {path: path.stat().st_ino for path in Path(prepared.folder).iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [Path(prepared.folder).name]


def test_incomplete_data_are_replaced(monkeypatch, tmp_path):
    monkeypatch.setenv("VAEZOO_CACHE", str(tmp_path))
    prepared = planned.prepare("digits", tmp_path)
    (Path(prepared.folder) / "facts.json").unlink()
    assert planned.prepare("digits", tmp_path) == prepared


@pytest.mark.faults
def test_a_failed_download_leaves_the_users_empty_folder(tmp_path):
    (tmp_path / "data").mkdir()
    environment = Environment({"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"})
    done = environment.run(tmp_path, ["run", "vae", "--dataset", "mnist", "--data-root", "data", "--out", "out"])
    assert done.returncode == 64
    assert list((tmp_path / "data").iterdir()) == []
