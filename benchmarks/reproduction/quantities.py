"""Values of a claim's quantities, from the tables of its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from benchmarks.common.errors import UserError
from benchmarks.common.seed_statistics import Estimate, fit_slope, t_half_width
from benchmarks.reproduction.claims import Check, Claim, Control, Term

NORMAL = 1.96


def estimate_quantity(
    claim: Claim, check: Check, tables: Mapping[str, pd.DataFrame], control: Control | None = None
) -> tuple[Estimate, float]:
    """Return the mean over seeds of a check's quantity with its 95 % interval, and the error of measurement.

    The interval is over seeds, or that of the measurement if there is one seed; NaN if neither is known. The second
    value is the standard error of the mean that the tables state, NaN if they state none. control: a planted mistake.
    """
    plant = control.plant if control else lambda term: term
    terms = [_read_term(claim, plant(term), tables, check.slope_over) for term in check.terms]
    seeds = sorted(set.intersection(*(set(values) for values, _ in terms)))
    sums = [sum(values[seed] for values, _ in terms) for seed in seeds]
    errors = [math.hypot(*(errors[seed] for _, errors in terms)) for seed in seeds]
    if check.divisor:
        values, relative = _read_term(claim, plant(check.divisor), tables, "")
        errors = [
            abs(total / values[seed]) * math.hypot(error / total if total else 0.0, relative[seed] / values[seed])
            for seed, total, error in zip(seeds, sums, errors, strict=True)
        ]
        sums = [total / values[seed] for seed, total in zip(seeds, sums, strict=True)]
    if not seeds:
        raise UserError(f"{claim.name}: the terms of '{check.quantity}' have no seed in common")
    mean, se = float(np.mean(sums)), math.hypot(*errors) / len(errors)
    half = t_half_width(sums) if len(sums) > 1 else NORMAL * se
    return Estimate(len(sums), mean, mean - half, mean + half), se


def _read_term(
    claim: Claim, term: Term, tables: Mapping[str, pd.DataFrame], slope_over: str
) -> tuple[dict[int, float], dict[int, float]]:
    """Return value and standard error by seed; the error is NaN where the table has none."""
    run = claim.find_run(term.run)
    rows = _select_rows(claim, term, tables[run.name])
    values: dict[int, float] = {}
    errors: dict[int, float] = {}
    for seed, group in rows.groupby("seed"):
        numbers = group[term.column].astype(float).tolist()
        key = int(seed)
        if slope_over:
            values[key] = term.factor * fit_slope(group[slope_over].astype(float).tolist(), numbers).value
            errors[key] = math.nan
            continue
        if len(numbers) > 1:
            raise UserError(
                f"{claim.name}: {_describe(term)} selects {len(numbers)} rows of seed {key}; add columns to where"
            )
        error_column = "se" if term.column == "value" else f"{term.column}_se"
        known = error_column in group and not group[error_column].isna().any()
        values[key] = term.factor * numbers[0]
        errors[key] = abs(term.factor) * float(group[error_column].iloc[0]) if known else math.nan
    return values, errors


def _select_rows(claim: Claim, term: Term, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of single seeds where the columns have the values of the term."""
    missing = [name for name in (term.column, *term.where) if name not in table]
    if missing:
        raise UserError(f"{claim.name}: the table has no column {missing[0]}; see 'python -m benchmarks list columns'")
    rows = table[table["seed"].notna()]
    for name, value in term.where.items():
        rows = rows[rows[name] == value]
    if "epoch" in rows and "epoch" not in term.where and len(rows):
        rows = rows[rows["epoch"] == rows["epoch"].max()]
    rows = rows[rows[term.column].notna()]
    if rows.empty:
        raise UserError(f"{claim.name}: {_describe(term)} selects no row; change its column or where")
    return rows


def _describe(term: Term) -> str:
    pairs: Sequence[str] = [f"{name}={value}" for name, value in term.where.items()]
    return f"the term {term.column} of {', '.join(pairs) or 'all rows'}"
