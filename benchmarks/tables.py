"""Tables over seeds, and the sentence that a run ends with. From rows of results.csv alone; needs no torch."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from benchmarks.errors import UserError, unknown
from benchmarks.metrics import BY_NAME, METRICS, TABLE, Metric, inconsistency
from benchmarks.statistics import Interval, Ratio, geometric, interval

WORST = {"higher": -math.inf, "lower": math.inf, "none": math.nan}
ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
FORMATS = ("text", "markdown", "csv", "latex")


@dataclass(frozen=True)
class Summary:
    """One data set and variant at one checkpoint: how its seeds fared, and each metric over those that are ok."""

    dataset: str
    variant: str
    epoch: int
    ok: int
    diverged: int
    failed: int
    metrics: dict[str, Interval]


def summaries(results: pd.DataFrame, epoch: int | None = None) -> list[Summary]:
    """Each data set and variant at `epoch`, by default at the last one that it reached."""
    return list(_summaries(results, epoch))


def _summaries(results: pd.DataFrame, epoch: int | None) -> Iterator[Summary]:
    for (dataset, variant), group in results.groupby(["dataset", "variant"], sort=False):
        final = group.groupby("cell_id", sort=False)["status"].last().value_counts()
        ok, diverged = int(final.get("ok", 0)), int(final.get("diverged", 0))
        good = group[group["status"] == "ok"]
        at = epoch if epoch is not None else int(good["epoch"].max()) if len(good) else 0
        rows = good[good["epoch"] == at]
        lost = group["cell_id"].nunique() - len(rows) if diverged else 0
        metrics = {m.name: interval(rows[m.name].dropna().tolist(), lost, WORST[m.direction]) for m in METRICS}
        yield Summary(str(dataset), str(variant), at, ok, diverged, int(final.sum()) - ok - diverged, metrics)


def summary_csv(found: Sequence[Summary]) -> str:
    """summary.csv: one row per data set and variant, numbers in full."""
    parts = ("mean", "half_width", "median", "min", "max")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["dataset", "variant", "epoch", "seeds_ok", "seeds_diverged", "seeds_failed"]
    writer.writerow([*head, *(f"{metric.name}_{part}" for metric in METRICS for part in parts)])
    for s in found:
        values = [getattr(s.metrics[metric.name], part) for metric in METRICS for part in parts]
        row = [s.dataset, s.variant, s.epoch, s.ok, s.diverged, s.failed]
        writer.writerow([*row, *("" if math.isnan(value) else repr(value) for value in values)])
    return text.getvalue()


def number(metric: Metric, value: float) -> str:
    """A value as a person reads it."""
    if not math.isfinite(value):
        return "diverged" if math.isinf(value) else ""
    return scientific(value) if metric.scale == "log" else f"{value:,.{metric.decimals}f}"


def scientific(value: float) -> str:
    """Two digits, with a bare exponent where a plain number would be long: 0.13, 680, 13,000, 6.9e16."""
    if value == 0 or 0.001 <= abs(value) < 1e6:
        return f"{float(f'{value:.2g}'):,.6g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def mean_text(metric: Metric, i: Interval) -> str:
    """Mean ± half-width of its interval."""
    if not i.n:
        return ""
    return number(metric, i.mean) + (f" ± {number(metric, i.half_width)}" if i.n > 1 else "")


def range_text(metric: Metric, i: Interval) -> str:
    """Median [min, max]."""
    if i.n < 2:
        return ""
    return f"{number(metric, i.median)} [{number(metric, i.min)}, {number(metric, i.max)}]"


def seeds_text(s: Summary) -> str:
    """How many seeds stand behind a row, and how many were lost."""
    lost = [f"{count} {what}" for count, what in ((s.diverged, "diverged"), (s.failed, "failed")) if count]
    return ", ".join([str(s.ok), *lost])


def choose(names: Sequence[str]) -> list[Metric]:
    """Metrics by name."""
    for name in names:
        if name not in BY_NAME:
            raise unknown("metric", name, BY_NAME)
    return [BY_NAME[name] for name in names or TABLE]


def render(found: Sequence[Summary], metrics: Sequence[Metric], style: str) -> str:
    """The comparison table: mean ± 95 % t-interval over seeds, below it median [min, max]."""
    if style == "csv":
        return _long(found, metrics)
    if style not in FORMATS:
        raise UserError(f"--format {style}: there is no such format; use one of {', '.join(FORMATS)}")
    draw = {"text": _text, "markdown": _markdown, "latex": _latex}[style]
    datasets = dict.fromkeys((s.dataset, s.epoch) for s in found)
    return "\n\n".join(
        draw(f"{dataset}, epoch {epoch}", [s for s in found if (s.dataset, s.epoch) == (dataset, epoch)], metrics)
        for dataset, epoch in datasets
    )


EXPLANATION = "mean ± 95 % t-interval over seeds; below it median [min, max]"


def _grid(found: Sequence[Summary], metrics: Sequence[Metric]) -> Iterator[tuple[list[str], list[str]]]:
    for s in found:
        means = [mean_text(metric, s.metrics[metric.name]) for metric in metrics]
        ranges = [range_text(metric, s.metrics[metric.name]) for metric in metrics]
        yield [s.variant, seeds_text(s), *means], ["", "", *ranges]


def _text(title: str, found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    head = ["variant", "seeds", *(metric.title + ARROWS[metric.direction] for metric in metrics)]
    lines = [head, ["", "", *(metric.unit for metric in metrics)]]
    for means, ranges in _grid(found, metrics):
        lines += [means, ranges] if any(ranges) else [means]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    body = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([f"{title} ({EXPLANATION})", *body[:2], "-" * max(map(len, body)), *body[2:]])


def _markdown(title: str, found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    def row(texts: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"

    head = ["variant", "seeds", *(f"{m.title}{ARROWS[m.direction]}<br>{m.unit}" for m in metrics)]
    lines = [f"{title} ({EXPLANATION}):", "", row(head), "|" + "---|" * len(head)]
    for means, ranges in _grid(found, metrics):
        lines.append(row([f"{a}<br><sub>{b}</sub>" if b else a for a, b in zip(means, ranges, strict=True)]))
    return "\n".join(lines)


LATEX = str.maketrans(
    {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "\\": r"\textbackslash{}"}
    | {"±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "²": r"\textsuperscript{2}", "~": r"\textasciitilde{}"}
    | {"^": r"\textasciicircum{}"}
)


def _latex(title: str, found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    def row(texts: Sequence[str]) -> str:
        return " & ".join(text.translate(LATEX) for text in texts) + r" \\"

    head = ["variant", "seeds", *(metric.title + ARROWS[metric.direction] for metric in metrics)]
    lines = [
        f"% {title}; needs \\usepackage{{booktabs}}",
        r"\begin{tabular}{l" + "r" * (len(head) - 1) + "}",
        r"\toprule",
    ]
    lines += [row(head), row(["", "", *(metric.unit for metric in metrics)]), r"\midrule"]
    for means, ranges in _grid(found, metrics):
        lines += [row(means), row(ranges)] if any(ranges) else [row(means)]
    caption = f"% {title}: {EXPLANATION}".replace("\n", " ")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", caption])


def _long(found: Sequence[Summary], metrics: Sequence[Metric]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["dataset", "variant", "epoch", "metric", "unit", "seeds", "mean", "half_width", "median", "min", "max"]
    )
    for s in found:
        for metric in metrics:
            i = s.metrics[metric.name]
            values = ["" if math.isnan(v) else repr(v) for v in (i.mean, i.half_width, i.median, i.min, i.max)]
            writer.writerow([s.dataset, s.variant, s.epoch, metric.name, metric.unit, i.n, *values])
    return text.getvalue().rstrip("\n")


def exchange_rates(results: pd.DataFrame, dataset: str) -> dict[str, Ratio]:
    """K V_K / V_pathwise(1) of the score-function estimators of the ELBO at the initial weights, by baseline.

    How many of their draws have to be averaged to match the gradient variance (encoder) of one reparameterized draw:
    the geometric mean over seeds with its t-interval.
    """
    rows = results[(results["dataset"] == dataset) & (results["epoch"] == 0) & (results["status"] == "ok")]
    rows = rows[(rows["objective"] == "elbo") & (rows["gradient_variance"] > 0)]
    one = rows[(rows["estimator"] == "pathwise") & (rows["draws"] == 1)].drop_duplicates("seed").set_index("seed")
    rates = {}
    for baseline, group in rows[rows["estimator"] == "score_function"].groupby("baseline", sort=False):
        fewest = group[group["draws"] == group["draws"].min()].drop_duplicates("seed").set_index("seed")
        ratios = (fewest["draws"] * fewest["gradient_variance"] / one["gradient_variance"]).dropna()
        if len(ratios):
            rates[str(baseline)] = geometric(ratios.tolist())
    return rates


def headline(results: pd.DataFrame) -> str:
    """One sentence a data set: what reparameterization saves; empty where the run lacks the pair to compare."""
    sentences = []
    for dataset in results["dataset"].unique():
        rates = exchange_rates(results, dataset)
        plain = rates.pop("none", None)
        if plain is None:
            continue
        text = f"On {dataset}, at the initial weights, {_rate(plain)} draws of REINFORCE without a baseline"
        if rates:
            best = min(rates, key=lambda name: rates[name].value)
            text += f", and {_rate(rates[best])} with the baseline {best},"
        sentences.append(
            f"{text} have to be averaged to match the gradient variance of one reparameterized draw "
            f"({_seeds(plain.n)}; encoder's parameters)."
        )
    return "\n".join(sentences)


def _rate(rate: Ratio) -> str:
    value = _three_digits(rate.value)
    return value if rate.n < 2 else f"{value} (95 % interval {_three_digits(rate.low)} to {_three_digits(rate.high)})"


def _three_digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.{max(0, 2 - math.floor(math.log10(value)))}f}"


def _seeds(count: int) -> str:
    return "one seed, so no interval" if count == 1 else f"geometric mean over {count} seeds"


def inconsistencies(results: pd.DataFrame) -> list[str]:
    """Rows whose numbers contradict each other: a fault of the program, not a result."""
    names = ["elbo", "elbo_se", "reconstruction_error", "kl", "log_likelihood", "log_likelihood_se"]
    rows = results.loc[results["status"] == "ok", ["variant", "dataset", "seed", "epoch", *names]].astype(
        dict.fromkeys(names, float)
    )
    found = []
    for row in rows.to_dict("records"):
        reason = inconsistency({name: None if math.isnan(row[name]) else row[name] for name in names})
        if reason:
            found.append(
                f"{row['variant']} on {row['dataset']}, seed {row['seed']}, epoch {row['epoch']:.0f}: {reason}"
            )
    return found
