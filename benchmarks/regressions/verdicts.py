"""Verdicts: from differences to a word for each, and from those to one exit code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

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
    """Lost seeds that wait for their verdict. worse: p that they are lost more often. all_lost: where none was."""

    asked: Verdict
    worse: float
    all_lost: bool
    better: float = 1.0


Asked = Verdict | Question | Count


def answered(asked: Sequence[Asked], alpha: float) -> list[Verdict]:
    """The verdicts. What gates is one family of tests, adjusted together; advice is another, and costs it nothing."""
    found = [one for one in asked if isinstance(one, Verdict)]
    for advice in (False, True):
        family = [one for one in asked if not isinstance(one, Verdict) and one.asked.advice == advice]
        worse, better = holm([one.worse for one in family]), holm([one.better for one in family])
        for one, loss, gain in zip(family, worse, better, strict=True):
            if isinstance(one, Count):
                found.append(_counted(one, loss, alpha))
            else:
                found.append(_answer(one, loss, gain, alpha, alpha / len(family)))
    return found


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


def _counted(count: Count, p: float, alpha: float) -> Verdict:
    worse = count.all_lost or p < alpha
    word: Word = "regressed" if worse and count.asked.word != "failed" else count.asked.word
    return dataclasses.replace(count.asked, word=word, p=p)


def exit_code(verdicts: Sequence[Verdict], allowed: Sequence[str] = ()) -> int:
    """Of all that gates, but for the variants that are allowed to be worse."""
    codes = [EXITS.get(v.word, 0) for v in verdicts if not v.advice and v.variant not in allowed]
    return max(codes, default=0) if verdicts else 3
