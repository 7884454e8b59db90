"""Cells on a Dask cluster: the same bits after any death, and one line if the cluster can't be used."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.execution import executor
from benchmarks.execution.cluster import connection, worker
from tests.faults.environments.table import ROOT


@pytest.fixture
def start(tmp_path, mark, cache):
    """Start `dask scheduler` and `dask worker` processes by hand, with their default settings."""
    processes = []

    def start_process(*words, **environment):
        variables = {**os.environ, **mark, **environment}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "dask", *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=variables,
                cwd=tmp_path,
            )
        )
        return processes[-1]

    def running(workers=2, **environment):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        address = f"tcp://127.0.0.1:{port}"
        scheduler = start_process("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        wait(address)
        worker_processes = [
            start_process("worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard", **environment)
            for _ in range(workers)
        ]
        return SimpleNamespace(address=address, scheduler=scheduler, workers=worker_processes)

    def wait(address):
        host, port = address.removeprefix("tcp://").split(":")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            time.sleep(0.1)

    yield running
    for process in processes:
        process.kill()
        process.wait()


def wait_for_cells(folder, count):
    """Wait until the folder has this number of finished cells."""
    deadline = time.monotonic() + 120
    while len(list(folder.glob("cells/*.json"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_two_workers_started_by_hand_one_of_them_killed_half_way(
    start, arguments, start_command, undisturbed, numbers, tmp_path, mark, survivors
):
    running = start()
    words = arguments(tmp_path, "x", "--executor", "dask", "--scheduler", running.address)
    with start_command(words, tmp_path / "x" / "environment.json", **mark) as process:
        wait_for_cells(tmp_path / "x", 1)
        running.workers[0].kill()  # its nanny: the worker ends with it, and so does the cell
        assert len(list((tmp_path / "x" / "cells").glob("*.json"))) < 4
        _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert "dashboard: http://127.0.0.1" in error
    pd.testing.assert_frame_equal(numbers(tmp_path / "x"), numbers(undisturbed))
    for process in (*running.workers, running.scheduler):
        process.terminate()
        process.wait()
    assert survivors(30) == []


@pytest.mark.faults
def test_a_cluster_of_this_machine_gives_the_same_bits(command, words, undisturbed, numbers, tmp_path, mark, survivors):
    done = command(*words(tmp_path, "x", "--executor", "dask"), **mark)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "distributed" not in done.stderr
    pd.testing.assert_frame_equal(numbers(tmp_path / "x"), numbers(undisturbed))
    assert survivors() == []


@pytest.mark.faults
def test_a_scheduler_that_is_killed_stops_the_run_and_the_same_command_goes_on(
    start, arguments, command, words, start_command, undisturbed, numbers, tmp_path, mark
):
    running = start(workers=1)
    more = ("--executor", "dask", "--scheduler", running.address)
    with start_command(arguments(tmp_path, "x", *more), tmp_path / "x" / "environment.json", **mark) as process:
        wait_for_cells(tmp_path / "x", 1)
        running.scheduler.kill()
        _, error = process.communicate(timeout=120)
    assert process.returncode == 2, error
    assert "Traceback" not in error
    assert "run the same command again to continue" in error
    contents = {path: path.read_bytes() for path in tmp_path.glob("x/cells/*.json")}
    again = start(workers=1)
    done = command(*words(tmp_path, "x", "--executor", "dask", "--scheduler", again.address))
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in contents} == contents
    pd.testing.assert_frame_equal(numbers(tmp_path / "x"), numbers(undisturbed))


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_cells_on_a_cluster_end_with_the_run(number, start, arguments, start_command, tmp_path, mark):
    running = start(workers=1)
    more = ("--epochs", 100_000, "--seeds", 1, "--executor", "dask", "--scheduler", running.address)
    with start_command(arguments(tmp_path, "x", *more), tmp_path / "x" / "environment.json") as process:
        deadline = time.monotonic() + 60
        while not cells_of(running) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert cells_of(running)
        os.kill(process.pid, number)
        process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while cells_of(running) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert cells_of(running) == []
    assert running.workers[0].poll() is None


def cells_of(running):
    """The cells' processes below the workers; each is the first of its session."""
    done = subprocess.run(["ps", "-eww", "-o", "pid,ppid,sid,args"], capture_output=True, text=True, check=True)
    rows = [line.split(None, 3) for line in done.stdout.splitlines()[1:]]
    below, grown = {str(process.pid) for process in running.workers}, True
    while grown:
        more = {pid for pid, parent, *_ in rows if parent in below} - below
        below, grown = below | more, bool(more)
    return [pid for pid, _, session, words in rows if pid in below and pid == session and "forkserver" in words]


@pytest.mark.faults
def test_faulty_cells_have_the_same_rows_on_a_cluster(command, words, faulty, tmp_path):
    """The source of the plug-in is sent to the worker, which does not have the file."""
    names = ["raises", "sleeps", "dies", "fills-memory", "leaves-a-child"]
    more = ["--plugin", faulty, "--seeds", 1, "--timeout", 8, "--memory", 1500, "--executor", "dask"]
    done = command(*words(tmp_path, "x", *names, *more))
    assert done.returncode == 2, done.stderr
    last = pd.read_csv(tmp_path / "x" / "results.csv").groupby("variant")["status"].last()
    expected = ["failed", "timeout", "killed", "out-of-memory", "ok"]
    assert [last[name] for name in names] == expected


@pytest.mark.faults
def test_a_worker_of_another_python_stops_the_run_with_both_versions(start, command, words, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import platform\nplatform.python_version_tuple = lambda: ('3', '99', '0')\n"
    )
    running = start(workers=1, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    done = command(*words(tmp_path, "x", "--executor", "dask", "--scheduler", running.address))
    assert done.returncode == 64, done.stderr
    assert f"has Python 3.99, and this machine has 3.{sys.version_info[1]}; equal" in done.stderr
    assert "Traceback" not in done.stderr


KILLER = """
import multiprocessing, os, signal
from vaezoo import Variant, elbo, mlp_normal, pathwise

def killer(spec, latent_dim):
    worker = multiprocessing.parent_process()
    if worker is not None:
        os.kill(worker.pid, signal.SIGKILL)
    return mlp_normal(spec, latent_dim)

VARIANTS = [Variant("kills-its-worker", killer, elbo, pathwise)]
"""


@pytest.mark.faults
def test_a_cell_whose_workers_die_is_given_up_and_the_others_are_not(
    command, words, undisturbed, numbers, tmp_path, mark, survivors
):
    plugin = tmp_path / "killer.py"
    plugin.write_text(KILLER)
    more = ("kills-its-worker", "--plugin", plugin, "--executor", "dask")
    done = command(*words(tmp_path, "x", *more), **mark)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert survivors() == []
    results = pd.read_csv(tmp_path / "x" / "results.csv", dtype=str)
    lost = results[results["variant"] == "kills-its-worker"]
    assert set(lost["status"]) == {"killed"}
    results = numbers(tmp_path / "x")
    others = results[results["variant"] != "kills-its-worker"].reset_index(drop=True)
    pd.testing.assert_frame_equal(others, numbers(undisturbed))


def test_a_scheduler_that_does_not_answer_is_refused(monkeypatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1)
    with (
        pytest.raises(UserError, match=r"--scheduler tcp://127.0.0.1:9: no scheduler answers"),
        connection.connect_client("tcp://127.0.0.1:9", [], "cpu"),
    ):
        pass


def test_a_scheduler_without_dask_is_refused(ask, words, tmp_path):
    done = ask(*words(tmp_path, "x", "--scheduler", "tcp://127.0.0.1:9"))
    assert done.returncode == 64
    reason = "--scheduler tcp://127.0.0.1:9 is the address of a Dask scheduler"
    assert done.stderr == f"error: {reason}; add --executor dask, or leave it out\n"
    done = ask(*words(tmp_path, "x", "--executor", "slurm"))
    assert "unknown executor 'slurm'; known: dask, local" in done.stderr


@pytest.mark.parametrize("package", ["vaezoo", "torch", "Python"])
def test_workers_of_another_version_are_refused_with_both_versions(package):
    expected = {"vaezoo": "0.1.0 (code 1)", "torch": "2.14.1", "Python": "3.11"}
    worker.check_versions(expected, expected, "tcp://there")
    version = expected[package].split(" ")[0]
    with pytest.raises(UserError, match=rf"tcp://there has {package} 9, and this machine has {version}"):
        worker.check_versions(expected, expected | {package: "9"}, "tcp://there")


def test_a_local_scheduler_listens_only_to_this_machine():
    with connection._start_local_cluster([{}], "cpu") as cluster:
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        assert "//127.0.0.1:" in cluster.dashboard_link


def test_each_cell_uses_another_gpu(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    assert executor.make_slots("cuda", 1, None) == [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "GPU-abc"}]
    assert executor.make_slots("cuda", 1, 1) == [{"CUDA_VISIBLE_DEVICES": "3"}]
    with pytest.raises(UserError, match="--workers 3: each cell needs one GPU, and there are 2"):
        executor.make_slots("cuda", 1, 3)
    assert executor.make_slots("cpu", 1, 2) == [{}, {}]
