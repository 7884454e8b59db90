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
    monkeypatch.setattr(report, "write_report", lambda *_: tmp_path)
    results = make_results(seeds=[0])
    results.assign(kl=results["kl"] + shift).to_csv(tmp_path / "results.csv", index=False)
    record = {"status": status, "common": {"variant": "vae", "seed": 0}, "cell_id": "vae-0", "error": "boom"}
    assert report.report_run(tmp_path, [record]) == code
    assert words in capsys.readouterr().err


def test_a_failure_to_draw_costs_no_result(tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("no\nfonts")

    monkeypatch.setattr(report, "write_figures", fail)
    monkeypatch.setattr(report, "write_report", fail)
    make_results(seeds=[0]).to_csv(tmp_path / "results.csv", index=False)
    record = {"status": "ok", "common": {"variant": "vae", "seed": 0}, "cell_id": "vae-0", "error": ""}
    assert report.report_run(tmp_path, [record]) == 0
    printed = capsys.readouterr()
    assert "ELBO" in printed.out
    assert printed.err.splitlines() == [
        f"not drawn: ValueError: no fonts; to try again: python -m benchmarks {command} {tmp_path}"
        for command in ("plot", "report")
    ]
