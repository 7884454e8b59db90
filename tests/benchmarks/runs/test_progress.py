"""The progress display."""

import io
from types import SimpleNamespace

from benchmarks.runs.progress import Display


def test_the_remaining_time_is_weighted_by_the_costs_of_cells(monkeypatch):
    """The cell with three quarters of the cost took 30 s, so the other one takes 10 s."""
    clock = iter([0.0, 30.0])
    monkeypatch.setattr("benchmarks.runs.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    stream, long = io.StringIO(), SimpleNamespace(label="long")
    display = Display({"long": 3.0, "short": 1.0}, 0, stream)
    display.add_running(long)
    display.add_finished(long, "ok", "")
    assert stream.getvalue() == "[1/2] long: ok; about 10 s left\n"
