"""The figures of the gradient studies show what their notes say, from a table with known values."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.gradient_studies.columns import CHECKPOINTS
from benchmarks.gradient_studies.report import exchange_figures, figures, one_dimension, tables
from benchmarks.reporting.figures import style
from tests.benchmarks.artists import read_error_bars, read_lines, read_unlabelled_lines
from tests.oracles import cosine, quadratic

VARIANTS = {  # objective, estimator, baseline, draws
    "vae": ("elbo", "pathwise", "", 1),
    "vae-2": ("elbo", "pathwise", "", 2),
    "reinforce": ("elbo", "score_function", "none", 1),
    "reinforce-2": ("elbo", "score_function", "none", 2),
    "better": ("elbo", "score_function", "learned", 1),
    "iwae": ("iwae", "pathwise", "", 5),
}
FAMILIES = [["vae", "vae-2"], ["iwae"], ["reinforce", "reinforce-2", "better"]]
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
    with style.plt.rc_context(style.plot_style("ticks")):
        every = dict(figures.draw_figures(table))
    yield {name: (figure.axes, " ".join(figure.get_supxlabel().split())) for name, figure in every.items()}
    for figure in every.values():
        style.plt.close(figure)


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
    with_families = {"latent-dim", "batch-size", "posterior-scale", "draws-for-one"}
    others = {"training", "draws", "counter-example", "one-dimension"}
    assert set(panels) == with_families | {f"{name}-all" for name in with_families} | others
    for name, (_, note) in panels.items():
        assert note.startswith("digits, 3 seeds. ") or name in ("counter-example", "one-dimension")


def test_training_shows_geometric_means_with_ranges_by_family(table, panels):
    axes, note = panels["training"]
    assert "Points: geometric mean over seeds; bars: range over seeds." in note
    positions = table.assign(setting_value=table["checkpoint"].map(CHECKPOINTS.index))
    for panel, names in zip(axes, FAMILIES, strict=True):
        assert_points(panel, expect_points(positions, "training", "variance", names))


def test_the_draws_for_one_are_geometric_means_with_t_intervals(table, panels):
    (axes,), note = panels["draws-for-one"]
    assert "Points: geometric mean; bars: 95 % t-interval over seeds. Dotted: one pathwise draw" in note
    rates = table[(table["quantity"] == "exchange_rate") & table["seed"].notna()]
    (reference,) = read_unlabelled_lines(axes, ":")
    assert set(reference[:, 1]) == {1}
    bars = read_error_bars(axes)
    assert list(bars) == [name for name, (_, estimator, *_) in VARIANTS.items() if estimator != "pathwise"]
    for name, points in bars.items():
        for checkpoint, (x, *drawn_interval) in zip(CHECKPOINTS, points, strict=True):
            logs = np.log(rates[(rates["variant"] == name) & (rates["checkpoint"] == checkpoint)]["value"])
            interval = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
            np.testing.assert_allclose(drawn_interval, np.exp([logs.mean(), *interval]))
            assert round(x) == CHECKPOINTS.index(checkpoint)


@pytest.mark.parametrize("study", ["latent-dim", "posterior-scale", "batch-size"])
def test_a_study_shows_geometric_means_with_ranges_for_the_story_and_by_family(study, table, panels):
    (axes,), note = panels[study]
    assert "Points: geometric mean over seeds; bars: range over seeds." in note
    part = "total" if study == "batch-size" else "latent"
    assert_points(axes, expect_points(table, study, "variance", VARIANTS, part))
    for panel, names in zip(panels[f"{study}-all"][0], FAMILIES, strict=True):
        assert_points(panel, expect_points(table, study, "variance", names, part))


def test_draws_show_the_work_of_the_elbo_and_the_ratios_of_other_bounds_above_the_detection_limit(table, panels):
    (work, ratios), _ = panels["draws"]
    assert_points(work, expect_points(table, "draws", "variance_x_passes", BOUND))
    limit = read_lines(ratios)["detection limit"]
    np.testing.assert_allclose(limit, [(k, FLOOR / k) for k in SETTINGS["draws"]])
    assert_points(ratios, expect_points(table, "draws", "snr", ["iwae"], keep=select_detectable))


def test_the_counter_example_shows_closed_forms_and_means_over_seeds(table, panels):
    (axes,), note = panels["counter-example"]
    assert "Lines: closed forms; points: measured, mean over seeds." in note
    lines = read_lines(axes)
    for estimator, name in (("pathwise", "reparameterized, exact"), ("score_function", "REINFORCE, exact")):
        expected = [(k, k + len(estimator)) for k in SETTINGS["counter-example"]]
        np.testing.assert_allclose(lines.pop(name), expected)
    rows = table[(table["study"] == "counter-example") & (table["variant"] != "closed form")]
    assert set(lines) == {"vae", "reinforce"}
    for name, points in lines.items():
        means = rows[rows["variant"] == name].groupby("setting_value")["value"].mean()
        np.testing.assert_allclose(points, np.c_[means.index, means])


def test_single_draws_of_both_estimators_have_the_closed_forms_mean_and_variance():
    """Of E[(z - 2)²], z ~ N(0, 1), in the mean: gradient -4; variances 4 and 87."""
    f = quadratic(2.0)
    exact = {
        "pathwise": f.pathwise_variance(0.0, 1.0),
        "score_function": f.score_variance(0.0, 1.0),
    }
    assert exact == pytest.approx({"pathwise": 4, "score_function": 87})
    assert (one_dimension.PATHWISE_VARIANCE, one_dimension.SCORE_VARIANCE) == (4, 87)
    for estimator, gradients in one_dimension.draw_square_gradients().items():
        se = gradients.std() / len(gradients) ** 0.5
        assert abs(gradients.mean() - one_dimension.SQUARE_GRADIENT) < 5 * se
        squares = (gradients - gradients.mean()) ** 2
        assert abs(squares.mean() - exact[estimator]) < 5 * squares.std() / len(squares) ** 0.5


def test_the_variances_for_cosines_are_the_oracles(panels):
    axes = panels["one-dimension"][0][1]
    lines = read_lines(axes)
    for name, variance in (("reparameterized", "pathwise_variance"), ("REINFORCE", "score_variance")):
        for k, value in lines[name][::40]:
            assert value == pytest.approx(getattr(cosine(k), variance)(0.0, 1.0))


def test_the_draws_for_one_in_words_are_the_lowest_and_highest_of_the_stages(table):
    """Whole numbers below 100, three digits above; "biased" for a large bias_z."""
    values = dict(zip(CHECKPOINTS, (36.7, 46.4, 41.4, 47.7), strict=True))
    rates = [make_row("training", "better", "exchange_rate", v, None, checkpoint=c) for c, v in values.items()]
    rates += [
        make_row("training", "reinforce", "exchange_rate", 1000 * v, None, checkpoint=c) for c, v in values.items()
    ]
    rates += [make_row("training", "vae", "exchange_rate", 1.0, None, checkpoint=c) for c in CHECKPOINTS]
    biases = [make_row("training", name, "bias_z", z) for name, z in (("vae-2", 9.0), ("better", 2.0))]
    texts = exchange_figures.describe_draws_for_one(tables.make_frame([*rates, *biases])).texts
    assert texts == {"better": "37 to 48", "reinforce": "36,700 to 47,700", "vae": "1", "vae-2": "biased"}
