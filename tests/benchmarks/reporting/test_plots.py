"""Figures from rows of results.csv, for complete and incomplete runs."""

import pandas as pd
import pytest

from benchmarks.common.seed_statistics import summarize_values
from benchmarks.reporting import image_figures, plots, report, results_table
from benchmarks.reporting.metrics import METRIC_BY_NAME, METRICS
from benchmarks.reporting.summaries import Summary


@pytest.fixture(scope="module")
def rows(finished):
    return results_table.read_results(finished.folder / "results.csv")


def test_every_figure_is_a_png_and_an_svg(finished):
    names = {"learning-curves", "gradient-variance", "comparison", "reconstructions", "samples", "codes"}
    files = {path.name for path in (finished.folder / "figures").iterdir()}
    assert files == {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    for path in (finished.folder / "figures").iterdir():
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in content[:2000]


def test_drawing_a_figure_again_gives_the_same_bytes(rows, finished, tmp_path):
    for name, figure in plots.draw_figures(rows).items():
        plots.save_figure(figure, tmp_path / name)
        assert (tmp_path / f"{name}.svg").read_bytes() == (finished.folder / "figures" / f"{name}.svg").read_bytes()


def test_figures_of_metrics_need_no_cell_files(rows, tmp_path):
    paths = list(report.write_figures(rows, tmp_path))
    assert {path.stem for path in paths} == {"learning-curves", "gradient-variance", "comparison"}


def test_axes_have_units_and_a_note(rows):
    figures = plots.draw_figures(rows)
    left = figures["learning-curves"].axes[0]
    assert "nats" in left.get_ylabel()
    assert "epochs" in left.get_xlabel()
    assert "seconds" in figures["learning-curves"].axes[1].get_xlabel()
    for name in ("learning-curves", "gradient-variance"):
        assert "2 seeds" in figures[name].axes[0].get_title(loc="left")
        assert "bands: minimum to maximum over seeds" in figures[name].get_supxlabel()
    assert figures["gradient-variance"].axes[0].get_yscale() == "log"
    for figure in figures.values():
        plots.plt.close(figure)


def test_a_model_without_a_prior_is_labelled(rows, finished):
    figures = image_figures.draw_image_figures(rows, finished.folder)
    labels = [axes.get_ylabel() for axes in figures["samples"].axes]
    assert sum("no prior" in label for label in labels) == 1
    assert "no prior" in labels[0]
    titles = [axes.get_title(loc="left") for axes in figures["codes"].axes]
    assert any("codes are vectors" in title for title in titles)
    assert any("codes are distributions" in title for title in titles)
    for figure in figures.values():
        plots.plt.close(figure)


def test_variants_keep_their_look_across_figures(rows):
    figures = plots.draw_figures(rows)
    colours = {}
    for name in ("learning-curves", "gradient-variance"):
        for line in figures[name].axes[0].get_lines():
            assert colours.setdefault(line.get_label(), line.get_color()) == line.get_color()
    for figure in figures.values():
        plots.plt.close(figure)


@pytest.mark.parametrize("case", ["one variant", "no elbo", "all failed", "one seed", "only epoch 0"])
def test_incomplete_runs_are_figures(rows, tmp_path, case):
    chosen = {
        "one variant": rows[rows["variant"] == rows["variant"].iloc[-1]],
        "no elbo": rows[rows["elbo"].isna()],
        "all failed": rows.assign(status="failed"),
        "one seed": rows[rows["seed"] == 0],
        "only epoch 0": rows[rows["epoch"] == 0],
    }[case]
    assert list(report.write_figures(pd.DataFrame(chosen), tmp_path))


def test_the_best_variants_are_within_the_tolerance_of_the_best_mean():
    means = {"a": {"elbo": -90.0, "kl": 3.0}, "b": {"elbo": -90.4, "kl": 2.0}, "c": {"elbo": -95.0, "kl": 1.0}}
    rows = []
    for name, values in means.items():
        metrics = {metric.name: summarize_values([]) for metric in METRICS}
        metrics |= {metric: summarize_values([value]) for metric, value in values.items()}
        metrics["reconstruction_error"] = summarize_values([-values["elbo"]])
        rows.append(Summary("mnist5k", name, "bernoulli", "mnist5k", 5, 1, 0, 0, metrics))
    for name, best in (("elbo", [5, 6]), ("reconstruction_error", [5, 6]), ("kl", []), ("reconstruction_mse", [])):
        assert list(plots._find_best([METRIC_BY_NAME[name]], rows, 5)) == [(line, 2) for line in best], name
