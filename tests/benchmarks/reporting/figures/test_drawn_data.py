"""Figures of a run show what their notes say: the data drawn, from results with known values."""

import statistics

import numpy as np
import pandas as pd
import pytest

from benchmarks.reporting import summaries
from benchmarks.reporting.figures import curves, style
from benchmarks.reporting.metrics import METRICS
from benchmarks.reporting.results_table import RESULT_COLUMNS
from tests.benchmarks.artists import read_bands, read_lines

SEEDS, EPOCHS = range(5), (0, 1, 4)
FINAL_ELBO = {"wide": -100.0, "narrow": -99.95, "collapsed": -9000.0}
ERROR = {"wide": 85.3, "narrow": 85.0, "collapsed": 120.0}


def make_rows():
    """Three variants with skewed values; seed 4 of `wide` diverges at the last epoch; `collapsed` has no noise."""
    source, rows = np.random.default_rng(0), []
    for name, final in FINAL_ELBO.items():
        for seed in SEEDS:
            skew = np.exp(seed) / 50 if name == "wide" else 0.1 * source.normal()
            for epoch in EPOCHS:
                elbo = {0: -550.0, 1: -200.0, 4: final}[epoch] - skew
                rows.append(dict.fromkeys(RESULT_COLUMNS) | {
                    "variant": name, "dataset": "digits", "seed": seed, "epoch": epoch, "status": "ok", "elbo": elbo,
                    "cell_id": f"{name}-{seed}", "train_seconds": epoch * (1.0 + seed**2), "kl": 20.0 + skew,
                    "reconstruction_error": ERROR[name] + 0.001 * seed, "throughput": 1e4 + 100 * seed,
                    "log_likelihood": elbo + 5, "active_units": 10.0,
                    "gradient_variance": 0.0 if name == "collapsed" else np.exp(3 * source.normal()),
                })  # fmt: skip
    table = pd.DataFrame(rows).astype({m.name: float for m in METRICS})
    diverged = (table["variant"] == "wide") & (table["seed"] == 4) & (table["epoch"] == 4)
    table.loc[diverged, "status"] = "diverged"
    table.loc[diverged, [m.name for m in METRICS]] = np.nan
    return table


@pytest.fixture(scope="module")
def rows():
    return make_rows()


@pytest.fixture(scope="module")
def figures(rows):
    drawn = curves.draw_figures(rows)
    yield drawn
    for figure in drawn.values():
        style.plt.close(figure)


def read_note(figure):
    return " ".join(figure.get_supxlabel().split())


@pytest.mark.parametrize(
    ("figure", "panel", "metric", "x"),
    [("learning-curves", 0, "elbo", "epoch"), ("learning-curves", 1, "elbo", "train_seconds"),
     ("gradient-variance", 0, "gradient_variance", "epoch")],
)  # fmt: skip
def test_lines_are_medians_and_bands_go_from_minimum_to_maximum(figure, panel, metric, x, rows, figures):
    """Also of the values that a seed had before it diverged."""
    assert "Lines: median over seeds; bands: minimum to maximum over seeds." in read_note(figures[figure])
    axes = figures[figure].axes[panel]
    lines, bands = read_lines(axes), read_bands(axes)
    assert list(lines) == [name for name in FINAL_ELBO if metric == "elbo" or name != "collapsed"]
    for (name, line), band in zip(lines.items(), bands, strict=True):
        groups = rows[(rows["variant"] == name) & (rows["status"] == "ok")]
        groups = groups[(groups["epoch"] > 0) | (metric != "elbo")].groupby("epoch")
        values = [statistics.median(v) for _, v in groups[metric]]
        positions = [statistics.median(v) for _, v in groups[x]]
        np.testing.assert_allclose(line, np.c_[positions, values])
        np.testing.assert_allclose(band, np.c_[positions, groups[metric].min(), groups[metric].max()])
    early = rows[(rows["variant"] == "wide") & (rows["epoch"] == 1)]["elbo"]
    if metric == "elbo":
        assert early.min() in bands[0][:, 1]


def test_labels_at_the_ends_have_the_order_of_the_last_values(figures):
    axes = figures["learning-curves"].axes[1]
    labels = {text.get_text(): text for text in axes.texts}
    assert set(labels) == set(FINAL_ELBO)
    assert [text.xyann[1] for text in map(labels.get, ("narrow", "wide", "collapsed"))] == sorted(
        (text.xyann[1] for text in labels.values()), reverse=True
    )
    for line in axes.get_lines():
        assert labels[line.get_label()].get_color() == line.get_color()


def test_what_the_notes_leave_out_is_not_visible(rows, figures):
    axes, note = figures["learning-curves"].axes[0], read_note(figures["learning-curves"])
    median = rows[(rows["variant"] == "collapsed") & (rows["epoch"] == 4)]["elbo"].median()
    assert f"Below the axis at the last epoch: collapsed ({median:,.0f} nats)." in note
    assert axes.get_ylim()[0] > median
    visible = rows[(rows["variant"] != "collapsed") & (rows["epoch"] == 4)]["elbo"].dropna()
    assert axes.get_ylim()[0] < visible.min() < visible.max() < axes.get_ylim()[1]
    assert "Not drawn, because the variance is 0: collapsed." in read_note(figures["gradient-variance"])


def test_a_seed_that_diverges_later_counts_with_its_value_at_an_earlier_checkpoint(rows):
    for epoch, diverged in ((1, []), (4, [-np.inf])):
        (summary,) = [s for s in summaries.summarize(rows, epoch) if s.variant == "wide"]
        values = rows[(rows["variant"] == "wide") & (rows["epoch"] == epoch)]["elbo"].dropna()
        elbo = summary.metrics["elbo"]
        assert elbo.median == statistics.median([*values, *diverged])
        assert (elbo.n, elbo.min, elbo.max) == (len(values), values.min(), values.max())
        assert elbo.mean == pytest.approx(values.mean())
        assert (summary.ok, summary.diverged) == (4, 1)
