"""The status of a claim, decided by its numbers: verified, refuted or not reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from benchmarks.common.errors import UserError
from benchmarks.common.seed_statistics import Estimate
from benchmarks.reproduction.claims import Check, Claim
from benchmarks.reproduction.quantities import estimate_quantity

Status = Literal["verified", "refuted", "not reached"]


@dataclass(frozen=True)
class Outcome:
    """The value of a check, and whether it agrees with what was published."""

    check: Check
    estimate: Estimate
    agrees: bool


@dataclass(frozen=True)
class Judgement:
    """The status of a claim with its reason; outcomes: of its checks, empty if it is not reached."""

    claim: Claim
    status: Status
    reason: str
    outcomes: tuple[Outcome, ...] = ()


def judge(claim: Claim, tables: Mapping[str, pd.DataFrame]) -> Judgement:
    """Decide a claim from the tables of its runs. It is refuted if a check fails, or if the planted mistake passes.

    It is not reached if a quantity can't be computed.
    """
    try:
        return _judge(claim, tables)
    except UserError as error:
        return Judgement(claim, "not reached", _add_note(claim, str(error)))


def _add_note(claim: Claim, reason: str) -> str:
    return f"{reason}. {claim.note}" if claim.note else reason


def _judge(claim: Claim, tables: Mapping[str, pd.DataFrame]) -> Judgement:
    outcomes = tuple(_decide(check, *estimate_quantity(claim, check, tables)) for check in claim.checks)
    failed = [outcome for outcome in outcomes if not outcome.agrees]
    if failed:
        return Judgement(claim, "refuted", _add_note(claim, describe_outcome(failed[0])), outcomes)
    planted = [_decide(check, *estimate_quantity(claim, check, tables, claim.control)) for check in claim.checks]
    if all(outcome.agrees for outcome in planted):
        return Judgement(
            claim, "refuted", _add_note(claim, f"the planted mistake agrees as well: {claim.control.mistake}"), outcomes
        )
    return Judgement(claim, "verified", "", outcomes)


def _decide(check: Check, estimate: Estimate, se: float) -> Outcome:
    agrees = not math.isnan(estimate.value)
    if check.published is not None:
        if check.tolerance is None and math.isnan(se):
            raise UserError(f"the table has no standard error of '{check.quantity}'; give a tolerance")
        width = check.tolerance if check.tolerance is not None else (check.standard_errors or 0.0) * se
        agrees = abs(estimate.value - check.published) <= width
    low = estimate.value if math.isnan(estimate.low) else estimate.low
    high = estimate.value if math.isnan(estimate.high) else estimate.high
    agrees = agrees and (check.above is None or low > check.above) and (check.below is None or high < check.below)
    return Outcome(check, estimate, bool(agrees))


def describe_expected(check: Check) -> str:
    """Return what was published with its tolerance, or the bound."""
    parts = []
    if check.published is not None:
        width = f"{check.tolerance:g}" if check.tolerance is not None else f"{check.standard_errors:g} standard errors"
        mark = " (remembered)" if check.kind == "remembered" else ""
        parts.append(f"{check.published:.6g} ± {width}{mark}")
    bounds = [("above", check.above), ("below", check.below)]
    return " and ".join([*parts, *(f"{word} {bound:g}" for word, bound in bounds if bound is not None)])


def describe_value(estimate: Estimate) -> str:
    """Return a value with its 95 % interval, if there is one."""
    if math.isnan(estimate.low) or estimate.low == estimate.high:
        return f"{estimate.value:.5g}"
    return f"{estimate.value:.5g} [{estimate.low:.5g}, {estimate.high:.5g}]"


def describe_outcome(outcome: Outcome) -> str:
    """Return one line: quantity, value and what was published."""
    value, expected = describe_value(outcome.estimate), describe_expected(outcome.check)
    return f"{outcome.check.quantity}: {value}, published {expected}"
