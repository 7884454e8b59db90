"""The run folder that a run writes to, and the latest run."""

import os
import shutil

import pytest

from benchmarks.common import atomic_files, environment, locks
from benchmarks.runs import cell_files, folders
from tests.benchmarks.runs.conftest import record


class Cell:
    commit = "c"

    def __init__(self, cell_id):
        self.cell_id = cell_id


@pytest.fixture
def same_torch(monkeypatch):
    """The torch of this process is that of the records."""
    monkeypatch.setattr(environment, "read_torch_version", lambda: "2")


def test_an_unfinished_folder_with_an_equal_plan_is_chosen_even_without_its_manifest(folder, same_torch):
    plan = [Cell(i) for i in "abc"]
    assert folders.choose_folder(folder.parent, None, plan) == folder
    assert folders.choose_folder(folder.parent, None, plan[:2]) != folder
    (folder / "manifest.json").write_text("")
    assert folders.choose_folder(folder.parent, None, plan) == folder
    cell_files.write_cell(folder, record("c"))
    assert folders.choose_folder(folder.parent, None, plan) != folder


@pytest.mark.parametrize(("key", "version"), [("commit", "d"), ("torch", "3")])
def test_an_unnamed_run_of_other_code_or_torch_starts_in_a_new_folder_and_says_why(
    folder, same_torch, monkeypatch, capsys, key, version
):
    plan, out = [Cell(i) for i in "abc"], folder.parent
    monkeypatch.setattr(environment, "read_torch_version", lambda: version if key == "torch" else "2")
    monkeypatch.setattr(Cell, "commit", version if key == "commit" else "c")
    for choose in (
        lambda: folders.choose_folder(out, None, plan),
        lambda: folders.choose_run_of_cells(out, plan, False),
    ):
        assert choose().parent == out
        assert choose() != folder
    recorded = {"commit": "c", "torch": "2"}[key]
    line = f"{folder} has cells made by {key} {recorded}, and this is {version} (--keep-stale continues it); "
    assert capsys.readouterr().err.splitlines() == [line + "this run starts in a new folder"] * 4
    assert folders.choose_folder(out, None, plan, keep_stale=True) == folder
    assert folders.choose_folder(out, "run", plan) == folder
    assert folders.choose_run_of_cells(out, plan, keep_stale=True) == folder
    assert capsys.readouterr().err == ""


def test_an_older_run_that_can_be_continued_is_found_behind_a_stale_one(folder, same_torch, capsys):
    stale = folder.parent / "stale"
    shutil.copytree(folder, stale)
    for path in (stale / "cells").glob("*.json"):
        path.write_text(path.read_text().replace('"commit": "c"', '"commit": "d"'))
    os.utime(stale / "manifest.json", (4e9, 4e9))
    assert folders.choose_folder(folder.parent, None, [Cell(i) for i in "abc"]) == folder
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["", "cells", "cells/a.json", "manifest.json", "run.lock"])
def test_an_unnamed_run_leaves_a_folder_that_cannot_be_read_or_changed(folder, same_torch, monkeypatch, capsys, name):
    (folder / "run.lock").touch()
    monkeypatch.setattr(folders.os, "access", lambda path, mode: path != folder / name)
    assert folders.choose_folder(folder.parent, None, [Cell(i) for i in "abc"]) != folder
    words = f"{folder} can't be continued, because {folder / name} can't be read or changed here; "
    assert capsys.readouterr().err == words + "this run starts in a new folder\n"


def test_a_running_run_of_other_code_is_left_alone_and_one_of_this_code_is_in_use(folder, same_torch, capsys):
    plan = [Cell(i) for i in "abc"]
    partial = record("c") | {"status": "running", "label": "v seed 0", "epoch": 1, "epochs": 3}
    for path in (folder / "cells").glob("*.json"):
        path.unlink()
    with locks.lock_folder(folder):
        assert folders.choose_folder(folder.parent, None, plan) == folder  # whose lock then refuses the run
        partial["common"]["commit"] = "d"
        atomic_files.write_json(folder / "cells" / "c.partial", partial)
        assert folders.choose_folder(folder.parent, None, plan) != folder
    assert "has cells made by commit d" in capsys.readouterr().err
    assert folders.choose_folder(folder.parent, None, plan) == folder  # it was killed before a cell was finished


def test_the_latest_run_is_the_last_one_by_time(tmp_path):
    for seconds, name in enumerate("bca"):
        (tmp_path / name / "cells").mkdir(parents=True)
        (tmp_path / name / "manifest.json").touch()
        os.utime(tmp_path / name / "manifest.json", (seconds, seconds))
    assert [path.name for path in folders.list_runs(tmp_path)] == ["b", "c", "a"]
    assert folders.find_run("latest", tmp_path) == tmp_path / "a"


def test_a_run_of_cells_has_all_of_them(folder, same_torch):
    out = folder.parent
    assert folders.choose_run_of_cells(out, [Cell(i) for i in "ab"], False) == folder
    assert not folders.choose_run_of_cells(out, [Cell(i) for i in "bx"], False).exists()
