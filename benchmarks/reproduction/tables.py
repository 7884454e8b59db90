"""Claims as lines of the terminal, and as the tables of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.reporting import formats
from benchmarks.reproduction.claims import Claim
from benchmarks.reproduction.judgement import Judgement, describe_expected, describe_outcome, describe_value

HEAD = ["claim", "what", "published", "here [95 % interval]", "status"]


def list_rows(claims: Sequence[Claim]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the list of claims."""
    rows = [[claim.name, f"{claim.hours:g}", claim.title] for claim in claims]
    return ["claim", "hours of one core", "title"], rows


def describe_judgement(judgement: Judgement) -> str:
    """Return the lines of a claim: its status, and each value."""
    reason = f": {judgement.reason}" if judgement.reason else ""
    lines = [f"{judgement.status:11} {judgement.claim.name}{reason}"]
    return "\n".join([*lines, *(f"    {describe_outcome(outcome)}" for outcome in judgement.outcomes)])


def summary_markdown(judgements: Sequence[Judgement]) -> str:
    """Return the table of all claims, with a row for each check."""
    rows = []
    for judgement in judgements:
        claim, values = judgement.claim, {id(o.check): describe_value(o.estimate) for o in judgement.outcomes}
        for i, check in enumerate(claim.checks):
            name, status = (f"[`{claim.name}`](#{claim.name})", judgement.status) if i == 0 else ("", "")
            rows.append([name, check.quantity, describe_expected(check), values.get(id(check), "–"), status])
    return formats.markdown_table(HEAD, rows)


def claims_markdown(judgements: Sequence[Judgement]) -> str:
    """Return a section for each claim: source, command, deviations, tolerances and the planted mistake."""
    return "\n\n".join(_describe_claim(judgement) for judgement in judgements)


def _describe_claim(judgement: Judgement) -> str:
    claim = judgement.claim
    lines = [f"### {claim.name}", "", f"{claim.title}. Source: {claim.source}.", ""]
    lines += [f"- Status: {judgement.status}{f' ({judgement.reason})' if judgement.reason else ''}"]
    lines += [f"- Command: `python -m benchmarks reproduce {claim.name}` ({claim.hours:g} h on one core)"]
    by_reason: dict[str, list[str]] = {}
    for check in claim.checks:
        by_reason.setdefault(check.reason, []).append(check.quantity)
    for reason, quantities in by_reason.items():
        of = f" of {'; '.join(quantities)}" if len(by_reason) > 1 else ""
        lines += [f"- Tolerance{of}: {reason}"]
    lines += [f"- Difference from the original: {deviation}" for deviation in claim.deviations]
    return "\n".join([*lines, f"- A planted mistake that misses the claim: {claim.control.mistake}"])
