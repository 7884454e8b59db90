"""The looks of the variants: fixed, visible on white, different from each other; spare ones for others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from benchmarks.reporting.figures import looks
from vaezoo import VARIANTS

REGISTERED = [v.name for v in VARIANTS]
SPARES = looks.read_table()["spare"]
ALL = [*looks.assign_looks(REGISTERED).values(), *SPARES]


def luminance(colour):
    """The relative luminance of WCAG 2.2."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("look", ALL, ids=lambda look: look["color"])
def test_the_contrast_on_white_is_at_least_3(look):
    assert 1.05 / (luminance(look["color"]) + 0.05) >= 3


def test_every_registered_variant_is_listed_in_a_family():
    families = looks.split_families(REGISTERED)
    assert looks.OTHERS not in families
    assert sorted(name for members in families.values() for name in members) == sorted(REGISTERED)


def test_no_two_looks_are_equal():
    assert len({tuple(look.values()) for look in ALL}) == len(ALL)
    assert len({look["color"] for look in ALL}) == len(ALL)
    for members in looks.split_families(REGISTERED).values():
        pairs = [(look["marker"], look["linestyle"]) for look in looks.assign_looks(members).values()]
        assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("subset", [("vae", "mine"), ("autoencoder", "iwae", "vae")])
def test_a_variant_has_the_same_look_in_every_figure(subset):
    every = looks.assign_looks(["mine", *REGISTERED])
    assert looks.assign_looks(subset) == {name: every[name] for name in subset}


def test_variants_that_are_not_listed_have_spare_looks_of_their_own():
    names = [f"mine-{i}" for i in range(len(SPARES))]
    assigned = looks.assign_looks(["vae", *names])
    assert {tuple(assigned[name].values()) for name in names} == {tuple(look.values()) for look in SPARES}
    assert looks.assign_looks(names[::-1]) == {name: assigned[name] for name in names}


@pytest.mark.parametrize("other", ["alpha", "zeta", "mine-2"])
def test_a_spare_look_does_not_depend_on_other_variants_of_the_figure(other):
    """Unless both names have the same first choice."""
    alone = [looks.assign_looks([name])[name] for name in ("mine", other)]
    assert alone[0] != alone[1]
    assert looks.assign_looks(["vae", other, "mine"]) == {
        "vae": looks.assign_looks(["vae"])["vae"], other: alone[1], "mine": alone[0]
    }  # fmt: skip


@given(st.lists(st.sampled_from([*REGISTERED, "mine", "other"]), unique=True, min_size=1))
def test_the_story_has_at_most_six_variants_and_those_of_the_user_first(names):
    story = looks.choose_story(names)
    assert set(story) <= set(names)
    assert len(story) == len(set(story)) <= looks.MAX_STORY
    assert {"mine", "other"} & set(names) <= set(story)
    assert "vae" in story or "vae" not in names
    assert len(names) > looks.MAX_STORY or set(story) == set(names)
