"""Exit codes of the program and of its commands, without a run."""

import errno
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from typer.exceptions import TyperException

import vaezoo.testing
from benchmarks.api import train
from benchmarks.cli import interrupts, main, program, standard_streams, step_profile
from benchmarks.cli.commands import compare, gradients, inspect, run, show
from benchmarks.common.errors import StoppedError, UserError
from benchmarks.execution import executor
from benchmarks.gradient_studies.plan import study_plan
from benchmarks.gradient_studies.report import findings, tables
from benchmarks.reporting import results_table, summaries
from benchmarks.runs import folders, manifests, runner
from tests.benchmarks.synthetic_runs import make_results
from vaezoo.testing import Finding


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (None, 0), (0, 0), (1, 1), (2, 2), (3, 3), (130, 130),
        (UserError("wrong"), 64), (StoppedError("stopped"), 2), (TyperException("unknown"), 64),
        (OSError(errno.ENOSPC, "full"), 2), (OSError(errno.EIO, "broken"), 2), (OSError(errno.EFBIG, "large"), 2),
        (OSError(errno.EACCES, "refused", "file"), 64), (OSError("AF_UNIX path too long"), 70), (SystemExit(1), 70),
        (OSError(errno.EACCES, "refused"), 70), (ZeroDivisionError("x"), 70), (MemoryError(), 70),
        (RecursionError("deep"), 70), (GeneratorExit(), 70), (KeyboardInterrupt(), 130),
    ],
)  # fmt: skip
def test_each_outcome_has_its_exit_code(monkeypatch, capsys, outcome, code):
    def command(standalone_mode):
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(main, "app", command)
    monkeypatch.setattr(program.sys, "argv", ["vaezoo"])
    assert program.find_exit_code() == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == ((code in (2, 64, 70) and outcome != 2) or outcome == 130)
    if code == 70:
        file = Path(re.search(r"traceback in (\S+),", lines[0])[1])
        assert type(outcome).__name__ in lines[0]
        assert "in command" in file.read_text()
        file.unlink()


def test_debug_prints_the_traceback(monkeypatch, capsys):
    monkeypatch.setattr(main, "app", lambda standalone_mode: 1 / 0)
    monkeypatch.setattr(program.sys, "argv", ["vaezoo", "list", "--debug"])
    assert program.find_exit_code() == 70
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "ZeroDivisionError: division by zero; report it with the traceback above" in lines[-1]


def test_a_reader_of_the_output_that_is_gone_is_no_verdict(monkeypatch):
    def close_output(standalone_mode):
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            sys.exit(1)  # as Typer does

    monkeypatch.setattr(main, "app", close_output)
    monkeypatch.setattr(program.sys, "argv", ["vaezoo"])
    assert program.find_exit_code() == 141


@pytest.mark.parametrize(("error", "code"), [(BrokenPipeError(), 141), (OSError(errno.ENOSPC, "full"), 2)])
def test_an_output_that_cannot_be_flushed_is_no_verdict(monkeypatch, error, code):
    def fail():
        raise error

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(standard_streams.sys, "stdout", SimpleNamespace(flush=fail))
    monkeypatch.setattr(interrupts.os, "_exit", leave)
    monkeypatch.setattr(interrupts.atexit, "_run_exitfuncs", lambda: None)
    with pytest.raises(SystemExit) as end:
        interrupts.exit_program(1)
    assert end.value.code == code


@pytest.mark.parametrize(("elbo", "verdict"), [(-90.0, 0), (-95.0, 1)])
@pytest.mark.parametrize("incomplete", [(), ("base",), ("new",), ("base", "new")], ids="-".join)
def test_compare_counts_regressions_and_incomplete_runs(monkeypatch, capsys, elbo, verdict, incomplete):
    tables = {"base": make_results(), "new": make_results(elbo=elbo)}
    monkeypatch.setattr(folders, "find_results", lambda run, out: Path(run))
    monkeypatch.setattr(results_table, "read_results", lambda path: tables[str(path)])
    monkeypatch.setattr(manifests, "describe_shortfall", lambda path, _: "x" if str(path) in incomplete else "")
    assert compare.compare("base", "new") == max(verdict, 2 if incomplete else 0)
    assert capsys.readouterr().err == ("x\n" if incomplete else "")


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_check_gives_a_verdict(monkeypatch, capsys, holds, code):
    findings = [Finding("shapes", True, "right"), Finding("bias", holds, "off by 3 %")]
    monkeypatch.setattr(vaezoo.testing, "check", lambda *_, **__: findings)
    assert inspect.check("vae") == code
    assert ("FAIL  bias: off by 3 %" in capsys.readouterr().out) == (not holds)


@pytest.mark.parametrize(("status", "code"), [("ok", 0), ("diverged", 0), ("failed", 2), ("timeout", 2)])
def test_a_study_that_fails_is_incomplete(monkeypatch, tmp_path, capsys, status, code):
    record = {"status": status, "cell_id": "c", "error": "boom", "common": {"variant": "2 latents", "seed": 0}}
    monkeypatch.setattr(executor, "make_executor", lambda *_: None)
    monkeypatch.setattr(study_plan, "plan_studies", lambda *_: [])
    monkeypatch.setattr(runner, "run_cells", lambda *_: (tmp_path, [record]))
    assert gradients.gradients(preset="quick") == code
    assert ("1 of 1 cells failed" in capsys.readouterr().err) == (code == 2)


@pytest.mark.parametrize("against", ["vae", "exact"])
def test_a_variant_without_variance_has_no_ratio(monkeypatch, tmp_path, capsys, against):
    """The only rows that compare pairs are against `vae`."""
    record = {"status": "ok", "cell_id": "c", "error": "", "common": {"variant": "2 latents", "seed": 0}}
    (tmp_path / tables.GRADIENTS_FILE).touch()
    monkeypatch.setattr(executor, "make_executor", lambda *_: None)
    monkeypatch.setattr(study_plan, "plan_studies", lambda *_: [])
    monkeypatch.setattr(runner, "run_cells", lambda *_: (tmp_path, [record]))
    monkeypatch.setattr(tables, "read_gradients", lambda path: pd.DataFrame({"against": ["", "vae"]}))
    monkeypatch.setattr(findings, "describe_table", lambda table: "")
    assert gradients.gradients(preset="quick", against=against, figures=False, report=False) == 0
    words = "--against exact: there is no ratio, because its latent variance is 0 or the model diverged\n"
    assert capsys.readouterr().err == ("" if against == "vae" else words)


def run_with(monkeypatch, **options):
    """The arguments with which the command `run` makes its executor."""

    def stop(*arguments):
        raise StopIteration(arguments)

    monkeypatch.setattr(train, "make_executor", stop)
    with pytest.raises(StopIteration) as end:
        run.run(SimpleNamespace(params={}), preset="quick", **options)
    return end.value.args[0]


def test_run_passes_its_limits(monkeypatch):
    arguments = run_with(monkeypatch, all_=True, workers=3, timeout=8.0, memory=500)
    assert arguments == ("local", None, "cpu", 1, 3, 8.0, 500)


def test_run_needs_names_or_all(monkeypatch):
    assert run_with(monkeypatch, variants=["vae"])[0] == "local"
    for options, words in (({}, "nothing to run"), ({"variants": ["vae"], "all_": True}, "were both given")):
        with pytest.raises(UserError, match=words):
            run.run(SimpleNamespace(params={}), **options)


@pytest.mark.parametrize("style", ["text", "markdown", "csv", "latex"])
def test_the_headline_is_no_part_of_a_table_for_programs(monkeypatch, capsys, style):
    monkeypatch.setattr(folders, "find_results", lambda *_, **__: Path("nowhere") / "results.csv")
    monkeypatch.setattr(results_table, "read_results", lambda path: make_results())
    monkeypatch.setattr(summaries, "make_headline", lambda results: "the headline")
    show.show(metrics="elbo", format_=style)
    assert ("the headline" in capsys.readouterr().out) == (style in ("text", "markdown"))


def test_operations_are_sorted_by_their_time():
    events = [("aten::mm", 2.0, 0.6), ("aten::add", 9.0, 0.1), ("aten::exp", 5.0, 0.3), ("aten::neg", 1.0, 0.0)]
    lines = step_profile._render_operations(events).splitlines()[2:]
    assert [line.split("  ")[0] for line in lines] == ["matrix product (mm)", "exp", "add"]
    assert lines[0].split()[-3:] == ["2.0", "600000", "60.0%"]
