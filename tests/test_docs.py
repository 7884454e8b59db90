"""The docs: generated tables are current, links and file names exist, numbers are those of the committed results."""

import re
from pathlib import Path

import pytest

from benchmarks.cli.commands.inspect import variants_markdown
from benchmarks.gradient_studies.report import doc_tables, tables
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.gradient_studies.trained_models import TRAINED_STUDIES
from vaezoo import VARIANTS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs"
PAGE = (FOLDER / "variants.md").read_text()


def test_the_table_is_current():
    assert variants_markdown() in PAGE, f"paste this into docs/variants.md:\n{variants_markdown()}"


def test_the_advice_names_every_variant():
    advice = PAGE.split("## When to choose which")[1]
    for v in VARIANTS:
        assert f"`{v.name}`" in advice, v.name


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https://)([^)#]+)[^)]*\)", page.read_text()):
        assert (FOLDER / target).exists(), target


def test_the_files_that_the_architecture_names_exist():
    names = re.findall(r"`((?:vaezoo|benchmarks|tests)/[\w/.]+)`", (FOLDER / "architecture.md").read_text())
    assert len(names) > 20
    for name in names:
        assert (ROOT / name).exists(), name


def test_the_glossary_is_short_and_sorted():
    terms = re.findall(r"^\| ([^|]+) \|", (FOLDER / "glossary.md").read_text(), re.MULTILINE)[1:]
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) <= 30


@pytest.fixture(scope="module")
def laboratory():
    return tables.read_gradients(ROOT / "results" / "gradients" / "gradients.csv")


@pytest.mark.parametrize("page", ["README.md", "docs/why-reparameterize.md"])
def test_the_numbers_are_the_committed_laboratorys(page, laboratory):
    text = (ROOT / page).read_text()
    assert doc_tables.fill_page(text, laboratory) == text, (
        f"rewrite {page} with benchmarks.gradient_studies.report.doc_tables.fill_page"
    )
    assert "<!-- end -->" in text


def test_the_committed_laboratory_is_whole(laboratory):
    training = laboratory[laboratory["study"] == "training"]
    assert set(laboratory["study"]) == {*STUDIES, *TRAINED_STUDIES}
    assert training["seed"].nunique() == 5
    assert training["repeats"].dropna().min() >= 1000
    assert {v.name for v in VARIANTS} - {"autoencoder"} <= set(training["variant"])
    for study in {*STUDIES, *TRAINED_STUDIES} - {"training"}:
        assert laboratory[laboratory["study"] == study]["seed"].nunique() >= 3


def test_reinforce_needs_more_than_a_hundred_thousand_draws_and_leave_one_out_fewer_than_a_hundred(laboratory):
    rates = tables.select_over_seeds(laboratory[laboratory["study"] == "training"], "exchange_rate")
    rates = rates[rates["checkpoint"] == "initial"].set_index("variant")
    assert rates["low"]["reinforce-vae"] > 1e5
    assert rates["high"]["reinforce-vae-loo"] < 100
