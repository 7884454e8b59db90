"""Files: whole or not at all, and readers that name what they can't read."""

import csv
import json

import numpy as np
import pytest

from benchmarks import store
from benchmarks.errors import UserError
from benchmarks.metrics import RESULT_COLUMNS


def record(cell_id="a", variant="v", seed=0, **row):
    common = {"variant": variant, "dataset": "digits", "seed": seed, "cell_id": cell_id}
    return {"schema_version": 1, "cell_id": cell_id, "status": "ok", "error": "", "log": "", "common": common,
            "rows": [{"epoch": 0, "status": "ok", **row}]}  # fmt: skip


def test_a_cell_comes_back_as_it_went(tmp_path):
    store.write_cell(tmp_path, record(elbo=-1 / 3), {"codes": np.eye(3)})
    assert store.read_cell(tmp_path, "a") == record(elbo=-1 / 3)
    assert (store.read_pictures(tmp_path, "a")["codes"] == np.eye(3)).all()
    assert store.read_pictures(tmp_path, "b") == {}
    assert sorted(path.name for path in (tmp_path / "cells").iterdir()) == ["a.json", "a.npz"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    store.write(tmp_path / "x", b"old")

    def fail(handle):
        raise OSError("disk full")

    monkeypatch.setattr(store.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_damaged_cell_counts_as_none(tmp_path):
    store.write_cell(tmp_path, record(), {})
    path = tmp_path / "cells" / "a.json"
    whole = path.read_bytes()
    for end in range(len(whole) - 2):
        path.write_bytes(whole[:end])
        assert store.read_cell(tmp_path, "a") is None
    for text in ("[]", "3", "null", '{"cell_id": "b"}', "\xff"):
        path.write_text(text, encoding="latin-1")
        assert store.read_cell(tmp_path, "a") is None


def test_results_are_sorted_whole_and_keep_every_bit(tmp_path):
    value = 0.1 + 0.2
    cells = [record("c", "w", 1), record("a", "v", 1, elbo=value), record("b", "w", 0), record("d", "v", 0)]
    store.write_results(tmp_path, cells)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"]) for row in rows] == [("w", "0"), ("w", "1"), ("v", "0"), ("v", "1")]
    assert tuple(rows[0]) == RESULT_COLUMNS
    assert float(rows[3]["elbo"]) == value
    assert store.read_results(tmp_path / "results.csv")["elbo"].iloc[3] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "can't read"),
        ("variant,dataset\nvae,digits\n", "lacks the columns seed, epoch"),
        (",".join(RESULT_COLUMNS) + "\n", "has no rows"),
        ('a,b\n"1,2\n3', "can't read|lacks"),
        ("\x00\x01\x02", "can't read|lacks"),
    ],
)
def test_a_csv_that_is_no_results_csv_is_refused(tmp_path, text, words):
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        store.read_results(tmp_path / "results.csv")


def test_runs_are_found_by_folder_file_name_and_latest(tmp_path):
    for i, name in enumerate(("one", "two")):
        store.write_results(tmp_path / name, [record()])
        store.write_json(tmp_path / name / "manifest.json", {"protocol": {}, "cells": [], "i": i})
    expected = tmp_path / "one" / "results.csv"
    for run in (str(tmp_path / "one"), str(expected), "one"):
        assert store.find_results(run, tmp_path) == expected
    assert store.find_results("latest", tmp_path) == tmp_path / "two" / "results.csv"


def test_runs_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no run nope"):
        store.find_results("nope", tmp_path)
    with pytest.raises(UserError, match="no run with results in"):
        store.find_results("latest", tmp_path)
    with pytest.raises(UserError, match=r"has no results.csv"):
        store.find_results(str(tmp_path), tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"protocol": 3, "cells": []}', "\x00"])
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"can't read .*manifest.json"):
        store.manifest(tmp_path)


def test_json_is_readable(tmp_path):
    store.write_json(tmp_path / "x.json", {"unit": "nats²"})
    assert "nats²" in (tmp_path / "x.json").read_text()
    assert json.loads((tmp_path / "x.json").read_text()) == {"unit": "nats²"}
