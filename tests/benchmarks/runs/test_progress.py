"""The progress display, and what is read of cells that are running."""

import io
import json
import shutil
from types import SimpleNamespace

import pytest

from benchmarks.common import atomic_files, locks
from benchmarks.common.errors import DamageError
from benchmarks.runs import cell_files, manifests, progress, recovery, running_cells
from benchmarks.runs.progress import Display
from tests.benchmarks.runs.conftest import PROTOCOL, planned, record

LABELS = {"long": 3.0, "short": 1.0}


class Cell(SimpleNamespace):
    """A planned cell, as far as its partial record needs it."""

    label, commit, protocol = "v seed 0", "c", SimpleNamespace(epochs=3)

    def __init__(self, cell_id):
        super().__init__(cell_id=cell_id, columns={k: v for k, v in record(cell_id)["common"].items() if k != "torch"})


@pytest.fixture(autouse=True)
def describe_without_protocol(monkeypatch):
    monkeypatch.setattr(cell_files, "describe_cell", lambda cell: planned(cell.cell_id))


def report(folder, cell_id, *epochs, now=None):
    """Write the partial record of a cell that has finished the checkpoints `epochs`; return its rows."""
    rows = [{"epoch": epoch, "status": "ok", "elbo": -90.0 + epoch} for epoch in epochs]
    path = folder / "cells" / f"{cell_id}.partial"
    reporter = running_cells.Reporter(path, Cell(cell_id), rows, {"posterior": "normal"}, "2026-01-01T00:00:00.000Z")
    reporter.report(now or max(epochs, default=0), is_checkpoint=True)
    return rows


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=0.0)
    for module in (progress, running_cells):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now.value))
    return now


def test_the_remaining_time_is_weighted_by_the_costs_of_cells(clock):
    """The cell with three quarters of the cost took 30 s, so the other one takes 10 s."""
    stream, long = io.StringIO(), SimpleNamespace(label="long")
    display = Display(LABELS, 0, stream)
    display.add_running(long)
    clock.value = 30.0
    display.add_finished(long, "ok", "")
    assert stream.getvalue() == "[1/2] long: ok; about 10 s left\n"


def test_a_long_cell_prints_its_last_checkpoint_at_most_once_a_minute(clock):
    stream, long = io.StringIO(), SimpleNamespace(label="long")
    display = Display(LABELS, 0, stream)
    display.add_running(long)
    for clock.value in range(0, 600, 2):
        rows = [{"epoch": epoch} for epoch in range(0, int(clock.value), 10)][:31]  # the last checkpoint at 310 s
        display.add_progress(long, {"epoch": int(clock.value), "epochs": 600, "rows": rows}, ", ELBO -9 nats")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "long: epoch 60 of 600; at epoch 50, ELBO -9 nats"
    assert [line.split(";")[0] for line in lines] == [f"long: epoch {60 * i} of 600" for i in range(1, 7)]


def test_a_terminal_shows_epoch_and_elbo_beside_the_bar(clock):
    stream, long = io.StringIO(), SimpleNamespace(label="long")
    stream.isatty = lambda: True
    display = Display(LABELS, 0, stream)
    display.add_running(long)
    clock.value = 600.0
    display.add_progress(long, {"epoch": 3, "epochs": 9, "rows": [{"epoch": 2}]}, ", ELBO -9 nats")
    display.refresh()
    assert "running: long (epoch 3 of 9, ELBO -9 nats)" in display.bar.desc
    assert "at epoch 2" not in stream.getvalue()


def test_a_cell_reports_each_checkpoint_and_now_and_then_its_epoch(folder, clock, monkeypatch):
    path, written, rows = folder / "cells" / "c.partial", [], []
    monkeypatch.setattr(running_cells, "write_bytes", lambda path, content, flush: written.append(json.loads(content)))
    reporter = running_cells.Reporter(path, Cell("c"), rows, {"posterior": "normal"}, "2026-01-01T00:00:00.000Z")
    for epoch in range(100):  # of 0.1 s
        clock.value = epoch / 10
        if epoch == 20:
            rows.append({"epoch": 20, "status": "ok"})
        reporter.report(epoch, is_checkpoint=epoch == 20)
    assert [content["epoch"] for content in written] == [0, 20, 70]
    assert [len(content["rows"]) for content in written] == [0, 1, 1]
    assert written[0]["common"]["posterior"] == "normal"


def test_a_report_that_cannot_be_written_does_not_end_the_cell(folder, capsys):
    shutil.rmtree(folder)
    path = folder / "cells" / "c.partial"
    reporter = running_cells.Reporter(path, Cell("c"), [], {}, "2026-01-01T00:00:00.000Z")
    for epoch in range(3):
        reporter.report(epoch, is_checkpoint=True)
    assert capsys.readouterr().out == f"can't write {path}: No such file or directory; the cell continues without it\n"


def test_a_running_cell_is_read_while_the_run_lives_and_only_by_the_state(folder, capsys):
    report(folder, "c", 0, 1, now=2)
    table = folder / "results.csv"
    with locks.lock_folder(folder):
        state = running_cells.read_state(table)  # there is no results.csv yet
    assert list(zip(state.results["cell_id"], state.results["epoch"], strict=True)) == [
        ("a", 0), ("b", 0), ("c", 0), ("c", 1)
    ]  # fmt: skip
    assert state.describe(folder) == f"{folder}: finished cells: 2 of 3; running: v seed 0 (epoch 2 of 3)"
    groups = [(s.epoch, s.ok, s.metrics["elbo"].n) for s in state.summarize(None)]
    assert groups == [(0, 2, 0), (1, 1, 1)]  # two finished seeds apart from the running one
    assert [(s.epoch, s.ok) for s in state.summarize(0)] == [(0, 3)]
    assert [r["cell_id"] for r in recovery.readable_records(folder)] == ["a", "b"]
    recovery.rebuild_tables(folder, lambda folder, records: f"table of {len(records)}")
    assert "table of 2" in capsys.readouterr().out
    running_cells.results_table.write_results(folder, [record("a")])
    state = running_cells.read_state(table)  # the run was killed: its process has ended
    assert (state.is_running, list(state.results["cell_id"]), state.partials) == (False, ["a"], {})


def test_a_finished_record_comes_before_a_partial_one_and_a_failed_one_after(folder):
    report(folder, "a", 0, 1)
    report(folder, "c", 0)
    cell_files.atomic_files.write_json(folder / "cells" / "c.json", record("c", "failed"))  # of an earlier attempt
    with locks.lock_folder(folder):
        state = running_cells.read_state(folder / "results.csv")
    assert list(state.partials) == ["c"]
    assert list(state.results["status"]) == ["ok"] * 3
    assert state.finished == 2


def test_a_record_replaces_the_partial_record(folder):
    report(folder, "c", 0)
    cell_files.write_cell(folder, record("c", "killed"))
    assert not (folder / "cells" / "c.partial").exists()


def test_partial_records_of_a_killed_run_are_deleted_and_files_of_others_are_not(folder):
    report(folder, "c", 0)
    report(folder, "other", 0)
    running_cells.remove_partials(folder, ["a", "b", "c"])
    assert [path.name for path in (folder / "cells").glob("*.partial")] == ["other.partial"]
    names = ".c.partial-abcdefgh", ".c.json-123-0123abcd"
    for name in names:
        (folder / "cells" / name).touch()
    recovery.recover_folder(folder)
    assert not any((folder / "cells" / name).exists() for name in names)


def test_a_partial_record_is_no_record(folder):
    report(folder, "c", 0)
    shutil.copy(folder / "cells" / "c.partial", folder / "cells" / "c.json")
    with pytest.raises(DamageError, match="status: Input should be 'ok'"):
        cell_files.read_cell(folder, "c")


@pytest.mark.parametrize(
    "change",
    [
        {"status": "ok"},
        {"epoch": "3"},
        {"label": "\x1b[31m"},
        {"rows": [{"epoch": None, "status": "ok"}]},
        {"rows": [{"epoch": 0, "status": "failed"}]},
        {"rows": [{"epoch": 0, "status": "ok", "elbo": "x"}]},
        {"rows": 3},
        {"cell_id": "b"},
        {"schema_version": 0},
    ],
)
def test_a_damaged_partial_record_is_left_out(folder, change):
    report(folder, "c", 0)
    assert cell_files.read_partial(folder, "c")
    path = folder / "cells" / "c.partial"
    atomic_files.write_json(path, json.loads(path.read_text()) | change)
    assert cell_files.read_partial(folder, "c") is None
    path.write_bytes(path.read_bytes()[:-9])
    assert cell_files.read_partial(folder, "c") is None


def test_a_folder_of_studies_is_not_training(folder):
    atomic_files.write_json(folder / "manifest.json", manifests.merge_manifest(folder, None, [planned("a")]))
    with locks.lock_folder(folder):
        assert not running_cells.is_training(folder)  # a study has no objective
        plan = planned("a") | {"variant": {"name": "v", "objective": "elbo"}, "protocol": PROTOCOL}
        atomic_files.write_json(folder / "manifest.json", manifests.merge_manifest(folder, None, [plan]))
        assert running_cells.is_training(folder)
    assert not running_cells.is_training(folder)
