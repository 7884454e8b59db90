"""Cell files and tables: atomic writes, and the messages for files that can't be read."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.common import atomic_files
from benchmarks.common.errors import DamageError, UserError
from benchmarks.reporting import image_arrays, results_table
from benchmarks.reporting.results_table import ADDED_COLUMNS, RESULT_COLUMNS
from benchmarks.runs import cell_files


def record(cell_id="a", variant="v", seed=0, **row):
    common = {
        "variant": variant,
        "dataset": "digits",
        "seed": seed,
        "cell_id": cell_id,
        "commit": "c",
        "torch": "2",
        "objective": "elbo",
    }
    return {"schema_version": 1, "cell_id": cell_id, "status": "ok", "error": "", "log": "", "common": common,
            "rows": [{"epoch": 0, "status": "ok", **row}]}  # fmt: skip


def test_a_cell_is_read_as_it_was_written(tmp_path):
    (tmp_path / "cells").mkdir()
    cell_files.write_cell(tmp_path, record(elbo=-1 / 3), cell_files.Attachments({"codes": np.eye(3)}))
    assert cell_files.read_cell(tmp_path, "a") == record(elbo=-1 / 3)
    assert (image_arrays.read_image_arrays(tmp_path, "a")["codes"] == np.eye(3)).all()
    assert image_arrays.read_image_arrays(tmp_path, "b") == {}
    assert sorted(path.name for path in (tmp_path / "cells").iterdir()) == ["a.json", "a.npz"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    atomic_files.write_bytes(tmp_path / "x", b"old")

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files.os, "fsync", fail)
    with pytest.raises(OSError, match=r"No space left on device: .*x"):
        atomic_files.write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_damaged_cell_is_distinguished_from_a_missing_one(tmp_path):
    (tmp_path / "cells").mkdir()
    assert cell_files.read_cell(tmp_path, "a") is None
    cell_files.write_cell(tmp_path, record())
    path = tmp_path / "cells" / "a.json"
    content = path.read_bytes()
    for end in range(len(content) - 2):
        path.write_bytes(content[:end])
        with pytest.raises(DamageError):
            cell_files.read_cell(tmp_path, "a")
    for text in ("[]", "3", "null", '{"cell_id": "b"}', "\xff", "[" * 100_000):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(DamageError):
            cell_files.read_cell(tmp_path, "a")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"common": {}}, "variant: Field required"),
        ({"common": []}, "common: Input should be a valid dictionary"),
        ({"rows": 3}, "rows: Input should be a valid list"),
        ({"rows": []}, "no rows"),
        ({"rows": [{"epoch": 0, "status": "ok", "elbo": "x"}]}, "elbo: Input should be a valid number"),
        ({"rows": [{"epoch": 0, "status": "ok"}, {"epoch": 1}]}, "status: Field required"),
        ({"rows": [{"epoch": 0, "status": "ok", "objective": "$x$"}]}, "objective: String should match pattern"),
        ({"rows": [{"epoch": 0, "status": "ok", "dataset": "../x"}]}, "dataset: String should match pattern"),
        ({"status": "fine"}, "status: Input should be 'ok', 'diverged'"),
        ({"log": 3}, "log: Input should be a valid string"),
        ({"cell_id": "b"}, "it contains the cell b"),
        ({"schema_version": "2"}, "schema_version is '2'"),
        ({"schema_version": 0}, "schema_version is '0'"),
    ],
)
def test_the_damage_of_a_cell_is_described(tmp_path, change, words):
    (tmp_path / "cells").mkdir()
    atomic_files.write_json(tmp_path / "cells" / "a.json", record() | change)
    with pytest.raises(DamageError, match=words):
        cell_files.read_cell(tmp_path, "a")


def test_cells_of_a_newer_schema_are_refused_and_of_an_older_one_read(tmp_path):
    (tmp_path / "cells").mkdir()
    path = tmp_path / "cells" / "a.json"
    atomic_files.write_json(path, record() | {"schema_version": atomic_files.SCHEMA_VERSION + 1})
    known = atomic_files.SCHEMA_VERSION
    words = rf"a\.json was written by a newer vaezoo \(schema {known + 1}; this one reads up to {known}\)"
    with pytest.raises(UserError, match=words):
        cell_files.read_cell(tmp_path, "a")
    atomic_files.write_json(path, record() | {"schema_version": 1})
    assert cell_files.read_cell(tmp_path, "a")["schema_version"] == 1


def test_tables_of_older_schemas_are_read_and_a_newer_one_refused(tmp_path):
    results_table.write_results(tmp_path, [record(elbo=-1.0)])
    path = tmp_path / "results.csv"
    table = pd.read_csv(path, dtype=str)
    older = table.drop(columns=["schema_version", *ADDED_COLUMNS])
    older.to_csv(path, index=False)
    assert results_table.read_results(path)["precision"].isna().all()
    table.drop(columns="processor_throughput").assign(schema_version="2").to_csv(path, index=False)
    assert results_table.read_results(path)["processor_throughput"].isna().all()
    table.drop(columns="precision").assign(schema_version="2").to_csv(path, index=False)
    with pytest.raises(UserError, match="lacks the columns precision"):
        results_table.read_results(path)
    older.drop(columns="elbo").to_csv(path, index=False)
    with pytest.raises(UserError, match="lacks the columns elbo"):
        results_table.read_results(path)
    table.assign(schema_version=str(atomic_files.SCHEMA_VERSION + 1)).to_csv(path, index=False)
    with pytest.raises(UserError, match="written by a newer vaezoo"):
        results_table.read_results(path)
    table.assign(schema_version="x").to_csv(path, index=False)
    with pytest.raises(UserError, match="schema_version is 'None'"):
        results_table.read_results(path)


def test_a_table_that_is_cut_off_is_refused(tmp_path):
    (tmp_path / "cells").mkdir()
    results_table.write_results(tmp_path, [record("a", elbo=-1.0)])
    path = tmp_path / "results.csv"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"cut off in its last line; make it from its cells with .* rebuild"):
        results_table.read_results(path)


def write_edited_results(tmp_path, **columns):
    """A valid results.csv of two checkpoints, with some columns of the second row replaced."""
    cell = record("c", "w", 1, elbo=-1.0)
    cell["rows"].append(cell["rows"][0] | {"epoch": 1} | columns)
    results_table.write_results(tmp_path, [cell])
    return tmp_path / "results.csv"


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"elbo": "good"}, "line 3: elbo is good, which is not a number"),
        ({"elbo": float("inf")}, "line 3: elbo is inf"),
        ({"train_seconds": "1s"}, "line 3: train_seconds is 1s"),
        ({"epoch": None}, "line 3 is ok but has no epoch"),
        ({"epoch": 0}, "line 3 repeats a checkpoint of a cell"),
        ({"status": "fine"}, "line 3 has a status that is not one of ok, diverged"),
        ({"variant": None}, "has no variant"),
    ],
)
def test_an_edited_csv_is_refused_by_line_and_column(tmp_path, columns, words):
    with pytest.raises(UserError, match=words):
        results_table.read_results(write_edited_results(tmp_path, **columns))


def test_a_variant_whose_name_is_a_number_stays_text(tmp_path):
    results_table.write_results(tmp_path, [record("c", "3")])
    assert results_table.read_results(tmp_path / "results.csv")["variant"].tolist() == ["3"]


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04"])
def test_damaged_images_are_refused(tmp_path, content):
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz is damaged"):
        image_arrays.read_image_arrays(tmp_path, "a")


def test_results_are_sorted_and_keep_every_bit(tmp_path):
    value = 0.1 + 0.2
    cells = [record("c", "w", 1), record("a", "v", 1, elbo=value), record("b", "w", 0), record("d", "v", 0)]
    results_table.write_results(tmp_path, cells)
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["seed"]) for row in rows] == [("w", "0"), ("w", "1"), ("v", "0"), ("v", "1")]
    assert tuple(rows[0]) == (*RESULT_COLUMNS, "schema_version")
    assert float(rows[3]["elbo"]) == value
    assert results_table.read_results(tmp_path / "results.csv")["elbo"].iloc[3] == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "can't read"),
        ("variant,dataset\nvae,digits\n", "lacks the columns seed, epoch"),
        (",".join(RESULT_COLUMNS) + "\n", "has no rows"),
        ('a,b\n"1,2\n3\n', "can't read"),
        ("\x00\x01\x02\n", "can't read|lacks"),
        ("\x00\x01\x02", "cut off in its last line"),
    ],
)
def test_other_csv_files_are_refused(tmp_path, text, words):
    (tmp_path / "results.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        results_table.read_results(tmp_path / "results.csv")


def test_json_is_written_without_escapes(tmp_path):
    atomic_files.write_json(tmp_path / "x.json", {"unit": "nats²"})
    assert "nats²" in (tmp_path / "x.json").read_text()
    assert json.loads((tmp_path / "x.json").read_text()) == {"unit": "nats²"}


def test_images_are_written_before_the_record_that_marks_the_cell_as_finished(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(atomic_files, "write_bytes", lambda path, content: written.append(path.name))
    cell_files.write_cell(tmp_path, record(), cell_files.Attachments({"codes": np.eye(3)}))
    assert written == ["a.npz", "a.json"]


def test_a_file_is_on_the_disk_before_it_replaces_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"old")
    seen = []
    monkeypatch.setattr(atomic_files.os, "fsync", lambda handle: seen.append((tmp_path / "x").read_bytes()))
    atomic_files.write_bytes(tmp_path / "x", b"new")
    assert (seen, (tmp_path / "x").read_bytes()) == ([b"old"], b"new")


def test_the_duration_of_a_cell_has_days_and_milliseconds():
    times = {"started": "2026-01-01T00:00:00.000Z", "ended": "2026-01-03T00:00:01.500Z"}
    assert cell_files.elapsed_seconds({"common": times}) == 2 * 86_400 + 1.5


def test_the_row_of_a_failure_follows_the_checkpoints_of_its_cell(tmp_path):
    cell = record("c", "w", 1, elbo=-1.0)
    cell["rows"].insert(0, {"status": "failed", "error": "boom"})
    results_table.write_results(tmp_path, [cell])
    assert results_table.read_results(tmp_path / "results.csv")["status"].tolist() == ["ok", "failed"]
