"""Statistics over seeds against scipy and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.common.seed_statistics import geometric_mean, summarize_values, t_half_width


def test_interval_equals_scipy():
    values = [1.0, 2.5, 3.0, 7.0]
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert t_half_width(values) == pytest.approx((high - low) / 2)


def test_interval_covers_the_mean_in_95_percent_of_samples():
    samples = np.random.default_rng(0).normal(3, 2, size=(4000, 5))
    covered = np.mean([abs(row.mean() - 3) <= t_half_width(row) for row in samples])
    assert abs(covered - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 4000)


def test_summaries_of_few_values_and_of_diverged_seeds():
    assert summarize_values([]).n == 0
    assert summarize_values([], diverged=2, worst=-math.inf).median == -math.inf
    assert math.isnan(summarize_values([], diverged=2, worst=-math.inf).mean)
    single = summarize_values([4.0])
    assert (single.mean, single.median, single.min, single.max) == (4.0, 4.0, 4.0, 4.0)
    assert math.isnan(single.half_width)
    assert summarize_values([1.0, 2.0, 3.0], diverged=2, worst=-math.inf).median == 1.0
    assert summarize_values([1.0, 2.0], diverged=3, worst=math.inf).median == math.inf
    assert summarize_values([1.0, 2.0], diverged=3, worst=math.nan).median == 1.5
    assert summarize_values([1.0, 2.0, 3.0], diverged=2, worst=-math.inf).mean == 2.0


def test_geometric_mean_averages_logarithms():
    ratio = geometric_mean([10.0, 1000.0, 100.0])
    half = t_half_width([math.log(10), math.log(1000), math.log(100)])
    assert ratio.value == pytest.approx(100)
    assert (ratio.low, ratio.high) == pytest.approx((100 * math.exp(-half), 100 * math.exp(half)))
    assert math.isnan(geometric_mean([5.0]).low)
