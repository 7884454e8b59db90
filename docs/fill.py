"""Fill the numbers and tables of README and docs from the committed results: python docs/fill.py [--check].

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

from benchmarks.cli.commands.inspect import variants_markdown
from benchmarks.gradient_studies.report import doc_tables
from benchmarks.gradient_studies.report.tables import format_digits, read_gradients, select_over_seeds
from benchmarks.reporting import formats, results_table, summaries
from benchmarks.reporting.descriptions import describe_variant
from benchmarks.reporting.metrics import METRICS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
MAIN_METRICS = ["elbo", "reconstruction_error", "kl", "log_likelihood", "gradient_variance", "throughput"]
NUMBER = re.compile(r"<!-- ([\w.-]+) -->([^<]*)<!-- / -->")
TRAINING_EXAMPLES = 3500  # of mnist5k
FEW = (  # the variants of the table in README
    "vae-stl", "vae", "iwae-dreg", "reinforce-vae-loo", "reinforce-vae-nvil", "beta-vae", "vae-blocked",
    "reinforce-vae", "autoencoder",
)  # fmt: skip


def read_run(name: str) -> pd.DataFrame:
    """Return the results of a committed run."""
    return results_table.read_results(RESULTS / name / "results.csv")


@functools.cache
def read_laboratory() -> pd.DataFrame:
    """Return the committed gradient studies."""
    return read_gradients(RESULTS / "gradients" / "gradients.csv")


def format_tenths(value: float) -> str:
    """Return a value with one decimal; -0.0 is 0.0."""
    return f"{round(value, 1) + 0:,.1f}"


@functools.cache
def compute_numbers() -> dict[str, str]:
    """Return the text of each key."""
    results = read_run("default")
    final = results[results["epoch"] == results["epoch"].max()]
    numbers = {
        "run.train": f"{TRAINING_EXAMPLES:,}",
        "run.seeds": str(final["seed"].nunique()),
        "run.epochs": f"{final['epoch'].iloc[0]:.0f}",
        "run.torch": final["torch"].iloc[0],
        "run.commit": final["commit"].iloc[0],
        "run.minutes": f"{_measure_minutes(results):.0f}",
    }
    for variant, rows in final.groupby("variant"):
        numbers |= _describe_final(str(variant), rows)
        numbers |= _describe_codes(str(variant), rows)
    for variant, rows in results[results["epoch"] == 0].groupby("variant"):
        numbers[f"{variant}.reconstruction_error.initial"] = format_tenths(rows["reconstruction_error"].median())
    for name in ("learning-rate-0.0003", "learning-rate-0.003"):
        rows = read_run(name)
        medians = rows[rows["epoch"] == rows["epoch"].max()].groupby("variant")["elbo"].median().dropna()
        rate = name.removeprefix("learning-")
        numbers |= {f"{variant}.elbo.{rate}": format_tenths(value) for variant, value in medians.items()}
    return numbers | _describe_exchange_rates()


def _measure_minutes(results: pd.DataFrame) -> float:
    times = pd.to_datetime(results["started"]).min(), pd.to_datetime(results["ended"]).max()
    return float((times[1] - times[0]).total_seconds() / 60)


def _describe_final(variant: str, rows: pd.DataFrame) -> dict[str, str]:
    """Return median, minimum and maximum of each metric at the last epoch, and the values of the first seed."""
    numbers = {}
    for metric in METRICS:
        values = rows[metric.name].dropna()
        if values.empty:
            continue
        text: Callable[[float], str] = format_tenths
        if metric.scale == "log" or abs(values.median()) >= 1e4:
            text = formats.format_scientific
        if metric.name == "active_units":
            text = "{:.0f}".format
        key = f"{variant}.{metric.name}"
        numbers |= {key: text(values.median()), f"{key}.min": text(values.min()), f"{key}.max": text(values.max())}
    first = rows.sort_values("seed").iloc[0]
    for name in ("reconstruction_error", "kl", "elbo"):
        numbers[f"{variant}.{name}.seed0"] = f"{first[name]:.2f}"
    numbers[f"{variant}.loss.seed0"] = f"{-first['elbo']:.2f}"
    return numbers


def _describe_codes(variant: str, rows: pd.DataFrame) -> dict[str, str]:
    """Return the root mean square of the codes of test images and the mean scale of q, medians over seeds."""
    sizes, scales = [], []
    for cell_id in rows["cell_id"]:
        with np.load(RESULTS / "default" / "cells" / f"{cell_id}.npz") as arrays:
            sizes.append(np.sqrt(np.square(arrays["codes"].astype(float)).mean()))
            scales.append(arrays["scales"].astype(float).mean())
    return {
        f"{variant}.code_size": format_tenths(float(np.median(sizes))),
        f"{variant}.code_scale": f"{np.median(scales):.2f}",
    }


def _describe_exchange_rates() -> dict[str, str]:
    table = read_laboratory()
    rates = select_over_seeds(table[table["study"] == "training"], "exchange_rate")
    numbers = {}
    for variant, rows in rates.groupby("variant"):
        by_stage = dict(zip(rows["checkpoint"], rows["value"], strict=True))
        numbers |= {f"{variant}.draws.{stage}": format_digits(value) for stage, value in by_stage.items()}
        for name, value in (("lowest", min(by_stage.values())), ("highest", max(by_stage.values()))):
            numbers[f"{variant}.draws.{name}"] = f"{value:.0f}" if value < 100 else format_digits(value)
    return numbers


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


def _format_median(summary: summaries.Summary, name: str) -> str:
    interval = summary.metrics[name]
    if not interval.n:
        return "–"
    text = format_tenths(interval.median)
    spread = interval.max - interval.min
    return f"{text} [{interval.min:,.0f}, {interval.max:,.0f}]" if spread > 10 else text


def make_tables() -> dict[str, Callable[[], str]]:
    """Return the function that makes each table, by name."""
    laboratory = {name: functools.partial(make, read_laboratory()) for name, make in doc_tables.BLOCKS.items()}

    def all_results() -> str:
        metrics = formats.choose_metrics(MAIN_METRICS)
        return formats.render_table(summaries.summarize(read_run("default")), metrics, "markdown")

    return laboratory | {
        "results": few_results_markdown,
        "all-results": all_results,
        "headline": lambda: summaries.make_headline(read_run("default")),
        "variants": variants_markdown,
        "result-columns": formats.columns_markdown,
    }


def fill_page(text: str) -> str:
    """Return the page with all numbers and tables replaced by those of the committed results."""
    numbers = compute_numbers()
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
        print(f"{page.relative_to(ROOT)}: {'not current; run python docs/fill.py' if check else 'filled'}")
        if not check:
            page.write_text(filled, encoding="utf-8")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
