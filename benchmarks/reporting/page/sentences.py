"""Three sentences that sum up a run."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy import stats

from benchmarks.reporting.metrics import METRIC_BY_NAME
from benchmarks.reporting.page.contents import Extras
from benchmarks.reporting.summaries import DrawsForOne, Summary, describe_draws_for_one


def list_sentences(results: pd.DataFrame, variants: Sequence[Summary], extras: Extras) -> list[str]:
    """Return up to three sentences: the noise of REINFORCE, the range of the ELBO, the best log-likelihood."""
    dataset = results["dataset"].iloc[0]
    rows = results[results["dataset"] == dataset]
    sentences = [_describe_noise(rows, extras.rates or describe_draws_for_one(rows))]
    for name in ("elbo", "log_likelihood"):
        ranked = sorted(
            (s for s in variants if s.dataset == dataset and s.metrics[name].n), key=lambda s: -s.metrics[name].median
        )
        if len(ranked) > 1:
            sentences.append(_compare_best(rows, name, [s.variant for s in ranked]))
    return [sentence for sentence in sentences if sentence]


def _describe_noise(rows: pd.DataFrame, rates: DrawsForOne) -> str:
    estimators = rows.drop_duplicates("variant").set_index("variant")[["estimator", "baseline"]]
    scores = [name for name in rates.texts if estimators["estimator"].get(name) == "score_function"]
    if not scores:
        return ""
    texts = ", ".join(f"{name} {rates.texts[name]}" for name in scores)
    return f"Draws that match one reparameterized draw: {texts} ({rates.meaning.split(', ')[-1]})."


def _compare_best(rows: pd.DataFrame, metric: str, ranked: list[str]) -> str:
    """Return which variant is best, and whether its lead over the second, paired by seed, is significant."""
    final = rows[(rows["status"] == "ok") & (rows["epoch"] == rows["epoch"].max())]
    wide = final.pivot_table(index="seed", columns="variant", values=metric)
    title = METRIC_BY_NAME[metric].title
    best, second = ranked[:2]
    if best not in wide or second not in wide:
        return ""
    differences = (wide[best] - wide[second]).dropna()
    start = f"The best {title} is that of {best}: {wide[best].median():,.1f}; the second is {second}"
    if len(differences) < 2:
        return f"{start}. With fewer than two common seeds, the lead has no interval."
    half = stats.t.ppf(0.975, len(differences) - 1) * differences.std() / len(differences) ** 0.5
    low, high = differences.mean() - half, differences.mean() + half
    verdict = "excludes 0, so the difference is significant" if low > 0 else "contains 0: it is not significant"
    return (
        f"{start}, behind by {differences.mean():.2f} nats (95 % interval {low:.2f} to {high:.2f}, paired by seed). "
        f"The interval {verdict}."
    )
