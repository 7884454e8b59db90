"""The processes of cells: their exit codes, limits and output, without starting any."""

import os
import signal
import sys
from multiprocessing import Pipe
from types import SimpleNamespace

import pytest

from benchmarks.common.errors import UserError
from benchmarks.execution import child_process, executor, isolated_call, local
from benchmarks.execution.local import GRACE_SECONDS, LOG_BYTES, RunningCell


class ExitError(BaseException):
    """In place of the end of the process; the argument is its exit code."""


@pytest.fixture
def run_child(monkeypatch, tmp_path):
    """Return a function that runs work as a cell's process does, and returns the exit code."""

    def end(code):
        raise ExitError(code)

    for name, replacement in (("setsid", lambda: None), ("dup2", lambda *_: None), ("_exit", end)):
        monkeypatch.setattr(child_process.os, name, replacement)
    monkeypatch.setattr(child_process.signal, "signal", lambda *_: None)
    monkeypatch.setattr(child_process, "end_with_parent", lambda: None)

    def run(work):
        with (tmp_path / "output").open("wb") as output, pytest.raises(ExitError) as end:
            child_process.run_in_child(work, "cell", "folder", output, None, {})
        return end.value.args[0]

    return run


@pytest.mark.parametrize("error", [OSError(28, "no space"), UserError("wrong"), RuntimeError("boom"), SystemExit(0)])
def test_a_cell_that_raises_an_error_ends_with_1(run_child, capsys, error):
    def fail(cell, folder):
        raise error

    assert run_child(fail) == 1
    assert capsys.readouterr().err
    assert run_child(lambda cell, folder: None) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has this limit")
def test_the_memory_limit_is_in_mib(monkeypatch):
    limits = []
    monkeypatch.setattr(child_process.resource, "setrlimit", lambda kind, pair: limits.append(pair[0]))
    for memory in (0, 300, None):
        child_process.limit_memory(memory)
    held, limit = limits
    assert abs(limit - held - 300 * 2**20) < 2**24  # what the process allocates between both calls


@pytest.fixture
def running():
    """A cell with a time limit of 8 s that ends at time 10, a pipe for its output, and the signals that it gets."""
    reader, writer = Pipe(duplex=False)
    os.set_blocking(reader.fileno(), False)
    process = SimpleNamespace(pid=0, exitcode=1, join=lambda: None)
    cell = RunningCell("cell", process, reader, {}, timeout=8.0, deadline=10.0)
    signals = []
    cell.send_signal = signals.append
    yield cell, writer, signals
    writer.close()
    reader.close()


def test_a_cell_is_asked_to_end_before_it_is_killed(running):
    cell, _, signals = running
    for now in (9.9, 10.0, 10.0 + GRACE_SECONDS - 0.1):
        cell.enforce_timeout(now)
    assert signals == [signal.SIGTERM]
    cell.enforce_timeout(10.0 + GRACE_SECONDS)
    assert signals == [signal.SIGTERM, signal.SIGKILL]


@pytest.mark.parametrize("late", [False, True])
def test_only_a_cell_that_was_stopped_has_exceeded_its_time(running, monkeypatch, late):
    cell, writer, _ = running
    monkeypatch.setattr(local.os, "killpg", lambda *_: None)
    os.write(writer.fileno(), b"its last words")
    cell.enforce_timeout(20.0 if late else 0.0)
    ended = cell.finish()
    assert (ended.code, ended.overtime, ended.log) == (1, 8.0 if late else None, "its last words")


def test_the_log_keeps_the_end_of_the_output(running):
    cell, writer, _ = running
    for text in (b"a" * LOG_BYTES, b"b" * 100):
        os.write(writer.fileno(), text)
        cell.read_output()
    assert cell.log == b"a" * (LOG_BYTES - 100) + b"b" * 100


@pytest.mark.parametrize("limits", [{"timeout": 0.0}, {"timeout": float("inf")}, {"memory": -1}])
def test_a_limit_that_is_not_positive_is_refused(limits):
    with pytest.raises(UserError, match="is not a positive number"):
        executor.make_executor("local", None, "cpu", 1, 1, **limits)


def test_a_call_answers_with_its_value_or_its_error(monkeypatch):
    monkeypatch.setattr(isolated_call.os, "setsid", lambda: None)
    monkeypatch.setattr(isolated_call, "end_with_parent", lambda: None)
    answers = []
    output = SimpleNamespace(send=answers.append)
    isolated_call._send_answer(output, None, max, (2, 3))
    isolated_call._send_answer(output, None, int, ("x",))
    assert answers[0] == (3, None)
    assert answers[1][0] is None
    assert isinstance(answers[1][1], ValueError)
