"""The figures of trained models show what their notes say, from a table with known values."""

import statistics

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from benchmarks.gradient_studies.report import figures, tables
from benchmarks.gradient_studies.report.trained_figures import MAX_NATS_BELOW_BEST
from benchmarks.reporting.figures import style
from tests.benchmarks.gradient_studies.report.test_drawn_studies import SEEDS, assert_points, make_row

RATES, ELBO = (0.001, 0.01), {"vae": (-110.0, -104.0), "reinforce": (-170.0, -500.0), "iwae": (-100.0, -101.0)}


def make_trained():
    """Test ELBO of three seeds at two rates, of which validation chooses the first; and two checkpoints."""
    for name, elbos in ELBO.items():
        for rate, elbo in zip(RATES, elbos, strict=True):
            columns = {"setting": "learning_rate", "setting_value": rate, "parameters": ""}
            values = [elbo, elbo - 1, elbo - 6]
            for seed, value in enumerate(values):
                yield make_row("learning-rate", name, "elbo", value, seed, part="test", **columns)
            flag = "best" if rate == RATES[0] else ""
            for part in ("validation", "test"):
                yield make_row("learning-rate", name, "elbo", elbo - 1, None, part=part, flag=flag, **columns)
        for setting, cost in (("decoder_passes", 1000), ("seconds", 2.0)):
            for seed in SEEDS:
                for epoch in (1, 2):
                    columns = {
                        "setting": setting,
                        "setting_value": cost * epoch * (1 + seed),
                        "checkpoint": f"epoch {epoch}",
                    }
                    value = elbos[0] - 8 + 4 * epoch + seed**2
                    yield make_row("budget", name, "elbo", value, seed, part="test", parameters="", **columns)


@pytest.fixture(scope="module")
def trained():
    rows = tables.make_frame(list(make_trained()))
    with style.plt.rc_context(style.plot_style("ticks")):
        every = dict(figures.draw_figures(rows))
    yield rows, every
    for figure in every.values():
        style.plt.close(figure)


@pytest.mark.parametrize(
    ("figure", "panel", "names"),
    [("learning-rate", 0, ["vae", "reinforce", "iwae"]), ("learning-rate-all", 0, ["vae"]),
     ("learning-rate-all", 1, ["iwae"]), ("learning-rate-all", 2, ["reinforce"])],
)  # fmt: skip
def test_learning_rates_show_medians_ranges_and_a_ring_at_the_choice_of_validation(figure, panel, names, trained):
    axes, note = trained[1][figure].axes[panel], trained[1][figure].get_supxlabel()
    assert "Ring: learning rate that the validation split chose. Points: median; bars: range over seeds." in note
    assert_points(
        axes, {n: np.array([(r, e - 1, e - 6, e) for r, e in zip(RATES, ELBO[n], strict=True)]) for n in names}
    )
    (rings,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    np.testing.assert_allclose(rings.get_offsets(), [(RATES[0], ELBO[name][0] - 1) for name in names])


def test_the_title_compares_the_pathwise_elbo_with_reinforce_at_their_best_rates(trained):
    title = " ".join(trained[1]["learning-rate"].get_suptitle().split())
    assert title == "At the best learning rate of each, vae ends at -111.0 nats, REINFORCE at -171.0"


def test_values_far_below_the_best_are_hidden(trained):
    """The best value is -100, so -500 is hidden and -176 is visible."""
    note = " ".join(trained[1]["learning-rate"].get_supxlabel().split())
    assert f"Values over {MAX_NATS_BELOW_BEST} nats below the best are hidden." in note
    low, high = trained[1]["learning-rate"].axes[0].get_ylim()
    assert -500 < low <= -100 - MAX_NATS_BELOW_BEST
    assert high > -100


def test_budgets_show_medians_and_ranges_at_each_checkpoint(trained):
    rows, every = trained
    assert "each variant at its best learning rate" in every["budget"].get_suptitle()
    assert "Points: median; bars: range over seeds." in every["budget"].get_supxlabel()
    for axes, setting in zip(every["budget"].axes, ("decoder_passes", "seconds"), strict=True):
        points = {}
        for name in ELBO:
            chosen = rows[(rows["study"] == "budget") & (rows["variant"] == name) & (rows["setting"] == setting)]
            groups = [group for _, group in chosen.groupby("checkpoint")]
            points[name] = np.array([(g["setting_value"].mean(), statistics.median(g["value"]), g["value"].min(),
                                      g["value"].max()) for g in groups])  # fmt: skip
        assert_points(axes, points)
