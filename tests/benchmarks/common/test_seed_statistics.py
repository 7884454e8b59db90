"""Statistics over seeds against scipy and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.common.seed_statistics import fit_slope, geometric_mean, log_ratio, summarize_values, t_half_width
from tests.monte_carlo import error_z


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


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two():
    source = np.random.default_rng(1)
    for n in (1, 2, 5, 8):
        values = source.normal(size=n)
        summary = summarize_values(values)
        expected = (np.mean(values), np.median(values), min(values), max(values))
        assert (summary.mean, summary.median, summary.min, summary.max) == pytest.approx(expected)


@pytest.mark.parametrize("paired", [True, False])
def test_the_error_of_a_log_ratio_is_that_of_the_delta_method(paired):
    source = np.random.default_rng(2)
    a, b = source.gamma(3.0, size=30), source.gamma(5.0, size=30 if paired else 17)
    terms = [np.var(v, ddof=1) / len(v) / np.mean(v) ** 2 for v in (a, b)]
    covariance = np.cov(a, b)[0, 1] / 30 / np.mean(a) / np.mean(b) if paired else 0.0
    value, se = log_ratio(a, b)
    assert value == pytest.approx(np.log(np.mean(a) / np.mean(b)))
    assert se == pytest.approx(np.sqrt(sum(terms) - 2 * covariance))


def test_the_unpaired_error_is_the_spread_of_independent_samples():
    source = np.random.default_rng(4)
    pairs = [log_ratio(source.gamma(4.0, size=90), source.gamma(4.0, size=60)) for _ in range(1000)]
    values, errors = zip(*pairs, strict=True)
    assert abs(error_z(values, errors)) < 5


def test_the_interval_of_a_slope_equals_scipy():
    x, y = [1.0, 3.0, 10.0, 30.0, 70.0], [2.0, 5.0, 30.0, 60.0, 200.0]
    line, slope = stats.linregress(np.log(x), np.log(y)), fit_slope(x, y)
    half = stats.t.ppf(0.975, 3) * line.stderr
    expected = (5, line.slope, line.slope - half, line.slope + half)
    assert (slope.n, slope.value, slope.low, slope.high) == pytest.approx(expected)


def test_slope_is_the_exponent_of_a_power_law():
    x = [1.0, 2.0, 4.0, 8.0]
    exact = fit_slope(x, [3 * v**-1.5 for v in x])
    assert (exact.value, exact.low, exact.high) == pytest.approx((-1.5, -1.5, -1.5))
    noisy = fit_slope(x, [1.0, 2.0, 5.0, 8.0])
    assert noisy.low < noisy.value < noisy.high
    assert math.isnan(fit_slope(x[:2], [1.0, 2.0]).low)
