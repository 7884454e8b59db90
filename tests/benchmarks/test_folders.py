"""Run folders: which is meant, who holds it, and what in it is damaged or foreign."""

import copy
import json
import os
import subprocess
import sys

import pytest

from benchmarks import files, folders, locks, manifests, sifting, store
from benchmarks.errors import DamageError, UserError

PROTOCOL = {"dataset": "digits", "epochs": 3}


def planned(cell_id, name="v", seed=0):
    return {"cell_id": cell_id, "protocol_id": "p", "variant": {"name": name}, "dataset": "digits", "seed": seed,
            "protocol": PROTOCOL, "data_checksum": "c"}  # fmt: skip


def record(cell_id, status="ok"):
    common = {"variant": "v", "dataset": "digits", "seed": 0, "cell_id": cell_id, "commit": "c", "torch": "2"}
    return {"schema_version": 2, "cell_id": cell_id, "status": status, "error": "", "log": "", "common": common,
            "planned": planned(cell_id), "rows": [{"epoch": 0, "status": status}]}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A run folder of three cells, of which two are there."""
    run = tmp_path / "run"
    folders.claim(run)
    files.write_json(run / "manifest.json", manifests.merged(run, None, [planned(i) for i in "abc"]))
    for i in "ab":
        store.write_cell(run, record(i), {})
    return run


def test_runs_are_found_by_folder_file_name_and_latest(tmp_path):
    for i, name in enumerate(("one", "two")):
        (tmp_path / name / "cells").mkdir(parents=True)
        (tmp_path / name / "results.csv").touch()
        (tmp_path / name / "manifest.json").touch()
        os.utime(tmp_path / name / "manifest.json", (i, i))
    (tmp_path / "baseline").mkdir()  # its tables alone are kept
    (tmp_path / "baseline" / "results.csv").touch()
    (tmp_path / "baseline" / "manifest.json").touch()
    expected = tmp_path / "one" / "results.csv"
    for run in (str(tmp_path / "one"), str(expected), "one"):
        assert folders.find_results(run, tmp_path) == expected
    assert folders.find_results("latest", tmp_path) == tmp_path / "two" / "results.csv"


def test_runs_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no run nope"):
        folders.find_results("nope", tmp_path)
    with pytest.raises(UserError, match="no run with results in"):
        folders.find_results("latest", tmp_path)
    with pytest.raises(UserError, match=r"has no results.csv"):
        folders.find_results(str(tmp_path), tmp_path)
    with pytest.raises(UserError, match=r"is no run folder: it has no cells"):
        folders.find(str(tmp_path), tmp_path)


HEAD = '{"schema_version": 2, "protocol": {}, "data_checksum": "", "cells": '


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "{", "\x00", "[" * 100_000),
        '{"schema_version": 2, "protocol": 3, "cells": []}',
        '{"schema_version": 2, "protocol": {}, "cells": []}',
        HEAD + "[1]}",
        HEAD + "3}",
        HEAD + '[{"cell_id": [1], "variant": {"name": "x"}}]}',
        HEAD + '[{"cell_id": "../x", "variant": {"name": "x"}}]}',
        HEAD + '[{"cell_id": "x", "variant": "name"}]}',
    ],
)
def test_a_damaged_manifest_is_told_from_none(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DamageError):
        manifests.read(folder)
    (folder / "manifest.json").unlink()
    assert manifests.read(folder) is None


def test_a_manifest_is_made_anew_from_the_cells(folder, capsys):
    whole = manifests.read(folder)
    (folder / "manifest.json").write_text("{")
    found, records = sifting.sift(folder)
    assert sorted(records) == ["a", "b"]
    assert found["cells"] == whole["cells"][:2]
    assert found["protocol"] == PROTOCOL
    assert "manifest.json is damaged" in capsys.readouterr().err
    assert (folder / "set-aside" / "manifest.json").read_text() == "{"
    again = manifests.merged(folder, found, [planned(i) for i in "abc"])
    assert again["cells"] == whole["cells"]


def test_a_plan_is_merged_with_what_is_held_and_another_protocol_refused(folder):
    held = manifests.read(folder)
    assert [cell["cell_id"] for cell in manifests.merged(folder, held, [planned("d", "w")])["cells"]] == list("abcd")
    other = planned("d") | {"protocol": PROTOCOL | {"epochs": 4}}
    with pytest.raises(UserError, match="holds another protocol: epochs is 3 there and 4 here"):
        manifests.merged(folder, held, [other])
    with pytest.raises(UserError, match="was made with other data of the same name"):
        manifests.merged(folder, held, [planned("d") | {"data_checksum": "x"}])
    changed = planned("d") | {"variant": {"name": "v", "draws": 2}}
    with pytest.raises(UserError, match="v has draws None there and 2 here"):
        manifests.merged(folder, held, [changed])


def test_what_is_damaged_or_foreign_is_named_and_set_aside(folder, capsys):
    cells = folder / "cells"
    whole = (cells / "a.json").read_text()
    (cells / "a.json").write_text(whole[:100])
    (cells / "b.npz").write_bytes(b"PK half of it")
    (cells / "x.json").write_text(json.dumps(record("x")))
    (cells / "notes.txt").write_text("mine")
    (cells / ".b.json-abcdefgh").write_text("half")
    (cells / ".mine-too").write_text("")
    _, records = sifting.sift(folder)
    assert list(records) == ["x"]
    sifting.set_aside_foreign(folder, set("abc"))
    said = capsys.readouterr().err
    for words in ("a.json is damaged", "b.json is damaged (its pictures are cut off)", "notes.txt belongs to no cell"):
        assert words in said
    assert sorted(p.name for p in (folder / "set-aside").iterdir()) == [
        ".mine-too", "a.json", "b.json", "b.npz", "notes.txt", "x.json"
    ]  # fmt: skip
    assert list(cells.iterdir()) == []
    (cells / "a.json").write_text("")
    sifting.sift(folder)
    assert (folder / "set-aside" / "a.json").read_text() == whole[:100]
    assert (folder / "set-aside" / "a.json.1").read_text() == ""


def test_snapshots_of_finished_cells_go_and_others_stay(folder):
    store.write_cell(folder, record("c", "killed"), {})
    for i in "ac":
        (folder / "cells" / f"{i}.snapshot").touch()
    sifting.sift(folder)
    sifting.set_aside_foreign(folder, set("abc"))
    assert [path.name for path in (folder / "cells").glob("*.snapshot")] == ["c.snapshot"]


def test_a_folder_of_something_else_is_not_claimed(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match=r"holds mine.txt but no cells, so it is no run folder"):
        folders.claim(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unfinished_folder_with_an_equal_plan_is_chosen_even_without_its_manifest(folder):
    class Cell:
        def __init__(self, i):
            self.cell_id = i

    plan = [Cell(i) for i in "abc"]
    assert folders.choose(folder.parent, None, plan) == folder
    assert folders.choose(folder.parent, None, plan[:2]) != folder
    (folder / "manifest.json").write_text("")
    assert folders.choose(folder.parent, None, plan) == folder
    store.write_cell(folder, record("c"), {})
    assert folders.choose(folder.parent, None, plan) != folder


HOLD = """
import sys, time
from pathlib import Path
from benchmarks.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_held_by_one_and_let_go_of_however_it_ends(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        words = rf"is in use by process {process.pid} on .*, a run that started at 20.*; wait until it ends"
        with pytest.raises(UserError, match=words), locks.locked(tmp_path):
            pass
        process.kill()
    with locks.locked(tmp_path):
        assert json.loads((tmp_path / "run.lock").read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_its_owner_removes_meanwhile_is_not_taken_for_held(tmp_path, monkeypatch):
    real, opened = os.open, []

    def late(*arguments):
        handle = real(*arguments)
        if not opened:
            (tmp_path / "run.lock").unlink()
        opened.append(handle)
        return handle

    monkeypatch.setattr(locks.os, "open", late)
    with locks.locked(tmp_path):
        assert (tmp_path / "run.lock").exists()
    assert len(opened) == 2


def test_a_record_is_not_changed_by_what_reads_it(folder):
    record_ = store.read_cell(folder, "a")
    before = copy.deepcopy(record_)
    manifests.rebuilt([record_])
    assert record_ == before
