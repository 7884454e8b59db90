"""Killed processes: finished cells are kept, the same command does the rest, and no process is left running."""

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

SOURCE = random.Random(1)
MOMENTS = [SOURCE.uniform(0.2, 7) for _ in range(20)]  # seconds; a whole run takes five to seven


def cells(folder):
    return {path.name: path.read_bytes() for path in folder.glob("cells/*.json")}


def finished(folder):
    """Content of the files of finished cells, by name."""
    return {name: content for name, content in cells(folder).items() if b'"status": "ok"' in content.split(b'"log"')[0]}


def check_continuation(ask, words, folder, undisturbed, numbers):
    """Check that the same command keeps finished cells and ends with the results of an undisturbed run."""
    before = finished(folder)
    done = ask(*words(folder.parent, folder.name))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    after = cells(folder)
    assert {name: after[name] for name in before} == before
    pd.testing.assert_frame_equal(numbers(folder), numbers(undisturbed))
    assert {path.suffix for path in (folder / "cells").iterdir()} == {".json", ".npz"}
    assert not (folder / "run.lock").exists()


def test_a_run_that_is_killed_between_two_cells(
    arguments, words, ask, start_command, undisturbed, numbers, tmp_path, mark, survivors
):
    with start_command(arguments(tmp_path, "x"), tmp_path / "x" / "environment.json", **mark) as process:
        while not cells(tmp_path / "x") and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    assert 1 <= len(finished(tmp_path / "x")) < 4
    assert survivors() == []
    check_continuation(ask, words, tmp_path / "x", undisturbed, numbers)


@pytest.mark.faults
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda m: f"{m:.1f}s")
def test_a_run_that_is_killed(moment, arguments, words, ask, undisturbed, numbers, tmp_path, mark, survivors):
    environment = {**os.environ, **mark}
    with subprocess.Popen(arguments(tmp_path, "x"), env=environment, stdout=-3, stderr=-3) as process:
        time.sleep(moment)
        process.kill()
    assert survivors() == []
    check_continuation(ask, words, tmp_path / "x", undisturbed, numbers)


def children_of(parent):
    """The processes below another."""
    pids = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if folder.name.isdigit() and int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                pids += [int(folder.name), *children_of(int(folder.name))]
    return pids


def kill(parent, which, after):
    """Kill a cell or the fork server after `after` cells were seen; return whether it was killed."""
    seen = set()
    while parent.poll() is None:
        for pid in children_of(parent.pid):
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                forked = b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
                is_cell = forked and os.getsid(pid) == pid  # a cell has a session of its own
                seen |= {pid} if is_cell else set()
                if forked and is_cell == (which == "a cell") and len(seen) >= after:
                    os.kill(pid, signal.SIGKILL)
                    return True
    return False


@pytest.mark.faults
@pytest.mark.parametrize("attempt", range(4))
@pytest.mark.parametrize("which", ["a cell", "the server that forks them"])
def test_a_process_of_the_run_that_is_killed(
    which, attempt, arguments, words, ask, undisturbed, numbers, start_command, tmp_path, mark, survivors
):
    with start_command(arguments(tmp_path, "x", "--epochs", 2), tmp_path / "x" / "environment.json", **mark) as process:
        assert kill(process, which, after=attempt)
        _, error = process.communicate(timeout=120)
    assert process.returncode in (0, 2), error
    assert "Traceback" not in error
    assert survivors() == []
    check_continuation(ask, words, tmp_path / "x", undisturbed, numbers)


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param([signal.SIGINT], id="Ctrl-C"),
        pytest.param([signal.SIGTERM], id="SIGTERM", marks=pytest.mark.faults),
        pytest.param([signal.SIGINT, signal.SIGINT], id="Ctrl-C twice", marks=pytest.mark.faults),
    ],
)
def test_a_run_that_is_interrupted_ends_before_its_cells(
    signals, arguments, words, ask, start_command, tmp_path, mark, survivors
):
    with start_command(
        arguments(tmp_path, "x", "--epochs", 2000), tmp_path / "x" / "environment.json", **mark
    ) as process:
        time.sleep(1.5)
        for number in signals:
            os.kill(process.pid, number)
            time.sleep(0.1)
        _, error = process.communicate(timeout=60)
    assert list((tmp_path / "x" / "cells").glob("*.json")) == []
    assert process.returncode in ((130,) if len(signals) == 1 else (130, -signal.SIGINT))  # to a shell the same
    assert "Traceback" not in error
    if len(signals) == 1:
        assert "run the same command again to continue" in error
    assert survivors() == []


@pytest.mark.faults
def test_a_run_on_dask_that_is_interrupted_ends_within_two_seconds(arguments, start_command, tmp_path, mark, survivors):
    more = ("--epochs", 2000, "--executor", "dask", "--workers", 2)
    with start_command(arguments(tmp_path, "x", *more), tmp_path / "x" / "environment.json", **mark) as process:
        time.sleep(8)  # until its workers compute
        start = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert time.monotonic() - start < 2.0
    assert process.returncode == 130
    assert error.splitlines()[-1] == "interrupted; run the same command again to continue"
    assert "Traceback" not in error
    assert survivors() == []


@pytest.mark.faults
@pytest.mark.parametrize("moment", [SOURCE.uniform(0.2, 6) for _ in range(10)])
def test_ctrl_c_at_any_moment_shows_no_traceback(moment, arguments, tmp_path, mark, survivors):
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(arguments(tmp_path, "x"), env={**os.environ, **mark}, **pipes) as process:
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode in (130, 0), error
    assert "Traceback" not in error
    assert survivors() == []


@pytest.mark.faults
def test_a_run_that_is_killed_leaves_no_checkpoint_that_another_command_takes_for_a_result(
    arguments, ask, start_command, tmp_path, mark, survivors
):
    """Its partial records stay, are shown while it runs and not after it, and are deleted by the next start."""
    command, folder = arguments(tmp_path, "x", "--epochs", 2000), tmp_path / "x"
    with start_command(command, folder / "environment.json", **mark) as process:
        deadline = time.monotonic() + 120
        while (done := ask("show", "latest", "--out", tmp_path)).returncode and time.monotonic() < deadline:
            time.sleep(0.5)
        assert "digits, epoch " in done.stdout
        assert "running: " in done.stderr
        process.kill()
    assert survivors() == []
    assert list(folder.glob("cells/*.partial"))
    for words in (["show", folder], ["rebuild", folder], ["report", folder], ["compare", folder, folder]):
        assert ask(*words).returncode == 64
    (folder / "environment.json").unlink()  # written when the next start has deleted them
    with start_command(command, folder / "environment.json", **mark) as process:
        time.sleep(2)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert not list(folder.glob("cells/*.partial"))
    assert not (folder / "set-aside").exists()
