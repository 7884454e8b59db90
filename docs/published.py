"""Published claims in the documentation: their tables, and how many are verified."""

from __future__ import annotations

import functools
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.cli.commands import reproduce
from benchmarks.gradient_studies.report import figures
from benchmarks.gradient_studies.report.tables import read_gradients
from benchmarks.reporting.formats import markdown_table
from benchmarks.reproduction import claims, tables
from benchmarks.reproduction.judgement import Judgement, describe_expected, describe_value

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / reproduce.FOLDER
PAGE = "docs/published-numbers.md"


@functools.cache
def judge_claims() -> tuple[Judgement, ...]:
    """Judge all claims by the committed results."""
    return tuple(reproduce.judge_folder(claims.load_claim(name), FOLDER / name) for name in claims.list_claims())


def summary_markdown() -> str:
    """Return the table of all claims, with a row for each check."""
    return tables.summary_markdown(judge_claims())


def sections_markdown() -> str:
    """Return a section for each claim."""
    return tables.claims_markdown(judge_claims())


def printed_markdown() -> str:
    """Return the table of README: claims whose numbers a paper or a program prints.

    The row has the first check that fails, or the first of all.
    """
    lines = []
    for judgement in judge_claims():
        name = judgement.claim.name
        outcome = min(judgement.outcomes, key=lambda outcome: outcome.agrees, default=None)
        check = outcome.check if outcome else judgement.claim.checks[0]
        value = describe_value(outcome.estimate) if outcome else "–"
        if check.kind == "printed":
            link, quantity = f"[`{name}`]({PAGE}#{name})", check.quantity.removesuffix(", nats")
            lines.append([link, quantity, describe_expected(check), value, judgement.status])
    return markdown_table(["claim", "quantity, nats", "published", "here [95 % interval]", "status"], lines)


def count_claims() -> dict[str, str]:
    """Return the number of claims, and of those that are verified."""
    statuses = [judgement.status for judgement in judge_claims()]
    return {"claims.count": f"{len(statuses)}", "claims.verified": f"{statuses.count('verified')}"}


def draw_slopes() -> Figure:
    """Draw variance and signal-to-noise ratio by the number of draws, of the claim `tighter-bounds-slopes`."""
    table = read_gradients(FOLDER / "tighter-bounds-slopes" / "main" / "gradients.csv")
    return dict(figures.draw_figures(table))["draws"]
