"""The page on the family: its table is the registry's, and every variant has its place in the advice."""

import re
from pathlib import Path

from benchmarks import listings
from vaezoo import VARIANTS

FOLDER = Path(__file__).parent.parent / "docs"
PAGE = (FOLDER / "variants.md").read_text()


def test_the_table_is_current():
    assert listings.markdown() in PAGE, f"paste this into docs/variants.md:\n{listings.markdown()}"


def test_the_advice_names_every_variant():
    advice = PAGE.split("## When to choose which")[1]
    for v in VARIANTS:
        assert f"`{v.name}`" in advice, v.name


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE):
        assert (FOLDER / target).exists(), target
