"""Run folders: finding them, locking them, and recovering from damaged or foreign files."""

import copy
import errno
import json
import os
import subprocess
import sys

import pytest

from benchmarks.common import locks
from benchmarks.common.errors import DamageError, UserError
from benchmarks.runs import cell_files, folders, manifests, recovery
from tests.benchmarks.runs.conftest import PROTOCOL, planned, record


def test_runs_are_found_by_folder_file_name_and_latest(tmp_path):
    for i, name in enumerate(("one", "two")):
        (tmp_path / name / "cells").mkdir(parents=True)
        (tmp_path / name / "results.csv").touch()
        (tmp_path / name / "manifest.json").touch()
        os.utime(tmp_path / name / "manifest.json", (i, i))
    (tmp_path / "baseline").mkdir()  # a reference run, which has no cells
    (tmp_path / "baseline" / "results.csv").touch()
    (tmp_path / "baseline" / "manifest.json").touch()
    expected = tmp_path / "one" / "results.csv"
    for run in (str(tmp_path / "one"), str(expected), "one"):
        assert folders.find_results(run, tmp_path) == expected
    assert folders.find_results("latest", tmp_path) == tmp_path / "two" / "results.csv"


def test_unknown_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no run nope"):
        folders.find_results("nope", tmp_path)
    with pytest.raises(UserError, match="no run with results in"):
        folders.find_results("latest", tmp_path)
    with pytest.raises(UserError, match=r"has no results.csv"):
        folders.find_results(str(tmp_path), tmp_path)
    with pytest.raises(UserError, match="is not a run folder with cells"):
        folders.find_run(str(tmp_path), tmp_path)


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
def test_a_damaged_manifest_is_distinguished_from_a_missing_one(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(DamageError):
        manifests.read_manifest(folder)
    (folder / "manifest.json").unlink()
    assert manifests.read_manifest(folder) is None


def test_a_manifest_is_restored_from_the_cells(folder, capsys):
    original = manifests.read_manifest(folder)
    (folder / "manifest.json").write_text("{")
    restored, records = recovery.recover_folder(folder)
    assert sorted(records) == ["a", "b"]
    assert restored["cells"] == original["cells"][:2]
    assert restored["protocol"] == PROTOCOL
    assert "manifest.json is damaged" in capsys.readouterr().err
    assert (folder / "set-aside" / "manifest.json").read_text() == "{"
    merged = manifests.merge_manifest(folder, restored, [planned(i) for i in "abc"])
    assert merged["cells"] == original["cells"]


def test_a_plan_is_merged_with_the_manifest_and_another_protocol_refused(folder):
    existing = manifests.read_manifest(folder)
    merged = manifests.merge_manifest(folder, existing, [planned("d", "w")])
    assert [cell["cell_id"] for cell in merged["cells"]] == list("abcd")
    other = planned("d") | {"protocol": PROTOCOL | {"epochs": 4}}
    with pytest.raises(UserError, match="has another protocol: epochs is 3 there and 4 here"):
        manifests.merge_manifest(folder, existing, [other])
    with pytest.raises(UserError, match="was made with other data of the same name"):
        manifests.merge_manifest(folder, existing, [planned("d") | {"data_checksum": "x"}])
    changed = planned("d") | {"variant": {"name": "v", "draws": 2}}
    with pytest.raises(UserError, match="another definition of v: draws is None there and 2 here"):
        manifests.merge_manifest(folder, existing, [changed])


def test_damaged_and_foreign_files_are_named_and_set_aside(folder, capsys):
    cells = folder / "cells"
    content = (cells / "a.json").read_text()
    (cells / "a.json").write_text(content[:100])
    (cells / "b.npz").write_bytes(b"PK half of it")
    (cells / "x.json").write_text(json.dumps(record("x")))
    (cells / "notes.txt").write_text("mine")
    (cells / ".b.json-abcdefgh").write_text("half")
    (cells / ".mine-too").write_text("")
    _, records = recovery.recover_folder(folder)
    assert list(records) == ["x"]
    recovery.set_aside_foreign(folder, set("abc"))
    printed = capsys.readouterr().err
    for words in ("a.json is damaged", "b.json is damaged (its images are cut off)", "notes.txt belongs to no cell"):
        assert words in printed
    assert sorted(p.name for p in (folder / "set-aside").iterdir()) == [
        ".mine-too", "a.json", "b.json", "b.npz", "notes.txt", "x.json"
    ]  # fmt: skip
    assert list(cells.iterdir()) == []
    (cells / "a.json").write_text("")
    recovery.recover_folder(folder)
    assert (folder / "set-aside" / "a.json").read_text() == content[:100]
    assert (folder / "set-aside" / "a.json.1").read_text() == ""


def test_snapshots_of_finished_cells_are_deleted(folder):
    cell_files.write_cell(folder, record("c", "killed"))
    for i in "ac":
        (folder / "cells" / f"{i}.snapshot").touch()
    recovery.recover_folder(folder)
    recovery.set_aside_foreign(folder, set("abc"))
    assert [path.name for path in (folder / "cells").glob("*.snapshot")] == ["c.snapshot"]


def test_a_folder_with_other_files_is_not_claimed(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UserError, match=r"has mine.txt but no cells, so it is not a run folder"):
        folders.claim_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_that_has_no_table_yet_says_how_many_cells_it_has(folder):
    words = r"has no results.csv \(planned cells: 3, ended: 2, running: 0\); finish its run"
    with pytest.raises(UserError, match=words):
        folders.find_results(str(folder), folder.parent)


HOLD = """
import sys, time
from pathlib import Path
from benchmarks.common.locks import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_locked_by_one_process_and_released_if_it_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        words = rf"is in use by process {process.pid} on .*, a run that started at 20.*; wait until it ends"
        with pytest.raises(UserError, match=words), locks.lock_folder(tmp_path):
            pass
        assert locks.is_locked(tmp_path)
        process.kill()
    assert (tmp_path / "run.lock").exists()
    assert not locks.is_locked(tmp_path)
    with locks.lock_folder(tmp_path):
        assert locks.is_locked(tmp_path)
        assert json.loads((tmp_path / "run.lock").read_text())["process"] == os.getpid()
    assert list(tmp_path.iterdir()) == []
    assert not locks.is_locked(tmp_path)


@pytest.mark.parametrize(("change", "locked"), [({}, True), ({"process": 2**22 + 1}, False), ({"host": "x"}, True)])
def test_without_locks_the_owner_is_looked_up(tmp_path, monkeypatch, change, locked):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    owner = {"process": os.getpid(), "host": os.uname().nodename} | change
    (tmp_path / "run.lock").write_text(json.dumps(owner))
    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    assert locks.is_locked(tmp_path) == locked


def test_a_lock_file_that_its_owner_deletes_while_it_is_opened_is_retried(tmp_path, monkeypatch):
    real, opened = os.open, []

    def late(path, *arguments):
        handle = real(path, *arguments)
        if str(path).endswith("run.lock"):  # filelock opens other files, too
            if not opened:
                (tmp_path / "run.lock").unlink()
            opened.append(handle)
        return handle

    monkeypatch.setattr(locks.os, "open", late)
    with locks.lock_folder(tmp_path):
        assert (tmp_path / "run.lock").exists()
    assert len(opened) == 2


def test_rebuilding_a_manifest_does_not_change_the_records(folder):
    record_ = cell_files.read_cell(folder, "a")
    before = copy.deepcopy(record_)
    manifests.rebuild_manifest([record_])
    assert record_ == before
