"""Statistics over seeds: t-intervals, because the samples are small."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

CONFIDENCE = 0.95
LARGEST_EXPONENT = math.log(sys.float_info.max)


@dataclass(frozen=True)
class Estimate:
    """An estimate from n values with its 95 % interval (NaN if n is too small)."""

    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Interval:
    """Summary of n values: mean, half-width of its 95 % t-interval (NaN for n < 2), median and range.

    On a logarithmic scale the mean is the geometric mean, and the half-width is that of the mean logarithm.
    """

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


def summarize_values(
    values: Sequence[float], diverged: int = 0, worst: float = math.nan, logarithmic: bool = False
) -> Interval:
    """Summarize values; in the median only, each of `diverged` seeds counts as `worst`, unless that is NaN.

    logarithmic: compute mean and half-width on logarithms; NaN if a value is not positive, but 0 if all are 0.
    """
    ordered = sorted([*values, *([] if math.isnan(worst) else [worst] * diverged)])
    median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2 if ordered else math.nan
    low, high = (float(limit(values, default=math.nan)) for limit in (min, max))
    if logarithmic and high != 0:
        logarithms = [math.log(value) if value > 0 else math.nan for value in values]
        mean, half_width = math.exp(np.mean(logarithms)) if values else math.nan, t_half_width(logarithms)
    else:
        mean, half_width = float(np.mean(values)) if len(values) else math.nan, t_half_width(values)
    return Interval(len(values), mean, half_width, median, low, high)


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


def fit_slope(x: Sequence[float], y: Sequence[float]) -> Estimate:
    """Fit a power law y ~ x^slope by least squares of log y and return its exponent; NaN limits for two points."""
    log_x, log_y = np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float))
    centred = log_x - log_x.mean()
    value = float(centred @ log_y / (centred @ centred))
    if len(x) < 3:
        return Estimate(len(x), value, math.nan, math.nan)
    residual = log_y - log_y.mean() - value * centred
    se = math.sqrt(residual @ residual / (len(x) - 2) / (centred @ centred))
    half = float(stdtrit(len(x) - 2, 0.5 + CONFIDENCE / 2)) * se
    return Estimate(len(x), value, value - half, value + half)


def geometric_mean(ratios: Sequence[float]) -> Estimate:
    """Return the geometric mean of positive ratios with its 95 % t-interval, computed on the logarithms."""
    logarithms = np.log(np.asarray(ratios, dtype=float))
    middle, half = float(logarithms.mean()), t_half_width(list(logarithms))
    # an interval of exploded seeds may end beyond the largest number
    value, low, high = (
        math.inf if x >= LARGEST_EXPONENT else math.exp(x) for x in (middle, middle - half, middle + half)
    )
    return Estimate(len(logarithms), value, low, high)
