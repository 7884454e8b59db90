"""Full disks, deleted or read-only folders, files that are cut off, two runs at once, a clock set back."""

import contextlib
import os
import random
import shutil
import subprocess
import time

import pandas as pd
import pytest

CUTS = [0.0, *(random.Random(3).random() for _ in range(8)), 0.999]
FILES = ("cells/*.json", "cells/*.npz", "manifest.json", "environment.json", "results.csv", "summary.csv")


@pytest.fixture
def copy(undisturbed, tmp_path):
    """A copy of the run, as tmp_path / "x"."""
    shutil.copytree(undisturbed, tmp_path / "x")
    return tmp_path / "x"


@pytest.fixture
def small_disk(tmp_path):
    """mount(*options): mount a small file system at tmp_path / "disk"."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", folder], capture_output=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode()}")
        return folder

    yield mount
    subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


def check_same(folder, undisturbed, numbers):
    pd.testing.assert_frame_equal(numbers(folder), numbers(undisturbed))


@pytest.mark.parametrize(
    "pattern", [pytest.param(f, marks=[] if f == "manifest.json" else pytest.mark.faults) for f in FILES]
)
@pytest.mark.parametrize(
    "cut", [pytest.param(c, marks=[] if c == 0.999 else pytest.mark.faults, id=f"{c:.3f}") for c in CUTS]
)
def test_the_same_command_restores_a_file_that_is_cut(ask, words, copy, undisturbed, numbers, pattern, cut):
    path = sorted(copy.glob(pattern))[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    done = ask(*words(copy.parent, "x"))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    check_same(copy, undisturbed, numbers)
    if pattern in ("cells/*.json", "manifest.json"):
        assert f"{path} is damaged" in done.stderr
        assert (copy / "set-aside" / path.name).read_bytes() == content[: int(cut * len(content))]
    count = 4 if not pattern.startswith("cells") else 3
    assert f"{count} finished cells are kept" in done.stderr


@pytest.mark.faults
@pytest.mark.parametrize("cut", CUTS, ids=lambda c: f"{c:.3f}")
@pytest.mark.parametrize("pattern", FILES)
def test_commands_report_a_file_that_is_cut(ask, copy, pattern, cut):
    path = sorted(copy.glob(pattern))[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    for arguments in (["show", copy], ["plot", copy], ["rebuild", copy], ["show", copy]):
        done = ask(*arguments)
        assert done.returncode in (0, 2, 64), done.stderr
        assert "Traceback" not in done.stderr
    assert done.returncode == 0  # rebuilt


def test_rebuild_writes_the_tables_again_and_counts_missing_cells(ask, copy):
    before = {name: (copy / name).read_bytes() for name in ("results.csv", "summary.csv")}
    for name in before:
        (copy / name).unlink()
    done = ask("rebuild", copy)
    assert done.returncode == 0, done.stderr
    assert {name: (copy / name).read_bytes() for name in before} == before
    sorted((copy / "cells").glob("*.json"))[0].write_text("{")
    done = ask("rebuild", copy)
    assert done.returncode == 2
    assert "is damaged" in done.stderr
    assert "1 of 4 planned cells are missing" in done.stderr


@pytest.mark.parametrize(
    "size",
    [pytest.param("60k", id="at a cell"), pytest.param("200k", id="at a figure", marks=pytest.mark.faults)],
)
def test_a_full_disk_stops_the_run_and_finished_cells_are_kept(
    size, command, ask, words, small_disk, undisturbed, numbers, mark, survivors
):
    disk = small_disk(f"size={size}")
    done = command(*words(disk, "x", "--figures"), **mark)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "No space left on device" in done.stderr
    if size == "60k":
        assert "finished cells are kept; fix the problem and run the same command again" in done.stderr
    assert survivors() == []
    contents = {path: path.read_bytes() for path in disk.glob("x/cells/*.json")}
    subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
    done = ask(*words(disk, "x"))
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in contents} == contents
    check_same(disk / "x", undisturbed, numbers)


@pytest.mark.faults
def test_a_read_only_folder_is_refused(ask, words, small_disk, undisturbed):
    disk = small_disk("size=50m")
    shutil.copytree(undisturbed, disk / "x")
    (disk / "x" / "manifest.json").unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for name in ("x", "y"):
        done = ask(*words(disk, name))
        assert done.returncode == 64, done.stderr
        assert done.stderr.count("\n") == 1
        assert "Read-only file system" in done.stderr
    assert ask("show", disk / "x").returncode == 0


@pytest.mark.faults
def test_a_folder_deleted_during_the_run_is_reported_and_not_created_again(
    arguments, start_command, tmp_path, mark, survivors
):
    with start_command(
        arguments(tmp_path, "x", "--epochs", 3000), tmp_path / "x" / "environment.json", **mark
    ) as process:
        time.sleep(0.5)
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "No such file or directory" in error
    assert "Traceback" not in error
    assert survivors() == []
    assert not (tmp_path / "x").exists()


def test_the_second_of_two_runs_in_a_folder_is_refused(arguments, words, ask, start_command, tmp_path):
    with start_command(arguments(tmp_path, "x", "--epochs", 5000), tmp_path / "x" / "environment.json") as process:
        done = ask(*words(tmp_path, "x", "--epochs", 5000))
        assert process.poll() is None
    assert done.returncode == 64
    assert f"x is in use by process {process.pid} on {os.uname().nodename}, a run that started at" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.faults
def test_a_clock_that_was_set_back(ask, words, copy, undisturbed, numbers):
    """All files have times in the future."""
    sorted((copy / "cells").glob("*.json"))[0].unlink()
    for path in [copy, *copy.rglob("*")]:
        os.utime(path, (4e9, 4e9))
    without_name = [word for word in words(copy.parent, "x") if word not in ("--name", "x")]
    done = ask(*without_name)
    assert done.returncode == 0, done.stderr
    assert "3 finished cells are kept" in done.stderr
    assert [path.name for path in copy.parent.iterdir() if path.is_dir()] == ["x"]
    check_same(copy, undisturbed, numbers)


@pytest.mark.faults
def test_a_clock_that_is_set_back_during_a_run(arguments, start_command, undisturbed, numbers, tmp_path):
    """With faketime, if installed: a day back and at half speed; the monotonic clock is left alone."""
    if not shutil.which("faketime"):
        pytest.skip("faketime is not installed")
    words = ["faketime", "-f", "-1d i0.5", *arguments(tmp_path, "x")]
    variables = {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with (
        start_command(words, tmp_path / "x" / "environment.json", **variables) as process,
        contextlib.suppress(subprocess.TimeoutExpired),
    ):
        process.communicate(timeout=120)
    assert process.returncode == 0
    check_same(tmp_path / "x", undisturbed, numbers)
