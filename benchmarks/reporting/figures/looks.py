"""The look of each variant, from looks.toml: the same colour, marker and dashes in every figure."""

from __future__ import annotations

import functools
import tomllib
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Look = dict[str, Any]  # arguments of matplotlib's plot: color, marker, linestyle
Looks = dict[str, Look]
MAX_STORY = 6
OTHERS = "other variants"


@functools.cache
def read_table() -> dict[str, Any]:
    """Return the content of looks.toml: families of looks by variant, spare looks, variants of the story figures."""
    return tomllib.loads((Path(__file__).parent / "looks.toml").read_text(encoding="utf-8"))


def assign_looks(variants: Sequence[str]) -> Looks:
    """Return the look of each variant. One that is not listed gets a spare look that depends on its name.

    If two names have the same spare look, the name that is later in the alphabet gets the next free one.
    """
    listed = {name: look for members in read_table()["families"].values() for name, look in members.items()}
    spares, taken = read_table()["spare"], set[int]()
    looks = {}
    for name in sorted(set(variants) - listed.keys()):
        first = zlib.crc32(name.encode()) % len(spares)
        order = [(first + i) % len(spares) for i in range(len(spares))]
        index = next((i for i in order if i not in taken), first)
        taken.add(index)
        looks[name] = spares[index]
    return {name: listed[name] if name in listed else looks[name] for name in variants}


def split_families(variants: Sequence[str]) -> dict[str, list[str]]:
    """Return the variants by family, in the order of looks.toml; those that are not listed come last."""
    members = {
        family: [name for name in looks if name in variants] for family, looks in read_table()["families"].items()
    }
    listed = {name for names in members.values() for name in names}
    members[OTHERS] = [name for name in variants if name not in listed]
    return {family: names for family, names in members.items() if names}


def choose_story(variants: Sequence[str]) -> list[str]:
    """Return at most `MAX_STORY` variants for a figure with one message: all if they are few.

    Else those that are not listed in looks.toml, as they are the user's, and then those of its story.
    """
    if len(variants) <= MAX_STORY:
        return list(variants)
    others = split_families(variants).get(OTHERS, [])
    story = [name for name in read_table()["story"] if name in variants]
    return [*story[:1], *others, *story[1:]][:MAX_STORY] or list(variants[:MAX_STORY])
