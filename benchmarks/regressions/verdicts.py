"""Verdicts: from differences to a word for each, and from those to one exit code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from benchmarks.metrics import Metric
from benchmarks.regressions.differences import Difference, holm, seeds_needed, smallest_effect

Word = Literal[
    "identical", "improved", "unchanged", "inconclusive", "regressed", "failed", "missing", "new", "incomparable"
]
EXITS = {"incomparable": 3, "failed": 2, "missing": 2, "regressed": 1}  # 3 before 2 before 1
SEEDS = "seeds"  # what stands in the place of a metric where seeds are counted


@dataclass(frozen=True)
class Verdict:
    """What is found of one data set, variant and metric.

    base, new: a value that stands for each side. difference, low, high: new minus base and its 95 % interval, in the
    metric's unit, or as a natural logarithm of the ratio. p: of the test for worse, adjusted for all that are made.
    smallest: the smallest loss that would have been seen; seeds: how many it takes a side to tell. advice: whether it
    leaves the exit code alone. note: what has to be known beside it.
    """

    dataset: str
    variant: str
    metric: str
    word: Word
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
class Question:
    """A difference that waits for its verdict, until it is known how many others are tested with it."""

    asked: Verdict
    found: Difference
    metric: Metric

    @property
    def worse(self) -> float:
        """One-sided p that the new is worse; 1 where no way is."""
        return {"higher": self.found.p_less, "lower": self.found.p_more, "none": 1.0}[self.metric.direction]

    @property
    def better(self) -> float:
        """One-sided p that the new is better."""
        return {"higher": self.found.p_more, "lower": self.found.p_less, "none": 1.0}[self.metric.direction]


@dataclass(frozen=True)
class Count:
    """Lost seeds that wait for their verdict.

    worse, better: p that they are lost more often than before, and less often. all_lost: all, where none was. more:
    whether their share is larger. some: whether either side lost any; without that no test can tell.
    """

    asked: Verdict
    worse: float
    better: float
    all_lost: bool
    more: bool
    some: bool


Asked = Verdict | Question | Count
Tested = TypeVar("Tested", Question, Count)


def answered(asked: Sequence[Asked], alpha: float) -> list[Verdict]:
    """The verdicts. What gates is tested together, and false alarms are as rare as alpha says over all of it.

    Lost seeds and measurements are adjusted each among themselves, at half of alpha if any seed was lost at all. Advice
    is another family, and costs what gates nothing.
    """
    found = [one for one in asked if isinstance(one, Verdict)]
    counts = [one for one in asked if isinstance(one, Count)]
    losses = [one for one in counts if one.some]
    found += [dataclasses.replace(one.asked, p=1.0) for one in counts if not one.some]
    share = alpha / 2 if losses else alpha
    for one, worse, better in _adjusted(losses):
        found.append(_counted(one, worse, better, share))
    for advice, own in ((False, share), (True, alpha)):
        family = [one for one in asked if isinstance(one, Question) and one.asked.advice == advice]
        for question, worse, better in _adjusted(family):
            found.append(_answer(question, worse, better, own, own / len(family)))
    return found


def _adjusted(family: Sequence[Tested]) -> Iterator[tuple[Tested, float, float]]:
    """Each with its p for worse and for better, by Holm's rule."""
    return zip(family, holm([one.worse for one in family]), holm([one.better for one in family]), strict=True)


def _answer(question: Question, worse: float, better: float, alpha: float, level: float) -> Verdict:
    found, metric, asked = question.found, question.metric, question.asked
    tolerance = asked.tolerance
    gain = found.value if metric.direction == "higher" else -found.value
    word: Word = "inconclusive"
    if metric.direction != "none" and gain < -tolerance and worse < alpha:
        word = "regressed"
    elif metric.direction != "none" and gain > tolerance and better < alpha:
        word = "improved"
    elif -tolerance <= found.low and found.high <= tolerance:
        word = "unchanged"
    smallest, seeds = math.nan, None
    if word == "inconclusive":
        smallest, seeds = smallest_effect(found, tolerance, level), seeds_needed(found, tolerance, level)
    return dataclasses.replace(
        asked, word=word, difference=found.value, low=found.low, high=found.high, p=worse, test=found.test,
        smallest=smallest, seeds=seeds,
    )  # fmt: skip


def _counted(count: Count, worse: float, better: float, alpha: float) -> Verdict:
    word = count.asked.word
    if word != "failed":
        if count.all_lost or worse < alpha:
            word = "regressed"
        elif count.more:
            word = "inconclusive"
        elif better < alpha:
            word = "improved"
    return dataclasses.replace(count.asked, word=word, p=worse)


def exit_code(verdicts: Sequence[Verdict], allowed: Sequence[str] = ()) -> int:
    """Of all that gates. A variant that is allowed may be worse, gone or another; failed it may not be."""
    codes = [
        EXITS.get(v.word, 0) for v in verdicts if not v.advice and (v.word == "failed" or v.variant not in allowed)
    ]
    return max(codes, default=0) if verdicts else 3
