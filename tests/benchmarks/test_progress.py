"""What a person is told while cells run."""

import io
from types import SimpleNamespace

from benchmarks.progress import Display


def test_the_time_left_counts_what_cells_cost(monkeypatch):
    """The cell of three parts in four has taken 30 s; the other takes 10."""
    clock = iter([0.0, 30.0])
    monkeypatch.setattr("benchmarks.progress.time", SimpleNamespace(monotonic=lambda: next(clock)))
    stream, long = io.StringIO(), SimpleNamespace(label="long")
    display = Display({"long": 3.0, "short": 1.0}, 0, stream)
    display.started(long)
    display.ended(long, "ok", "")
    assert stream.getvalue() == "[1/2] long: ok; about 10 s left\n"
