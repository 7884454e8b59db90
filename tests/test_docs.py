"""The page on the family: its table is the registry's, and every variant has its place in the advice."""

import re
from pathlib import Path

import pytest

from benchmarks import listings
from benchmarks.laboratory import pages, tables
from benchmarks.laboratory.studies import STUDIES
from benchmarks.laboratory.trained import TRAINED
from vaezoo import VARIANTS

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs"
PAGE = (FOLDER / "variants.md").read_text()


def test_the_table_is_current():
    assert listings.markdown() in PAGE, f"paste this into docs/variants.md:\n{listings.markdown()}"


def test_the_advice_names_every_variant():
    advice = PAGE.split("## When to choose which")[1]
    for v in VARIANTS:
        assert f"`{v.name}`" in advice, v.name


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda page: page.stem)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https://)([^)#]+)[^)]*\)", page.read_text()):
        assert (FOLDER / target).exists(), target


@pytest.fixture(scope="module")
def laboratory():
    return tables.read(ROOT / "results" / "gradients" / "gradients.csv")


@pytest.mark.parametrize("page", ["README.md", "docs/why-reparameterize.md"])
def test_the_numbers_are_the_committed_laboratorys(page, laboratory):
    text = (ROOT / page).read_text()
    assert pages.filled(text, laboratory) == text, f"make {page} anew with benchmarks.laboratory.pages.filled"
    assert "<!-- end -->" in text


def test_the_committed_laboratory_is_whole(laboratory):
    training = laboratory[laboratory["study"] == "training"]
    assert set(laboratory["study"]) == {*STUDIES, *TRAINED}
    assert training["seed"].nunique() == 5
    assert training["repeats"].dropna().min() >= 1000
    assert {v.name for v in VARIANTS} - {"autoencoder"} <= set(training["variant"])
    for study in {*STUDIES, *TRAINED} - {"training"}:
        assert laboratory[laboratory["study"] == study]["seed"].nunique() >= 3


def test_reinforce_needs_more_than_a_hundred_thousand_draws_and_leave_one_out_fewer_than_a_hundred(laboratory):
    rates = tables.over_seeds(laboratory[laboratory["study"] == "training"], "exchange_rate")
    at = rates[rates["checkpoint"] == "initial"].set_index("variant")
    assert at["low"]["reinforce-vae"] > 1e5
    assert at["high"]["reinforce-vae-loo"] < 100
