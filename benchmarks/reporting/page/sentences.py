"""Three sentences that sum up a run."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy.special import stdtrit

from benchmarks.reporting.metrics import METRIC_BY_NAME
from benchmarks.reporting.page.contents import Extras
from benchmarks.reporting.summaries import DrawsForOne, Summary, describe_draws_for_one


def list_sentences(results: pd.DataFrame, variants: Sequence[Summary], extras: Extras) -> list[str]:
    """Return up to three sentences: the noise of REINFORCE, the best ELBO, the best log-likelihood."""
    dataset = results["dataset"].iloc[0]
    rows = results[results["dataset"] == dataset]
    sentences = [_describe_noise(rows, variants, extras.rates or describe_draws_for_one(rows))]
    for name in ("elbo", "log_likelihood"):
        ranked = sorted(
            (s for s in variants if s.dataset == dataset and s.metrics[name].n), key=lambda s: -s.metrics[name].median
        )
        if len(ranked) > 1:
            sentences.append(_compare_best(rows, name, [s.variant for s in ranked]))
    return [sentence for sentence in sentences if sentence]


def _describe_noise(rows: pd.DataFrame, variants: Sequence[Summary], rates: DrawsForOne) -> str:
    """Return which REINFORCE is the best, its draws for one, and how far it is from reparameterization."""
    first = rows.drop_duplicates("variant").set_index("variant")
    elbos = {s.variant: s.metrics["elbo"].median for s in variants if s.variant in rates.texts and s.metrics["elbo"].n}
    scores = [name for name in elbos if first["estimator"][name] == "score_function"]
    pathwise = [name for name in elbos if first["estimator"][name] == "pathwise"]
    if not scores or not pathwise:
        return ""
    best, reference = max(scores, key=elbos.__getitem__), min(pathwise, key=lambda name: first["draws"][name])
    others = ", ".join(f"{name} {rates.texts[name]}" for name in scores if name != best)
    return (
        f"The REINFORCE with the best ELBO is {best}. Draws that match one reparameterized draw: {rates.texts[best]} "
        f"(others: {others or 'none'}; {rates.meaning.split(', ')[-1]}). "
        f"Its ELBO minus that of {reference}: {_format_difference(rows, 'elbo', best, reference, len(scores))}."
    )


def _compare_best(rows: pd.DataFrame, metric: str, ranked: list[str]) -> str:
    """Return which variant is best, and whether its lead over the second, paired by seed, is significant."""
    title = METRIC_BY_NAME[metric].title
    best, second = ranked[:2]
    difference = _format_difference(rows, metric, best, second, len(ranked) - 1)
    return f"The best median {title} is that of {best}. Minus that of the second, {second}: {difference}."


def _format_difference(rows: pd.DataFrame, metric: str, variant: str, reference: str, comparisons: int) -> str:
    """Return the mean difference over paired seeds with its t-interval, corrected for the number of comparisons."""
    final = rows[(rows["status"] == "ok") & (rows["epoch"] == rows["epoch"].max())]
    wide = final.pivot_table(index="seed", columns="variant", values=metric)
    if variant not in wide or reference not in wide:
        return "not known, because no seed of one of them reached the end"
    differences = (wide[variant] - wide[reference]).dropna()
    mean = f"mean over paired seeds {differences.mean():,.2f} nats"
    if len(differences) < 2:
        return f"{mean}, without an interval, because they have fewer than two common seeds"
    quantile = stdtrit(len(differences) - 1, 1 - 0.025 / comparisons)
    half = quantile * differences.std() / len(differences) ** 0.5
    low, high = differences.mean() - half, differences.mean() + half
    verdict = "significant" if low > 0 or high < 0 else "not significant"
    correction = f", corrected for {comparisons} comparisons" if comparisons > 1 else ""
    return f"{mean} (95 % interval {low:,.2f} to {high:,.2f}{correction}), {verdict}"
