"""Messages at the end of a run."""

import pytest

from benchmarks.reporting import report
from benchmarks.reporting.report import MAX_LINES, print_limited
from tests.benchmarks.synthetic_runs import make_results


@pytest.mark.parametrize(("count", "line_count"), [(MAX_LINES, MAX_LINES), (MAX_LINES + 5, MAX_LINES + 1)])
def test_only_the_first_messages_are_printed(capsys, count, line_count):
    print_limited([f"fault {i}" for i in range(count)])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == line_count
    assert lines[0] == "fault 0"
    assert (lines[-1] == "... and 5 more of this kind") == (count > MAX_LINES)


@pytest.mark.parametrize(
    ("shift", "status", "code", "words"),
    [(0, "ok", 0, ""), (1, "ok", 2, "inconsistent result, caused by a bug"), (0, "failed", 2, "1 of 1 cells failed")],
)
def test_the_exit_code_counts_failures_and_contradictions(tmp_path, monkeypatch, capsys, shift, status, code, words):
    monkeypatch.setattr(report, "write_figures", lambda *_: [])
    results = make_results(seeds=[0])
    results.assign(kl=results["kl"] + shift).to_csv(tmp_path / "results.csv", index=False)
    record = {"status": status, "common": {"variant": "vae", "seed": 0}, "cell_id": "vae-0", "error": "boom"}
    assert report.report_run(tmp_path, [record]) == code
    assert words in capsys.readouterr().err
