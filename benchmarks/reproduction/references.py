"""Published values for the report of a run that has the protocol of a claim."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from benchmarks.common.atomic_files import Record
from benchmarks.planning.settings import Settings, load_settings
from benchmarks.reproduction.claims import Check, Claim, ClaimedRun, list_claims, load_claim

NO_COLUMNS = ("seeds", "gradient_repeats", "evaluation_draws", "threads")  # they do not change the model


def list_published(results: pd.DataFrame) -> list[Record]:
    """Return the published values of metrics at the last epoch: metric, variant, value and label."""
    claims = map(load_claim, list_claims())
    return [line for claim in claims for check in claim.checks for line in _list_lines(claim, check, results)]


def _list_lines(claim: Claim, check: Check, results: pd.DataFrame) -> Iterator[Record]:
    if check.published is None or len(check.terms) > 1 or check.divisor or check.slope_over:
        return
    (term,) = check.terms
    run = claim.find_run(term.run)
    variants = [term.where["variant"]] if "variant" in term.where else [*run.variants]
    rows = results[results["variant"].isin(variants)]
    is_last = term.where.get("epoch", rows["epoch"].max()) == rows["epoch"].max()
    if run.command == "run" and is_last and _has_protocol(rows, run):
        for variant in dict.fromkeys(rows["variant"]):
            value, label = check.published / term.factor, f"{variant}, published: {claim.name}"
            yield {"metric": term.column, "variant": variant, "value": value, "label": label}


def _has_protocol(rows: pd.DataFrame, run: ClaimedRun) -> bool:
    """Return whether the rows have the settings of a claim's run; settings that it leaves open may have any value."""
    settings = load_settings(run.preset, run.settings)
    if rows.empty or rows["epoch"].max() != settings.epochs:
        return False
    names = [name for name in Settings.model_fields if name in rows and name not in NO_COLUMNS]
    values = {name: value for name in names if (value := getattr(settings, name)) not in (None, "")}
    return all((rows[name] == value).all() for name, value in values.items())
