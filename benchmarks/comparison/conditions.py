"""The conditions under which two runs were made: what differs between them, and which verdicts that may explain."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping

import pandas as pd

from benchmarks.comparison.verdicts import Verdict

KEY_COLUMNS = ["dataset", "variant"]
QUALITY_CONDITIONS = ("torch", "processor", "mode", "precision", "device")
SPEED_CONDITIONS = ("processor", "mode", "threads", "torch")
CONDITIONS = tuple(dict.fromkeys((*QUALITY_CONDITIONS, *SPEED_CONDITIONS)))
EXPLAINED = ("regressed", "improved", "inconclusive", "failed")  # verdicts that other conditions may explain

Conditions = Mapping[str, Collection[str]]  # values by name; none if the table does not record the condition


def list_conditions(results: pd.DataFrame) -> dict[tuple[str, str], Conditions]:
    """Return the conditions of each data set and variant."""
    keys = results[KEY_COLUMNS].drop_duplicates().itertuples(index=False, name=None)
    values: dict[tuple[str, str], dict[str, frozenset[str]]]
    values = {key: dict.fromkeys(CONDITIONS, frozenset()) for key in keys}
    for name in CONDITIONS:
        known = results[[*KEY_COLUMNS, name]].dropna().drop_duplicates()
        for dataset, variant, value in known.itertuples(index=False, name=None):
            values[dataset, variant][name] |= {f"{value:g}" if isinstance(value, float) else str(value)}
    return {**values}


def describe_differences(base: Conditions, new: Conditions, names: Collection[str] = CONDITIONS) -> Iterator[str]:
    """Yield each condition that differs or has several values, with its values on both sides."""
    for name in names:
        if base[name] != new[name]:
            yield f"{name} {_join(base[name])} in base, {_join(new[name])} in new"
        elif len(base[name]) > 1:
            yield f"{name} {_join(base[name])} in both"


def merge_differing(base: pd.DataFrame, new: pd.DataFrame) -> tuple[Conditions, Conditions]:
    """Return the conditions of both runs, over the variants of both, without those in which each variant agrees."""
    sides = list_conditions(base), list_conditions(new)
    pairs = [(sides[0][key], sides[1][key]) for key in sides[0].keys() & sides[1].keys()]
    names = [name for name in CONDITIONS if any(any(describe_differences(*pair, [name])) for pair in pairs)]
    base_merged, new_merged = (
        {name: frozenset[str]().union(*(pair[side][name] for pair in pairs)) for name in names} for side in (0, 1)
    )
    return base_merged, new_merged


def explain(verdict: Verdict, base: Conditions, new: Conditions, names: Collection[str]) -> Verdict:
    """Add the differences in these conditions to the note, if they may explain the verdict."""
    differences = "; ".join(describe_differences(base, new, names))
    if verdict.word not in EXPLAINED or not differences:
        return verdict
    notes = filter(None, [verdict.note, f"may be due to other conditions: {differences}"])
    return dataclasses.replace(verdict, note="; ".join(notes))


def _join(values: Collection[str]) -> str:
    return " and ".join(sorted(values)) or "unknown"
