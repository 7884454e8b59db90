"""`show` of a run that goes on, and `show --follow`: what they print, and how they end."""

import contextlib
import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.common import atomic_files, locks

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0  # seconds


def write_partial(folder, record, epochs):
    """Make a finished cell a running one that has finished these checkpoints."""
    rows = [row for row in record["rows"] if row["epoch"] in epochs]
    partial = record | {"status": "running", "label": "x seed 1", "epoch": epochs[-1], "epochs": 2, "rows": rows}
    (folder / "cells" / f"{record['cell_id']}.json").unlink(missing_ok=True)
    atomic_files.write_json(folder / "cells" / f"{record['cell_id']}.partial", partial)


@pytest.fixture
def copy(undisturbed, tmp_path):
    """A copy of a finished run of four cells."""
    shutil.copytree(undisturbed, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def running(copy):
    """A run of four cells that goes on in this process: its folder, and the record of the cell that is running."""
    (copy / "results.csv").unlink()
    path = sorted((copy / "cells").glob("*.json"))[0]
    record = json.loads(path.read_text())
    write_partial(copy, record, [0])
    with locks.lock_folder(copy):
        yield copy, record


@contextlib.contextmanager
def follow(folder, output=subprocess.PIPE, errors=subprocess.PIPE):
    words = [sys.executable, "-m", "benchmarks", "show", folder.name, "--out", folder.parent, "--follow"]
    words += ["--metrics", "elbo"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(words, stdout=output, stderr=errors, text=True, cwd=ROOT, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(stream, words):
    lines, deadline = [], time.monotonic() + PATIENCE
    while time.monotonic() < deadline and (line := stream.readline()):
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def finish(folder, record):
    atomic_files.write_json(folder / "cells" / f"{record['cell_id']}.json", record)
    (folder / "cells" / f"{record['cell_id']}.partial").unlink()


def test_the_checkpoints_of_a_running_cell_are_shown_apart_and_reach_no_other_command(running, ask):
    folder, record = running
    done = ask("show", "latest", "--out", folder.parent, "--metrics", "elbo", "--format", "csv")
    assert done.returncode == 0, done.stderr
    seeds = pd.read_csv(io.StringIO(done.stdout)).set_index(["variant", "epoch"])["seeds"].to_dict()
    variant = record["common"]["variant"]
    assert seeds == {("vae", 2): 2, ("reinforce-vae", 2): 2} | {(variant, 2): 1, (variant, 0): 1}
    assert done.stderr == f"{folder}: finished cells: 3 of 4; running: x seed 1 (epoch 0 of 2)\n"
    assert ask("show", "latest", "--out", folder.parent, "--epoch", 7).returncode == 64
    assert ask("rebuild", folder).returncode == 2
    assert record["cell_id"] not in (folder / "results.csv").read_text()
    done = ask("compare", folder, folder)
    assert "has 3 of 4 planned cells" in done.stderr


def test_a_run_without_a_checkpoint_is_described_in_a_sentence(running, ask):
    folder, record = running
    for path in (folder / "cells").iterdir():
        path.unlink()
    write_partial(folder, record | {"rows": []}, [0])
    done = ask("show", folder)
    assert done.returncode == 64
    assert done.stderr == (
        f"error: there are no results yet: {folder}: finished cells: 0 of 4; running: x seed 1 (epoch 0 of 2); "
        "wait for a checkpoint, or add --follow\n"
    )


def test_follow_prints_a_table_again_and_ends_with_the_last_cell(running):
    folder, record = running
    with follow(folder) as process:
        read_until(process.stdout, "epoch 0")
        finish(folder, record)
        output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "epoch 2, seeds: 2" in output
    assert errors.splitlines()[-1] == f"{folder}: finished cells: 4 of 4; running: no cell"
    assert len(errors.splitlines()) == 2


@pytest.mark.faults
def test_follow_prints_each_checkpoint_and_ends_with_the_process_of_the_run(copy):
    record = json.loads(sorted((copy / "cells").glob("*.json"))[0].read_text())
    write_partial(copy, record, [0])
    table = pd.read_csv(copy / "results.csv", dtype=str)
    table[table["cell_id"] != record["cell_id"]].to_csv(copy / "results.csv", index=False)
    with contextlib.ExitStack() as lock:
        lock.enter_context(locks.lock_folder(copy))
        with follow(copy) as process:
            read_until(process.stdout, "epoch 0")
            write_partial(copy, record, [0, 1])
            read_until(process.stdout, "epoch 1")
            lock.close()  # a run that is killed leaves its partial records
            _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "running: x seed 1" not in errors.splitlines()[-1]


@pytest.mark.faults
def test_follow_ends_with_130_after_ctrl_c_and_with_141_if_its_reader_is_gone(running):
    folder, record = running
    with follow(folder) as process:
        line = f"{folder}: finished cells: 3 of 4; running: x seed 1 (epoch 0 of 2)\n"
        assert read_until(process.stderr, "running") == line
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, "")
    with follow(folder) as process:
        read_until(process.stdout, record["common"]["variant"])
        process.stdout.close()  # no further checkpoint is needed to notice it
        assert process.wait(timeout=PATIENCE) == 141
        assert "Traceback" not in process.stderr.read()


@pytest.mark.faults
def test_follow_draws_the_screen_of_a_terminal_again(running):
    folder, record = running
    parent, child = pty.openpty()
    with follow(folder, child, child) as process, open(parent, encoding="utf-8", newline="") as screen:  # noqa: PTH123
        assert "\x1b[2J" not in read_until(screen, "epoch 0 of 2")
        write_partial(folder, record, [0, 1])
        assert "\x1b[2J\x1b[H" in read_until(screen, "epoch 1 of 2")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 130
    os.close(child)
