"""README: short, its commands are those of CI, its table is of a whole committed run."""

import re
from pathlib import Path

import pytest

from benchmarks.reporting import results_table, summaries
from benchmarks.reporting.results_table import ADDED_COLUMNS, RESULT_COLUMNS
from vaezoo import VARIANTS

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "default" / "results.csv"
README = (ROOT / "README.md").read_text()
MAX_WORDS, MAX_LINES, MAX_COLUMNS = 700, 200, 6


def test_it_is_short():
    visible = re.sub(r"<!--.*?-->|\]\([^)]*\)", "", README)
    assert len([word for word in visible.split() if re.search(r"\w", word)]) <= MAX_WORDS
    assert len(README.splitlines()) <= MAX_LINES
    assert max(line.count("|") - 1 for line in README.splitlines() if line.startswith("|")) <= MAX_COLUMNS


def test_its_commands_are_those_of_ci():
    install, test = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
    assert install == "$ pip install -e . && python -m benchmarks run --all\n"
    assert test.removeprefix("$ ").strip() in (ROOT / ".ci" / "run").read_text()


def test_it_counts_the_variants():
    assert f"trains {len(VARIANTS)} variants" in README


def test_the_committed_run_is_whole():
    results = results_table.read_results(RESULTS)
    (schema,) = set(results["schema_version"])
    written = RESULTS.read_text().partition("\n")[0].split(",")
    assert written == [*(name for name in RESULT_COLUMNS if ADDED_COLUMNS.get(name, 1) <= schema), "schema_version"]
    assert set(results["variant"]) == {v.name for v in VARIANTS}
    assert set(results["status"]) == {"ok"}
    assert results["commit"].nunique() == 1
    assert "+" not in results["commit"].iloc[0], "made from code that was not committed"
    assert not summaries.list_inconsistencies(results)


def test_its_first_figure_has_its_numbers_of_draws():
    texts = (ROOT / "results" / "default" / "figures" / "hero.svg").read_text(encoding="utf-8")
    numbers = dict(re.findall(r"<!-- ([\w.-]+) -->([^<]*)<!-- / -->", README))
    for name in ("reinforce-vae-loo", "reinforce-vae"):
        lowest, highest = (numbers[f"{name}.draws.{end}"] for end in ("lowest", "highest"))
        assert f"<!-- {lowest} to {highest} -->" in texts


@pytest.mark.parametrize("text", ["reinforce-vae-loo.draws.lowest", "reinforce-vae.draws.highest", "results -->"])
def test_its_numbers_are_filled_from_results(text):
    assert f"<!-- {text}" in README
