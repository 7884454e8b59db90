"""The figures of the gradient studies show what their notes say, from a table with known values."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.gradient_studies.columns import CHECKPOINTS
from benchmarks.gradient_studies.report import figures, tables
from benchmarks.reporting import plots
from tests.benchmarks.artists import read_error_bars, read_lines, read_unlabelled_lines

VARIANTS = {  # objective, estimator, baseline, draws
    "vae": ("elbo", "pathwise", "", 1),
    "vae-2": ("elbo", "pathwise", "", 2),
    "reinforce": ("elbo", "score_function", "none", 1),
    "reinforce-2": ("elbo", "score_function", "none", 2),
    "better": ("elbo", "score_function", "learned", 1),
    "iwae": ("iwae", "pathwise", "", 5),
}
BOUND = [name for name in VARIANTS if name != "iwae"]
SETTINGS = {"latent-dim": (2, 10, 50), "draws": (1, 4, 16), "batch-size": (10, 100), "posterior-scale": (0.1, 1.0),
            "counter-example": (0.5, 2.0)}  # fmt: skip
SEEDS, FLOOR = range(3), 0.05
SOURCE = np.random.default_rng(0)


def make_row(study, name, quantity, value, seed=0, **columns):
    objective, estimator, baseline, draws = VARIANTS.get(name, ("cosine", "", "", 1))
    common = {
        "study": study,
        "dataset": "digits",
        "seed": seed,
        "variant": name,
        "objective": objective,
        "draws": draws,
    }
    common |= {"estimator": estimator, "baseline": baseline, "parameters": "encoder", "layer": "", "part": "latent"}
    return common | {"checkpoint": "middle", "quantity": quantity, "value": value} | columns


def make_measurements():
    """Variances and ratios of each seed; a negative minibatch part, and ratios below the detection limit."""
    for name in VARIANTS:
        for seed in SEEDS:
            for checkpoint in CHECKPOINTS:
                columns = {"seed": seed, "checkpoint": checkpoint}
                yield make_row("training", name, "variance", SOURCE.lognormal(), **columns)
                yield make_row("training", name, "variance", 1e6, **columns, part="minibatch")
                yield make_row("training", name, "variance", 1e6, **columns, layer="trunk.0")
                yield make_row("training", name, "variance", 1e6, **columns, parameters="decoder")
                yield make_row("training", name, "exchange_rate", SOURCE.lognormal(), **columns)
            for study, settings in SETTINGS.items():
                for setting in settings:
                    columns = {"seed": seed, "setting_value": setting}
                    if study == "counter-example":
                        columns["parameters"] = "mean"
                    yield make_row(study, name, "variance", SOURCE.lognormal(), **columns)
                    if study == "batch-size":
                        yield make_row(study, name, "variance", SOURCE.lognormal(), **columns, part="total")
                        minibatch = -99.0 if (name, seed) == ("vae", 0) else SOURCE.lognormal()
                        if name != "iwae":
                            yield make_row(study, name, "variance", minibatch, **columns, part="minibatch")
                    if study == "draws":
                        yield make_row(study, name, "variance_x_passes", SOURCE.lognormal(), **columns)
                        yield make_row(study, name, "snr", SOURCE.uniform(-0.1, 0.3), **columns)
                        yield make_row(study, name, "snr_floor", FLOOR / setting, **columns)
    for k in SETTINGS["counter-example"]:
        for estimator in ("pathwise", "score_function"):
            columns = {"estimator": estimator, "parameters": "mean", "setting_value": k, "quantity": "variance"}
            for seed in SEEDS:
                yield make_row("counter-example", "closed form", seed=seed, value=k + len(estimator), **columns)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """With rows over seeds, as a command writes them."""
    folder = tmp_path_factory.mktemp("studies")
    tables.write_gradients(folder, [{"rows": list(make_measurements())}])
    return tables.read_gradients(folder / "gradients.csv")


@pytest.fixture(scope="module")
def panels(table):
    """The axes and the note of each figure."""
    with plots.plt.rc_context(plots.plot_style("ticks")):
        looks = plots.assign_looks(list(VARIANTS))
        every = dict(figures._draw_figures(table, looks))
    yield {name: (figure.axes, " ".join(figure.get_supxlabel().split())) for name, figure in every.items()}
    for figure in every.values():
        plots.plt.close(figure)


def expect_points(table, study, quantity, names, part="latent", keep=lambda rows: rows):
    """Geometric mean, minimum and maximum over seeds of the positive values, by variant."""
    rows = table[(table["study"] == study) & (table["quantity"] == quantity) & (table["part"] == part)]
    rows = keep(
        rows[rows["seed"].notna() & (rows["parameters"] == "encoder") & (rows["layer"] == "") & (rows["value"] > 0)]
    )
    points = {}
    for name in names:
        groups = list(rows[rows["variant"] == name].groupby("setting_value")["value"])
        points[name] = np.array([(x, stats.gmean(v), v.min(), v.max()) for x, v in groups])
    return {name: values for name, values in points.items() if len(values)}


def assert_points(axes, expected):
    bars = read_error_bars(axes)
    assert set(bars) == set(expected)
    for name, points in expected.items():
        np.testing.assert_allclose(bars[name], points, rtol=1e-9, err_msg=name)


def select_detectable(rows):
    return rows[rows["value"] > FLOOR / rows["setting_value"]]


def test_every_note_names_data_and_seeds(panels):
    assert set(panels) == {"training", *SETTINGS, "summary"}
    for _, note in panels.values():
        assert note.startswith("digits, 3 seeds. ")


def test_training_shows_geometric_means_with_ranges_and_rates_with_t_intervals(table, panels):
    (left, right), note = panels["training"]
    assert "Left: geometric mean and range over seeds." in note
    positions = table.assign(setting_value=table["checkpoint"].map(CHECKPOINTS.index))
    assert_points(left, expect_points(positions, "training", "variance", VARIANTS))
    assert "Right: geometric mean with 95 % t-interval over seeds." in note
    rates = table[(table["quantity"] == "exchange_rate") & table["seed"].notna()]
    assert [text.get_text() for text in right.texts[-1:]] == ["one pathwise draw"]
    (reference,) = read_unlabelled_lines(right, ":")
    assert set(reference[:, 1]) == {1}
    bars = read_error_bars(right)
    assert list(bars) == [name for name, (_, estimator, *_) in VARIANTS.items() if estimator != "pathwise"]
    for name, points in bars.items():
        for checkpoint, (x, *drawn_interval) in zip(CHECKPOINTS, points, strict=True):
            logs = np.log(rates[(rates["variant"] == name) & (rates["checkpoint"] == checkpoint)]["value"])
            interval = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
            np.testing.assert_allclose(drawn_interval, np.exp([logs.mean(), *interval]))
            assert round(x) == CHECKPOINTS.index(checkpoint)


@pytest.mark.parametrize("study", ["latent-dim", "posterior-scale", "batch-size"])
def test_a_study_shows_geometric_means_with_ranges_of_the_elbo_at_the_left(study, table, panels):
    (left, right), note = panels[study]
    assert "Points: geometric mean over seeds; bars: range over seeds." in note
    part = "total" if study == "batch-size" else "latent"
    assert_points(left, expect_points(table, study, "variance", BOUND, part))
    assert_points(right, expect_points(table, study, "variance", ["iwae"], part))


def test_dotted_lines_are_sums_of_the_latent_and_the_minibatch_part(table, panels):
    (left, right), note = panels["batch-size"]
    assert "Dotted: sum of the latent and the minibatch part." in note
    rows = table[(table["study"] == "batch-size") & table["part"].isin(["latent", "minibatch"]) & table["seed"].notna()]
    sums = rows[rows["quantity"] == "variance"].groupby(["variant", "setting_value", "seed"])["value"].sum()
    expected = [
        [(size, stats.gmean([v for v in sums[name, size] if v > 0])) for size in SETTINGS["batch-size"]]
        for name in BOUND
    ]
    lines = [line.tolist() for line in read_unlabelled_lines(left, ":")]
    np.testing.assert_allclose(sorted(lines), sorted(np.array(expected).tolist()))
    assert read_unlabelled_lines(right, ":") == []


def test_draws_show_the_work_and_the_ratios_above_the_detection_limit(table, panels):
    (left, right), _ = panels["draws"]
    assert_points(left, expect_points(table, "draws", "variance_x_passes", VARIANTS))
    assert_points(right, expect_points(table, "draws", "snr", VARIANTS, keep=select_detectable))
    (limit,) = read_unlabelled_lines(right, ":")
    np.testing.assert_allclose(limit, [(k, FLOOR / k) for k in SETTINGS["draws"]])


def test_the_counter_example_shows_closed_forms_and_means_over_seeds(table, panels):
    (axes,), note = panels["counter-example"]
    assert "Bands: closed forms; points: measured, mean over seeds." in note
    bands = [line.get_xydata() for line in axes.get_lines() if line.get_linewidth() == 4]
    for estimator, band in zip(("pathwise", "score_function"), bands, strict=True):
        np.testing.assert_allclose(band, [(k, k + len(estimator)) for k in SETTINGS["counter-example"]])
    rows = table[(table["study"] == "counter-example") & (table["variant"] != "closed form")]
    assert set(read_lines(axes)) == set(VARIANTS)
    for name, points in read_lines(axes).items():
        means = rows[rows["variant"] == name].groupby("setting_value")["value"].mean()
        np.testing.assert_allclose(points, np.c_[means.index, means])


def test_the_summary_shows_panels_of_the_other_figures(table, panels):
    (rates, scales, ratios, cosine), _ = panels["summary"]
    for label, points in read_error_bars(panels["training"][0][1]).items():
        np.testing.assert_array_equal(read_error_bars(rates)[label], points)
    assert_points(scales, expect_points(table, "posterior-scale", "variance", BOUND))
    assert_points(ratios, expect_points(table, "draws", "snr", ["iwae"], keep=select_detectable))
    counter_example = read_lines(panels["counter-example"][0][0])
    assert set(read_lines(cosine)) == {"vae", "reinforce"}
    for name, points in read_lines(cosine).items():
        np.testing.assert_array_equal(points, counter_example[name])
