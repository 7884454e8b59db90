"""Statistics over seeds: t-intervals, because the samples are small."""

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
    """Summary of n values: mean, half-width of its 95 % t-interval (NaN for n < 2), median and range."""

    n: int
    mean: float
    half_width: float
    median: float
    min: float
    max: float


def t_half_width(values: Sequence[float]) -> float:
    """Return the half-width of the 95 % t-interval of the mean; NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan
    with np.errstate(over="ignore"):  # infinite if the values of a diverged seed are huge
        return float(stdtrit(n - 1, 0.5 + CONFIDENCE / 2) * np.std(values, ddof=1) / math.sqrt(n))


def summarize_values(values: Sequence[float], diverged: int = 0, worst: float = math.nan) -> Interval:
    """Summarize values; in the median only, each of `diverged` seeds counts as `worst`, unless that is NaN."""
    ordered = sorted([*values, *([] if math.isnan(worst) else [worst] * diverged)])
    median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else math.nan
    if not len(values):
        return Interval(0, math.nan, math.nan, median, math.nan, math.nan)
    return Interval(
        len(values), float(np.mean(values)), t_half_width(values), median, float(min(values)), float(max(values))
    )


def log_ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> tuple[float, float]:
    """Return the logarithm of the ratio of two means over repeats, and its standard error by the delta method.

    Arrays of equal length are paired (the same noise); otherwise the two are independent.
    """
    influence = [values / values.mean() for values in (numerator, denominator)]
    if len(numerator) == len(denominator):
        se = float(np.std(influence[0] - influence[1], ddof=1)) / math.sqrt(len(numerator))
    else:
        se = math.hypot(*(float(np.std(values, ddof=1)) / math.sqrt(len(values)) for values in influence))
    return math.log(numerator.mean() / denominator.mean()), se


@dataclass(frozen=True)
class Slope:
    """Slope of log y against log x by least squares, with its 95 % interval (NaN for fewer than three points)."""

    value: float
    low: float
    high: float


def fit_slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """Fit a power law y ~ x^slope and return its exponent."""
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
    """Geometric mean over n seeds with its 95 % t-interval, computed on the logarithms (NaN for n < 2)."""

    n: int
    value: float
    low: float
    high: float


def geometric_mean(ratios: Sequence[float]) -> Ratio:
    """Return the geometric mean of positive ratios."""
    logarithms = np.log(np.asarray(ratios, dtype=float))
    middle, half = float(logarithms.mean()), t_half_width(list(logarithms))
    return Ratio(len(logarithms), math.exp(middle), math.exp(middle - half), math.exp(middle + half))
