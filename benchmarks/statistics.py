"""Statistics over seeds: small samples, so t-intervals; pure functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """Of n values: their mean, the half-width of its 95 % t-interval (NaN for n < 2), median and range."""

    n: int
    mean: float
    half_width: float
    median: float
    min: float
    max: float


def t_half_width(values: Sequence[float]) -> float:
    """t(n - 1, 97.5 %) s / sqrt(n); NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan
    with np.errstate(over="ignore"):  # a seed that exploded makes it infinite
        return float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * np.std(values, ddof=1) / math.sqrt(n))


def interval(values: Sequence[float], lost: int = 0, worst: float = math.nan) -> Interval:
    """The interval of the values; `lost` further ones count as `worst`, if that is a number, in the median alone."""
    ordered = sorted([*values, *([] if math.isnan(worst) else [worst] * lost)])
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else math.nan
    if not len(values):
        return Interval(0, math.nan, math.nan, middle, math.nan, math.nan)
    return Interval(
        len(values), float(np.mean(values)), t_half_width(values), middle, float(min(values)), float(max(values))
    )


def log_ratio(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """log(mean(ours) / mean(theirs)) and its standard error, by the delta method on the repeats' own influence.

    Repeats of equal number are paired (the same noise); others count as independent.
    """
    influence = [values / values.mean() for values in (ours, theirs)]
    if len(ours) == len(theirs):
        se = float(np.std(influence[0] - influence[1], ddof=1)) / math.sqrt(len(ours))
    else:
        se = math.hypot(*(float(np.std(values, ddof=1)) / math.sqrt(len(values)) for values in influence))
    return math.log(ours.mean() / theirs.mean()), se


@dataclass(frozen=True)
class Slope:
    """Of log y against log x by least squares, with its 95 % interval (NaN for fewer than three points)."""

    value: float
    low: float
    high: float


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """The exponent of the power law that the points follow best."""
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    centred = log_x - log_x.mean()
    value = float(centred @ log_y / (centred @ centred))
    if len(log_x) < 3:
        return Slope(value, math.nan, math.nan)
    residual = log_y - log_y.mean() - value * centred
    se = math.sqrt(residual @ residual / (len(log_x) - 2) / (centred @ centred))
    half = float(stdtrit(len(log_x) - 2, 0.5 + CONFIDENCE / 2)) * se
    return Slope(value, value - half, value + half)


@dataclass(frozen=True)
class Ratio:
    """A geometric mean over n seeds with its 95 % interval (NaN for n < 2), by a t-interval on the logarithms."""

    n: int
    value: float
    low: float
    high: float


def geometric(ratios: Sequence[float]) -> Ratio:
    """The geometric mean of positive ratios."""
    logarithms = np.log(np.asarray(ratios, dtype=float))
    middle, half = float(logarithms.mean()), t_half_width(list(logarithms))
    return Ratio(len(logarithms), math.exp(middle), math.exp(middle - half), math.exp(middle + half))
