"""Each number in the prose of README and docs has a marker, or is a constant whose source docs/constants.toml names."""

import math
import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.comparison.history.reference_run import MIN_SEEDS
from benchmarks.gradient_studies.measurement_rows import HEAVY_KURTOSIS
from benchmarks.planning.data.catalogue import DATASETS
from benchmarks.planning.settings import list_presets, load_settings
from benchmarks.training.image_arrays import CODE_COUNT
from docs import fill
from vaezoo import VARIANTS
from vaezoo.evaluation import ACTIVE_VARIANCE

ROOT = Path(__file__).parents[2]
PAGES = [*fill.PAGES, ROOT / "docs" / "learn" / "5-measure-it-yourself.py"]
CONSTANTS = tomllib.loads((ROOT / "docs" / "constants.toml").read_text(encoding="utf-8"))
NO_PROSE = re.compile(
    r"""
    ^\ *```.*?^\ *```                  # code
    | ^<!--\ [\w-]+\ -->\n.*?^<!--\ end\ -->   # a table that docs/fill.py makes
    | <!--\ [\w.-]+\ -->[^<]*<!--\ /\ -->  # a number that docs/fill.py fills
    | \$\$.*?\$\$ | \$[^$\n]+\$        # a formula
    | `[^`\n]*` | <[^>\n]*> | \]\([^)]*\) | https?://\S+ | arXiv:[\d.]+
    | ^\#[^\n]* | (^\ *|\[|\*\*|\|\ )\d+\.\   # a heading, the number of an item or of a lesson
    | \b95\ %\ (t-)?intervals?         # the level of all intervals
    | \b(lessons?|slides?|exercises?|figure|equations?|table|section|step)\ \d+((,|\ to|\ and)\ \d+)*
    | \b(19|20)\d\d\b                  # the year of a paper
    | \b[A-Za-z]\w*\d\w*               # a name
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
NUMBER = re.compile(r"(?<![\w.,])[-−]?\d[\d,]*(?:\.\d+)*(?:e-?\d+)?(?<!,)")
TRIVIAL = {"0", "1", "-1", "−1", "2"}  # a limit, a unit, a pair


def list_numbers(text):
    """Return the line and the text of each number in the prose of a page."""
    prose = NO_PROSE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    lines = prose.splitlines()
    numbers = ((line, number) for line, text in enumerate(lines, 1) for number in NUMBER.findall(text))
    return [(line, number) for line, number in numbers if number not in TRIVIAL]


def constants_of(page):
    return CONSTANTS.get(str(page.relative_to(ROOT)), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_number_has_a_marker_or_a_source(page):
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".py":  # its prose is in comments
        text = "\n".join(line if line.startswith("# ") else "" for line in text.splitlines()).replace("\n# ", "\n")
    numbers = list_numbers(text)
    constants = {number for numbers in constants_of(page).values() for number in numbers}
    unknown = [f"{page.name}:{line}: {number}" for line, number in numbers if number not in constants]
    assert not unknown, "write a marker (see docs/fill.py), or name the source in docs/constants.toml"
    assert constants <= {number for _, number in numbers}, "docs/constants.toml has numbers that the page lacks"


def flatten(values):
    """Yield the numbers in nested containers."""
    if isinstance(values, int | float):
        yield float(values)
    elif isinstance(values, dict):
        yield from flatten([*values.values()])
    elif isinstance(values, list | tuple):
        for value in values:
            yield from flatten(value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_numbers_of_the_protocol_are_those_of_the_code(page):
    presets = [load_settings(name, {}).model_dump() for name in list_presets()]
    limits = [ACTIVE_VARIANCE, HEAVY_KURTOSIS, MIN_SEEDS, CODE_COUNT, len(VARIANTS)]
    sizes = [(*info.shape, math.prod(info.shape), info.latent_dim, info.hidden) for info in DATASETS.values()]
    parameters = re.findall(r"\(([\d.]+)\)", " ".join(variant.objective.name for variant in VARIANTS))
    values = {*flatten([presets, limits, sizes]), *map(float, parameters)}
    assert {parse(number) for number in constants_of(page).get("protocol", [])} <= values


def parse(number):
    return float(number.replace("−", "-").replace(",", ""))


def test_a_number_without_marker_is_found():
    text = "ELBO <!-- vae.elbo -->-112.7<!-- / --> of `vae-2` in\nlesson 3, $x = 4$, and −99.9 nats, 1,234.5 of 60,000"
    assert list_numbers(text) == [(2, "−99.9"), (2, "1,234.5"), (2, "60,000")]
