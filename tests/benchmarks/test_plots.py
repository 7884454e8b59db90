"""Figures: drawn from rows alone, for whatever a run holds."""

import pandas as pd
import pytest

from benchmarks import galleries, plots, report, store


@pytest.fixture(scope="module")
def rows(finished):
    return store.read_results(finished.folder / "results.csv")


def test_every_figure_is_a_png_and_an_svg(finished):
    names = {"learning-curves", "gradient-variance", "comparison", "reconstructions", "samples", "codes"}
    found = {path.name for path in (finished.folder / "figures").iterdir()}
    assert found == {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    for path in (finished.folder / "figures").iterdir():
        head = path.read_bytes()[:300]
        assert head.startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in path.read_bytes()[:2000]


def test_figures_are_the_same_bytes_when_drawn_again(rows, finished, tmp_path):
    for name, figure in plots.figures(rows).items():
        plots.save(figure, tmp_path / name)
        assert (tmp_path / f"{name}.svg").read_bytes() == (finished.folder / "figures" / f"{name}.svg").read_bytes()


def test_figures_of_metrics_need_no_cells(rows, tmp_path):
    drawn = list(report.figures(rows, tmp_path))
    assert {path.stem for path in drawn} == {"learning-curves", "gradient-variance", "comparison"}


def test_axes_have_units_and_say_what_is_drawn(rows):
    drawn = plots.figures(rows)
    left = drawn["learning-curves"].axes[0]
    assert "nats" in left.get_ylabel()
    assert "epochs" in left.get_xlabel()
    assert "seconds" in drawn["learning-curves"].axes[1].get_xlabel()
    for name in ("learning-curves", "gradient-variance"):
        assert "2 seeds" in drawn[name].axes[0].get_title(loc="left")
        assert "bands: their range" in drawn[name].get_supxlabel()
    assert drawn["gradient-variance"].axes[0].get_yscale() == "log"
    for figure in drawn.values():
        plots.plt.close(figure)


def test_a_model_without_a_prior_is_labelled_so(rows, finished):
    figures = galleries.figures(rows, finished.folder)
    labels = [axes.get_ylabel() for axes in figures["samples"].axes]
    assert sum("no prior" in label for label in labels) == 1
    assert "no prior" in labels[0]
    titles = [axes.get_title(loc="left") for axes in figures["codes"].axes]
    assert any("a vector each" in title for title in titles)
    assert any("a distribution each" in title for title in titles)
    for figure in figures.values():
        plots.plt.close(figure)


def test_variants_keep_their_look_across_figures(rows):
    drawn = plots.figures(rows)
    colours = {}
    for name in ("learning-curves", "gradient-variance"):
        for line in drawn[name].axes[0].get_lines():
            assert colours.setdefault(line.get_label(), line.get_color()) == line.get_color()
    for figure in drawn.values():
        plots.plt.close(figure)


@pytest.mark.parametrize("case", ["one variant", "no elbo", "all failed", "one seed", "epoch 0 alone"])
def test_odd_runs_are_drawn_too(rows, tmp_path, case):
    chosen = {
        "one variant": rows[rows["variant"] == rows["variant"].iloc[-1]],
        "no elbo": rows[rows["elbo"].isna()],
        "all failed": rows.assign(status="failed"),
        "one seed": rows[rows["seed"] == 0],
        "epoch 0 alone": rows[rows["epoch"] == 0],
    }[case]
    assert list(report.figures(pd.DataFrame(chosen), tmp_path))
