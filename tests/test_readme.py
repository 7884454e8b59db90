"""The README: its numbers are those of the committed run, its code runs, its commands exist."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.planning import settings
from benchmarks.reporting import formats, results_table, summaries
from benchmarks.reporting.results_table import ADDED_COLUMNS, RESULT_COLUMNS
from vaezoo import VARIANTS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "default" / "results.csv"
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def results():
    return results_table.read_results(RESULTS)


def test_table_and_headline_are_the_committed_runs(results):
    assert formats.render_table(summaries.summarize(results), formats.choose_metrics([]), "markdown") in README
    assert summaries.make_headline(results) in README


def test_the_committed_run_is_whole(results):
    (schema,) = set(results["schema_version"])
    written = RESULTS.read_text().partition("\n")[0].split(",")
    assert written == [*(name for name in RESULT_COLUMNS if ADDED_COLUMNS.get(name, 1) <= schema), "schema_version"]
    assert set(results["variant"]) == {v.name for v in VARIANTS}
    assert set(results["status"]) == {"ok"}
    assert results["commit"].nunique() == 1
    assert "+" not in results["commit"].iloc[0], "made from code that was not committed"
    assert not summaries.list_inconsistencies(results)


def test_every_variant_is_shown():
    for v in VARIANTS:
        assert f"`{v.name}`" in README


def test_its_plug_in_passes_check_and_fails_without_the_decoders_gradient(tmp_path, ask):
    plugin = tmp_path / "mine.py"
    (code,) = (code for code in blocks("python") if "VARIANTS = [" in code)
    assert len(code.splitlines()) <= 15
    plugin.write_text(code)
    check = ("check", "constant-baseline", "--plugin", plugin)
    assert ask(*check).returncode == 0
    plugin.write_text(code.replace("reduction.value(log_w)", "reduction.value(log_w).detach()"))
    done = ask(*check)
    assert done.returncode == 1
    assert "FAIL  bias of the decoder's gradient" in done.stdout


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.split("\n")[0])
def test_its_code_runs(code, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})


def test_its_preset_is_valid(tmp_path):
    (text,) = blocks("toml")
    (tmp_path / "my.toml").write_text(text)
    assert settings.load_settings(str(tmp_path / "my.toml"), {}).seeds == tuple(tomllib.loads(text)["seeds"])


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_its_first_commands_are_those_of_ci():
    install, test = blocks("console")
    assert install == "$ pip install -e . && python -m benchmarks run --all\n"
    assert test.removeprefix("$ ").strip() in (ROOT / ".ci" / "run").read_text()
