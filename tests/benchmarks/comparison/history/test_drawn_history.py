"""The history of the reference run: its rows and its figure show means with their intervals over seeds."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from benchmarks.comparison.history import history_figure, history_table
from benchmarks.reporting.figures import style
from tests.benchmarks.artists import read_error_bars
from tests.benchmarks.synthetic_runs import make_results

METRICS = ("elbo", "gradient_variance", "throughput")
RUNS = [
    make_results(seeds=range(6), commit="a", started="2026-01-01T00:00:00Z"),
    make_results(seeds=range(6), commit="b", started="2026-02-01T00:00:00Z", elbo=-92.0, seed=1),
    make_results(seeds=range(6), commit="c", started="2026-03-01T00:00:00Z", elbo=-88.0, seed=2),
]
RUNS = [rows.assign(throughput=4e4 * (1 + i / 10) + 100 * rows["seed"]) for i, rows in enumerate(RUNS)]


def intervals(metric):
    """Mean and half of the 95 % t-interval of each run: logarithms of the variance before training."""
    pairs = []
    for rows in RUNS:
        values = rows[rows["epoch"] == (0 if metric == "gradient_variance" else 3)][metric].to_numpy()
        values = np.log(values) if metric == "gradient_variance" else values
        low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
        pairs.append((values.mean(), (high - low) / 2))
    return np.array(pairs)


@pytest.fixture(scope="module")
def table():
    return history_table.build_history(RUNS[::-1])


@pytest.mark.parametrize("metric", METRICS)
def test_rows_have_mean_and_half_width_over_seeds(metric, table):
    rows = table[table["metric"] == metric]
    assert rows["commit"].tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(rows[["mean", "half_width"]].to_numpy(float), intervals(metric), rtol=1e-9)
    assert set(rows["seeds"]) == {6}


def test_panels_show_the_change_since_the_first_run_with_its_interval(table):
    """Speed in per cent; grey marks the tolerance; only a change beyond tolerance and interval has a colour."""
    figure = history_figure.draw_history(table, METRICS)
    assert "Change since the first run on mnist5k (grey: tolerance)" in figure.get_suptitle()
    colours = {"elbo": history_figure.BETTER, "gradient_variance": to_hex("0.35"), "throughput": to_hex("0.35")}
    for axes, metric, tolerance in zip(figure.axes, METRICS, (0.5, 0.2, 5.0), strict=True):
        pairs = intervals(metric)
        change, half = pairs[:, 0] - pairs[0, 0], pairs[:, 1]
        if metric == "throughput":
            change, half = 100 * change / pairs[0, 0], 100 * half / pairs[0, 0]
        (points,) = read_error_bars(axes).values()
        np.testing.assert_allclose(points, np.c_[range(3), change, change - half, change + half], atol=1e-9)
        (band,) = axes.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((-tolerance, tolerance))
        (text,) = axes.texts
        assert float(text.get_text()) == pytest.approx(change[-1], abs=0.0501)
        assert to_hex(text.get_color()) == colours[metric]
        low, high = axes.get_ylim()
        assert low < min(change - half)
        assert high > max(change + half)
    style.plt.close(figure)


def test_a_loss_is_red(table):
    figure = history_figure.draw_history(table[table["commit"] != "c"], ["elbo"])
    assert math.isclose(float(figure.axes[0].texts[0].get_text()), -2, abs_tol=0.3)
    assert figure.axes[0].texts[0].get_color() == history_figure.WORSE
    style.plt.close(figure)
