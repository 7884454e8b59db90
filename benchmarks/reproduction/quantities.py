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
    divisor = _read_term(claim, plant(check.divisor), tables, "") if check.divisor else None
    seeds = sorted(terms[0][0])
    if any(sorted(values) != seeds for values, _ in [*terms, *filter(None, [divisor])]):
        raise UserError(f"the terms of '{check.quantity}' have different seeds; give runs with equal seeds")
    sums = [sum(values[seed] for values, _ in terms) for seed in seeds]
    errors = [math.hypot(*(errors[seed] for _, errors in terms)) for seed in seeds]
    if divisor:
        values, divisor_errors = divisor
        if not all(values.values()):
            raise UserError(f"the divisor of '{check.quantity}' is 0")
        errors = [
            math.hypot(error, total * divisor_errors[seed] / values[seed]) / abs(values[seed])
            for seed, total, error in zip(seeds, sums, errors, strict=True)
        ]
        sums = [total / values[seed] for seed, total in zip(seeds, sums, strict=True)]
    mean, se = float(np.mean(sums)), math.hypot(*errors) / len(errors)
    half = t_half_width(sums) if len(sums) > 1 else NORMAL * se
    return Estimate(len(sums), mean, mean - half, mean + half), se


def _read_term(
    claim: Claim, term: Term, tables: Mapping[str, pd.DataFrame], slope_over: str
) -> tuple[dict[int, float], dict[int, float]]:
    """Return value and standard error by seed; the error is NaN where the table has none."""
    run = claim.find_run(term.run)
    rows = _select_rows(term, tables[run.name], slope_over)
    values: dict[int, float] = {}
    errors: dict[int, float] = {}
    for seed, group in rows.groupby("seed"):
        key, numbers = int(seed), group[term.column].tolist()
        if slope_over and min(*numbers, *group[slope_over]) <= 0:
            raise UserError(f"{_describe(term)} has a value of 0 or less, seed {key}; a slope needs positive ones")
        if len(numbers) > (group[slope_over].nunique() if slope_over else 1):
            raise UserError(f"{_describe(term)} selects {len(numbers)} rows of seed {key}; add columns to where")
        if slope_over:
            values[key] = term.factor * fit_slope(group[slope_over].tolist(), numbers).value
            errors[key] = math.nan
            continue
        error_column = "se" if term.column == "value" else f"{term.column}_se"
        known = error_column in group and not group[error_column].isna().any()
        values[key] = term.factor * numbers[0]
        errors[key] = abs(term.factor) * float(group[error_column].iloc[0]) if known else math.nan
    return values, errors


def _select_rows(term: Term, table: pd.DataFrame, slope_over: str) -> pd.DataFrame:
    """Return the rows of single seeds where the columns have the values of the term."""
    missing = [name for name in (term.column, *term.where, *filter(None, [slope_over])) if name not in table]
    if missing:
        raise UserError(f"the table has no column {missing[0]}; see the page 'Columns'")
    rows = table[table["seed"].notna()]
    for name, value in term.where.items():
        rows = rows[rows[name] == value]
    if "epoch" in rows and "epoch" not in term.where and len(rows):
        rows = rows[rows["epoch"] == rows["epoch"].max()]
    if rows.empty:
        raise UserError(f"{_describe(term)} selects no row; change its column or where")
    for name in (term.column, *filter(None, [slope_over])):
        rows = rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce")})
        if not np.isfinite(rows[name]).all():
            seed = rows.loc[~np.isfinite(rows[name]), "seed"].iloc[0]
            raise UserError(f"{_describe(term)} has no number in the column {name} for seed {seed:.0f}")
    return rows


def _describe(term: Term) -> str:
    pairs: Sequence[str] = [f"{name}={value}" for name, value in term.where.items()]
    return f"the term {term.column} of {', '.join(pairs) or 'all rows'}"
