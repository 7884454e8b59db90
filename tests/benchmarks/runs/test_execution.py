"""The runner with an executor that starts no process: the order of cells, their records, and provenance."""

import signal

import pytest

from benchmarks.common.errors import UserError
from benchmarks.execution.interface import Event, Executor, Exit, Task
from benchmarks.planning import planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.runs import cell_files, runner
from benchmarks.runs.runner import Kind, check_provenance, classify_exit
from tests import planned
from vaezoo import VARIANTS

ROW = {"epoch": 0, "status": "ok"}
SMALL_TO_LARGE = [next(v for v in VARIANTS if v.draws == draws) for draws in (1, 2, 5)]


@pytest.fixture
def plan():
    protocol = planned.resolve(load_settings("quick", {}))
    prepared = planned.PREPARED
    return planner.plan_cells([RegisteredVariant(v) for v in SMALL_TO_LARGE], protocol, (0,), prepared)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a plan; `write` replaces the work on a cell, and returns how its process ended."""
    monkeypatch.setattr(runner, "_describe_environment", lambda *_: {})

    def run_plan(plan, write):
        started, tables = [], []

        def execute(task, cells, folder):
            for cell in cells:
                started.append(cell.variant)
                yield Event("started", cell)
                yield Event("ended", cell, write(folder, cell))

        kind = Kind(
            task=Task(lambda cells, *_: cells, lambda *_: None),
            write_tables=lambda folder, records: tables.append([record["common"]["variant"] for record in records]),
            note=lambda record: "",
            cost=lambda case: case.draws,
        )
        _, records = runner.run_cells(tmp_path, "x", plan, Executor("local", 1, execute), False, kind)
        return records, started, tables

    return run_plan


def write_ok(folder, cell):
    cell_files.write_cell(folder, cell_files.make_record(cell, [ROW]))
    return Exit()


def test_the_longest_cells_start_first_and_tables_keep_the_order_of_the_plan(run, plan):
    names = [variant.name for variant in SMALL_TO_LARGE]
    records, started, tables = run(plan, write_ok)
    assert started == names[::-1]
    assert tables[-1] == [record["common"]["variant"] for record in records] == names
    _, started, tables = run(plan, write_ok)
    assert (started, tables[-1]) == ([], names)


def test_a_finished_record_counts_whatever_the_exit_code(run, plan):
    def write_and_die(folder, cell):
        write_ok(folder, cell)
        return Exit(-signal.SIGSEGV, log="it died at its end")

    assert [record["status"] for record in run(plan, write_and_die)[0]] == ["ok"] * 3


def test_a_failed_record_is_replaced_by_the_exit_of_the_next_attempt(run, plan):
    def fail(folder, cell):
        cell_files.write_cell(folder, cell_files.make_record(cell, [], "failed", "KeyError: 3"))
        return Exit()

    assert [record["error"] for record in run(plan, fail)[0]] == ["KeyError: 3"] * 3
    records, started, _ = run(plan, lambda *_: Exit(-signal.SIGKILL))
    assert len(started) == 3
    assert [record["status"] for record in records] == ["killed"] * 3


@pytest.mark.parametrize(
    ("ended", "status", "words"),
    [
        (Exit(-15, overtime=8.0), "timeout", "more than --timeout 8 seconds"),
        (Exit(1, log="can't allocate memory\nKeyError: 3"), "failed", "exit code 1"),
        (Exit(1, log="KeyError: 3\nRuntimeError: can't allocate memory"), "out-of-memory", "can't allocate memory"),
        (Exit(-9), "killed", "signal 9 (SIGKILL)"),
        (Exit(-11), "killed", "signal 11"),
        (Exit(74), "failed", "exit code 74"),
    ],
)
def test_an_exit_without_a_record_has_a_status(ended, status, words):
    assert classify_exit(ended)[0] == status
    assert words in classify_exit(ended)[1]


@pytest.mark.parametrize("key", ["commit", "torch"])
def test_records_of_other_code_or_torch_are_refused(plan, tmp_path, key):
    record = cell_files.make_record(plan[0], [ROW])
    check_provenance(tmp_path, [record], plan[0].commit)
    record["common"][key] = "another"
    with pytest.raises(UserError, match=f"has cells made by {key} another, and this is"):
        check_provenance(tmp_path, [record], plan[0].commit)
