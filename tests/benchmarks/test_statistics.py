"""Statistics over seeds against scipy and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.statistics import geometric, interval, t_half_width


def test_the_interval_is_scipys():
    values = [1.0, 2.5, 3.0, 7.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert t_half_width(values) == pytest.approx((high - low) / 2)


def test_it_covers_the_mean_95_times_in_100():
    samples = np.random.default_rng(0).normal(3, 2, size=(4000, 5))
    covered = np.mean([abs(row.mean() - 3) <= t_half_width(row) for row in samples])
    assert abs(covered - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 4000)


def test_summaries_of_few_and_lost_values():
    assert interval([]).n == 0
    assert interval([], lost=2, worst=-math.inf).median == -math.inf
    assert math.isnan(interval([], lost=2, worst=-math.inf).mean)
    one = interval([4.0])
    assert (one.mean, one.median, one.min, one.max) == (4.0, 4.0, 4.0, 4.0)
    assert math.isnan(one.half_width)
    assert interval([1.0, 2.0, 3.0], lost=2, worst=-math.inf).median == 1.0
    assert interval([1.0, 2.0], lost=3, worst=math.inf).median == math.inf
    assert interval([1.0, 2.0], lost=3, worst=math.nan).median == 1.5
    assert interval([1.0, 2.0, 3.0], lost=2, worst=-math.inf).mean == 2.0


def test_ratios_are_averaged_on_the_logarithm():
    ratio = geometric([10.0, 1000.0, 100.0])
    half = t_half_width([math.log(10), math.log(1000), math.log(100)])
    assert ratio.value == pytest.approx(100)
    assert (ratio.low, ratio.high) == pytest.approx((100 * math.exp(-half), 100 * math.exp(half)))
    assert math.isnan(geometric([5.0]).low)
