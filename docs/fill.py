"""Fill the numbers and tables of README and docs from the committed results: python -m docs.fill [--check].

A number in prose is written <!-- KEY -->VALUE<!-- / -->. A table stands between <!-- NAME --> and <!-- end -->, each on
a line of its own. `--check` names the pages that are not current, and exits with 1 if there are any.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cli.commands.inspect import sources_markdown, variants_markdown
from benchmarks.common.seed_statistics import t_half_width
from benchmarks.reporting import formats, summaries
from benchmarks.reporting.descriptions import describe_variant
from docs import growth, laboratory_tables, published
from docs.measurements import compute_numbers, format_tenths, read_laboratory, read_run

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MAIN_METRICS = ["elbo", "reconstruction_error", "kl", "log_likelihood", "gradient_variance", "throughput"]
NUMBER = re.compile(r"<!-- ([\w.-]+) -->([^<]*)<!-- / -->")
DISCRETE = ("bernoulli", "categorical(10)")  # posteriors
FEW = (  # the variants of the table in README
    "vae", "iwae-dreg", "reinforce-vae-loo", "reinforce-vae-nvil", "beta-vae", "vae-blocked",
    "reinforce-vae", "autoencoder",
)  # fmt: skip


def few_results_markdown() -> str:
    """Return the table of README: medians at the last epoch, sorted by ELBO, with ranges where seeds differ much."""
    results = read_run("default")
    by_name = {s.variant: s for s in summaries.summarize(results)}
    fields = results.drop_duplicates("variant").set_index("variant")
    head = ["variant", "how the encoder is trained", "ELBO ↑", "reconstruction ↓", "KL", "log p(x) ↑"]
    lines = []
    for name in sorted(FEW, key=lambda name: -np.nan_to_num(by_name[name].metrics["elbo"].median, nan=-np.inf)):
        row = fields.loc[name]
        baseline = "" if pd.isna(row["baseline"]) else row["baseline"]
        cells = [_format_median(by_name[name], m) for m in ("elbo", "reconstruction_error", "kl", "log_likelihood")]
        description = describe_variant(row["objective"], row["estimator"], baseline, int(row["draws"]))
        lines.append([f"`{name}`", description, *cells])
    return formats.markdown_table(head, lines)


def discrete_results_markdown() -> str:
    """Return ELBO, difference to leave-one-out with its interval over seeds, and log p(x), for discrete latents."""
    results = read_run("default")
    final = results[(results["epoch"] == results["epoch"].max()) & (results["posterior"].isin(DISCRETE))]
    lines = []
    for _, rows in final.groupby("posterior", sort=False):
        is_reference = (rows["baseline"] == "leave_one_out") & (rows["objective"] == "elbo")
        reference = rows[is_reference].set_index("seed")["elbo"]
        medians = rows.groupby("variant")["elbo"].median().sort_values(ascending=False)
        for name in medians.index:
            values = rows[rows["variant"] == name].set_index("seed")
            differences = (values["elbo"] - reference).tolist()
            gain = f"{np.mean(differences):+.1f} ± {t_half_width(differences):.1f}" if any(differences) else "0"
            elbo, likelihood = (format_tenths(values[metric].median()) for metric in ("elbo", "log_likelihood"))
            first = values.iloc[0]
            baseline = "" if pd.isna(first["baseline"]) else first["baseline"]
            how = describe_variant(first["objective"], first["estimator"], baseline, int(first["draws"]))
            lines.append([f"`{name}`", how, elbo, gain, likelihood])
    head = ["variant", "how the encoder is trained", "ELBO ↑", "difference to leave-one-out", "log p(x) ↑"]
    return formats.markdown_table(head, lines)


def _format_median(summary: summaries.Summary, name: str) -> str:
    interval = summary.metrics[name]
    if not interval.n:
        return "–"
    text = format_tenths(interval.median)
    spread = interval.max - interval.min
    return f"{text} [{interval.min:,.0f}, {interval.max:,.0f}]" if spread > 10 else text


def make_tables() -> dict[str, Callable[[], str]]:
    """Return the function that makes each table, by name."""
    laboratory = {name: functools.partial(make, read_laboratory()) for name, make in laboratory_tables.BLOCKS.items()}

    def all_results() -> str:
        metrics = formats.choose_metrics(MAIN_METRICS)
        return formats.render_table(summaries.summarize(read_run("default")), metrics, "markdown")

    return laboratory | {
        "results": few_results_markdown,
        "all-results": all_results,
        "discrete-results": discrete_results_markdown,
        "claims-table": published.summary_markdown,
        "printed-claims": published.printed_markdown,
        "growth": growth.growth_markdown,
        "claims": published.sections_markdown,
        "headline": lambda: summaries.make_headline(read_run("default")),
        "variants": variants_markdown,
        "sources": sources_markdown,
        "result-columns": formats.columns_markdown,
    }


def fill_page(text: str) -> str:
    """Return the page with all numbers and tables replaced by those of the committed results."""
    numbers = compute_numbers() | published.count_claims()
    text = NUMBER.sub(lambda match: f"<!-- {match[1]} -->{numbers[match[1]]}<!-- / -->", text)
    for name, make in make_tables().items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        if start:
            _, end, after = rest.partition("<!-- end -->")
            text = f"{before}{start}{make()}\n{end}{after}"
    return text


def main() -> int:
    """Fill or check all pages."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    stale = {page: filled for page, text in texts.items() if (filled := fill_page(text)) != text}
    check = "--check" in sys.argv
    for page, filled in stale.items():
        print(f"{page.relative_to(ROOT)}: {'not current; run python -m docs.fill' if check else 'filled'}")
        if not check:
            page.write_text(filled, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
