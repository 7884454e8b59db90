"""Verdicts: one word for each comparison of a metric, and one exit code for all of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from benchmarks.comparison import two_sample
from benchmarks.reporting.metrics import Metric

VerdictWord = Literal[
    "identical", "improved", "unchanged", "inconclusive", "regressed", "failed", "missing", "new", "incomparable"
]
EXIT_CODES = {"incomparable": 3, "failed": 2, "missing": 2, "regressed": 1}  # other verdicts: 0
SEEDS = "seeds"  # in place of a metric name: the verdict on the number of lost seeds


@dataclass(frozen=True)
class Verdict:
    """The verdict on one metric of one variant on one data set.

    base, new: medians over seeds. difference, low, high: new minus base and its 95 % interval, in the metric's unit or
    as natural logarithm of the ratio. p: adjusted one-sided p of "worse". smallest: the smallest drop that would be
    detected. seeds: number of seeds per run that a clear verdict needs. advice: True if the exit code ignores it.
    """

    dataset: str
    variant: str
    metric: str
    word: VerdictWord
    base: float = math.nan
    new: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    tolerance: float = math.nan
    p: float = math.nan
    test: str = ""
    smallest: float = math.nan
    seeds: int | None = None
    advice: bool = False
    note: str = ""


@dataclass(frozen=True)
class MetricTest:
    """The test of one metric; its verdict depends on the number of tests. draft: the verdict without the test."""

    draft: Verdict
    difference: two_sample.Difference
    metric: Metric

    @property
    def p_worse(self) -> float:
        """One-sided p that new is worse; 1 if no direction is better."""
        return {"higher": self.difference.p_less, "lower": self.difference.p_more, "none": 1.0}[self.metric.direction]

    @property
    def p_better(self) -> float:
        """One-sided p that new is better; 1 if no direction is better."""
        return {"higher": self.difference.p_more, "lower": self.difference.p_less, "none": 1.0}[self.metric.direction]


@dataclass(frozen=True)
class SeedTest:
    """The test of the number of lost seeds of one variant on one data set.

    p_worse, p_better: one-sided p that new loses more or fewer. any_lost: either run lost a seed. more_lost: new lost a
    larger share. all_lost: new lost all seeds and base lost none.
    """

    draft: Verdict
    p_worse: float
    p_better: float
    any_lost: bool
    more_lost: bool
    all_lost: bool


Pending = Verdict | MetricTest | SeedTest  # a verdict, or a test that waits for the number of tests
Test = TypeVar("Test", MetricTest, SeedTest)


def decide_verdicts(pending: Sequence[Pending], alpha: float) -> list[Verdict]:
    """Return the verdicts. The probability of a false alarm is at most `alpha` in all tests that set the exit code.

    If any seed was lost, the seed tests and the metric tests use half of `alpha` each. Advice is adjusted separately,
    at the full `alpha`.
    """
    verdicts = [item for item in pending if isinstance(item, Verdict)]
    seed_tests = [item for item in pending if isinstance(item, SeedTest)]
    verdicts += [dataclasses.replace(test.draft, p=1.0) for test in seed_tests if not test.any_lost]
    seed_tests = [test for test in seed_tests if test.any_lost]  # without a lost seed there is nothing to test
    level = alpha / 2 if seed_tests else alpha
    for seed_test, p_worse, p_better in _adjust(seed_tests):
        verdicts.append(_decide_seeds(seed_test, p_worse, p_better, level))
    for advice, family_level in ((False, level), (True, alpha)):
        family = [item for item in pending if isinstance(item, MetricTest) and item.draft.advice == advice]
        for metric_test, p_worse, p_better in _adjust(family):
            strictest = family_level / len(family)
            verdicts.append(_decide_metric(metric_test, p_worse, p_better, family_level, strictest))
    return verdicts


def _adjust(family: Sequence[Test]) -> Iterator[tuple[Test, float, float]]:
    """Yield each test with its adjusted p of worse and of better."""
    p_worse, p_better = [test.p_worse for test in family], [test.p_better for test in family]
    return zip(family, two_sample.adjust_by_holm(p_worse), two_sample.adjust_by_holm(p_better), strict=True)


def _decide_metric(test: MetricTest, p_worse: float, p_better: float, alpha: float, strictest: float) -> Verdict:
    """Return the verdict. strictest: the smallest level that Holm's rule uses, for the detectable drop."""
    difference, metric, tolerance = test.difference, test.metric, test.draft.tolerance
    gain = difference.value if metric.direction == "higher" else -difference.value
    word: VerdictWord = "inconclusive"
    if metric.direction != "none" and gain < -tolerance and p_worse < alpha:
        word = "regressed"
    elif metric.direction != "none" and gain > tolerance and p_better < alpha:
        word = "improved"
    elif -tolerance <= difference.low and difference.high <= tolerance:
        word = "unchanged"
    smallest, seeds = math.nan, None
    if word == "inconclusive":
        smallest = two_sample.compute_smallest_effect(difference, tolerance, strictest)
        seeds = two_sample.compute_seeds_needed(difference, tolerance, strictest)
    return dataclasses.replace(
        test.draft, word=word, difference=difference.value, low=difference.low, high=difference.high, p=p_worse,
        test=difference.test, smallest=smallest, seeds=seeds,
    )  # fmt: skip


def _decide_seeds(test: SeedTest, p_worse: float, p_better: float, alpha: float) -> Verdict:
    word = test.draft.word
    if word != "failed":
        if test.all_lost or p_worse < alpha:
            word = "regressed"
        elif test.more_lost:
            word = "inconclusive"
        elif p_better < alpha:
            word = "improved"
    return dataclasses.replace(test.draft, word=word, p=p_worse)


def choose_exit_code(verdicts: Sequence[Verdict], allowed: Sequence[str] = ()) -> int:
    """Return the largest exit code of the verdicts without advice; 3 if there is no verdict at all.

    Of the variants in `allowed`, only the verdict "failed" counts.
    """
    codes = [
        EXIT_CODES.get(v.word, 0) for v in verdicts if not v.advice and (v.word == "failed" or v.variant not in allowed)
    ]
    return max(codes, default=0) if verdicts else 3
