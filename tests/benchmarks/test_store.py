"""Files: whole or not at all, and readers that name what they can't read."""

import csv
import json

import numpy as np
import pytest

from benchmarks import store
from benchmarks.errors import UserError
from benchmarks.metrics import RESULT_COLUMNS


def record(cell_id="a", variant="v", seed=0, **row):
    common = {"variant": variant, "dataset": "digits", "seed": seed, "cell_id": cell_id, "commit": "c", "torch": "2"}
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
    for text in ("[]", "3", "null", '{"cell_id": "b"}', "\xff", "[" * 100_000):
        path.write_text(text, encoding="latin-1")
        assert store.read_cell(tmp_path, "a") is None
    for change in (
        {"common": {}},
        {"common": []},
        {"rows": 3},
        {"rows": []},
        {"rows": [{"elbo": "x"}]},
        {"schema_version": 9},
    ):
        store.write_json(path, record() | change)
        assert store.read_cell(tmp_path, "a") is None


def edited(tmp_path, **columns):
    """A good results.csv of two checkpoints with some columns of its second row replaced."""
    cell = record("c", "w", 1, elbo=-1.0)
    cell["rows"].append(cell["rows"][0] | {"epoch": 1} | columns)
    store.write_results(tmp_path, [cell])
    return tmp_path / "results.csv"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"elbo": "good"}, "line 3: elbo is good, which is no number"),
        ({"elbo": float("inf")}, "line 3: elbo is inf"),
        ({"train_seconds": "1s"}, "line 3: train_seconds is 1s"),
        ({"epoch": None}, "line 3 is ok and has no epoch"),
        ({"epoch": 0}, "line 3 repeats a checkpoint of a cell"),
        ({"status": "fine"}, "line 3 has a status that is none of ok, diverged"),
        ({"variant": None}, "has no variant"),
    ],
)
def test_an_edited_csv_is_refused_by_line_and_column(tmp_path, columns, words):
    with pytest.raises(UserError, match=words):
        store.read_results(edited(tmp_path, **columns))


def test_a_variant_named_by_a_number_is_a_name(tmp_path):
    store.write_results(tmp_path, [record("c", "3")])
    assert store.read_results(tmp_path / "results.csv")["variant"].tolist() == ["3"]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_damaged_pictures_are_named(tmp_path, content):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz is damaged"):
        store.read_pictures(tmp_path, "a")


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
        store.write_json(tmp_path / name / "manifest.json", {"protocol": {}, "cells": [], "data_checksum": str(i)})
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


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "{",
        '{"protocol": 3, "cells": []}',
        "\x00",
        "[" * 100_000,
        '{"protocol": {}, "cells": [1]}',
        '{"protocol": {}, "cells": [{"cell_id": [1], "variant": {"name": "x"}}], "data_checksum": ""}',
        '{"protocol": {}, "cells": []}',
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        store.manifest(tmp_path)


def test_json_is_readable(tmp_path):
    store.write_json(tmp_path / "x.json", {"unit": "nats²"})
    assert "nats²" in (tmp_path / "x.json").read_text()
    assert json.loads((tmp_path / "x.json").read_text()) == {"unit": "nats²"}
