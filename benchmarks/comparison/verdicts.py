"""Verdicts: one word for each comparison of a metric, and one exit code for all of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from benchmarks.common.errors import ExitCode
from benchmarks.comparison import two_sample
from benchmarks.reporting.metrics import Direction

VerdictWord = Literal[  # in the order of tables
    "incomparable", "failed", "missing", "regressed", "inconclusive", "improved", "new", "unchanged", "identical"
]
WORDS: tuple[VerdictWord, ...] = get_args(VerdictWord)
EXIT_CODES = {  # of the other verdicts: OK
    "incomparable": ExitCode.INCOMPARABLE,
    "failed": ExitCode.INCOMPLETE,
    "missing": ExitCode.INCOMPLETE,
    "regressed": ExitCode.VERDICT,
}
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
class Test:
    """A test whose verdict depends on the number of tests. draft: the verdict if no p is significant.

    p_worse, p_better: one-sided p that new is worse or better. difference: None for the test of lost seeds.
    """

    draft: Verdict
    p_worse: float
    p_better: float
    difference: two_sample.Difference | None = None


Pending = Verdict | Test


def make_metric_test(draft: Verdict, direction: Direction, base: Mapping[int, float], new: Mapping[int, float]) -> Test:
    """Return the test of new minus base, from values by seed; both p are 1 if no direction is better."""
    difference = two_sample.compare_samples(base, new)
    less, more = difference.p_less, difference.p_more
    p_worse, p_better = {"higher": (less, more), "lower": (more, less), "none": (1.0, 1.0)}[direction]
    return Test(draft, p_worse, p_better, difference)


def decide_verdicts(pending: Sequence[Pending], alpha: float) -> list[Verdict]:
    """Return the verdicts in the same order.

    The probability of a false alarm is at most `alpha` in all tests that set the exit code. If any seed was lost, the
    seed tests and the metric tests use half of `alpha` each. Advice is adjusted separately, at the full `alpha`.
    """
    decided: dict[Pending, Verdict] = {item: item for item in pending if isinstance(item, Verdict)}
    tests = [item for item in pending if isinstance(item, Test)]
    seed_tests = [test for test in tests if test.difference is None]
    metric_tests = [test for test in tests if test.difference and not test.draft.advice]
    advice_tests = [test for test in tests if test.draft.advice]
    level = alpha / 2 if seed_tests else alpha
    for family, family_level in ((seed_tests, level), (metric_tests, level), (advice_tests, alpha)):
        p_worse = two_sample.adjust_by_holm([test.p_worse for test in family])
        p_better = two_sample.adjust_by_holm([test.p_better for test in family])
        for test, worse, better in zip(family, p_worse, p_better, strict=True):
            word = _choose_word(test, worse < family_level, better < family_level)
            decided[test] = dataclasses.replace(test.draft, word=word, p=worse)
            if test.difference:
                decided[test] = _describe_difference(decided[test], test.difference, family_level / len(family))
    return [decided[item] for item in pending]


def _choose_word(test: Test, worse: bool, better: bool) -> VerdictWord:
    """Return the verdict. worse, better: whether that is significant, so that the difference has that direction."""
    difference, tolerance, word = test.difference, test.draft.tolerance, test.draft.word
    if difference is None:
        if worse and word != "failed":
            return "regressed"
        return "improved" if better and word == "unchanged" else word
    if abs(difference.value) > tolerance and (worse or better):
        return "regressed" if worse else "improved"
    return "unchanged" if -tolerance <= difference.low and difference.high <= tolerance else "inconclusive"


def _describe_difference(verdict: Verdict, difference: two_sample.Difference, strictest: float) -> Verdict:
    """Add the difference. strictest: the smallest level that Holm's rule uses, for the detectable drop."""
    smallest, seeds = math.nan, None
    if verdict.word == "inconclusive":
        smallest = two_sample.compute_smallest_effect(difference, verdict.tolerance, strictest)
        seeds = two_sample.compute_seeds_needed(difference, verdict.tolerance, strictest)
    return dataclasses.replace(
        verdict, difference=difference.value, low=difference.low, high=difference.high, test=difference.test,
        smallest=smallest, seeds=seeds,
    )  # fmt: skip


def choose_exit_code(verdicts: Sequence[Verdict], allowed: Sequence[str] = ()) -> int:
    """Return the largest exit code of the verdicts without advice; 3 if there is no verdict at all.

    Of the variants in `allowed`, only the verdict "failed" counts.
    """
    counted = [v.word for v in verdicts if not v.advice and (v.word == "failed" or v.variant not in allowed)]
    codes = [EXIT_CODES.get(word, ExitCode.OK) for word in counted]
    return max(codes, default=ExitCode.OK) if verdicts else ExitCode.INCOMPARABLE
