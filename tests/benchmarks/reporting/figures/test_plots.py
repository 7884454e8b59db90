"""Figures from rows of results.csv, for complete and incomplete runs."""

import pandas as pd
import pytest

from benchmarks.reporting import report, results_table
from benchmarks.reporting.figures import curves, looks, style

CURVES = {"learning-curves", "gradient-variance", "learning-curves-all", "gradient-variance-all"}
IMAGES = {"reconstructions", "samples", "reconstructions-all", "samples-all", "codes", "hero"}


@pytest.fixture(scope="module")
def rows(finished):
    return results_table.read_results(finished.folder / "results.csv")


@pytest.fixture(scope="module")
def figures(rows):
    drawn = curves.draw_figures(rows)
    yield drawn
    for figure in drawn.values():
        style.plt.close(figure)


def test_every_figure_is_a_png_and_an_svg(finished):
    files = {path.name for path in (finished.folder / "figures").iterdir()}
    names = CURVES | IMAGES | {"two-networks"}
    assert files == {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    for path in (finished.folder / "figures").iterdir():
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG") if path.suffix == ".png" else b"<svg" in content[:2000]


def test_drawing_a_figure_again_gives_the_same_bytes(figures, finished, tmp_path):
    """Also with settings of the user's own, as from a matplotlibrc."""
    with style.plt.rc_context({"font.size": 20, "lines.linewidth": 9, "axes.grid": True, "savefig.bbox": "tight"}):
        for name, figure in figures.items():
            style.save_figure(figure, tmp_path / name)
            assert (tmp_path / f"{name}.svg").read_bytes() == (finished.folder / "figures" / f"{name}.svg").read_bytes()


def test_figures_of_metrics_need_no_cell_files(rows, tmp_path):
    paths = list(report.write_figures(rows, tmp_path))
    assert {path.stem for path in paths} == CURVES | {"two-networks"}


def test_axes_have_units_and_a_note(figures):
    left = figures["learning-curves"].axes[0]
    assert "nats" in left.get_ylabel()
    assert "epochs" in left.get_xlabel()
    assert "seconds" in figures["learning-curves"].axes[1].get_xlabel()
    for figure in figures.values():
        assert "2 seeds" in figure.get_supxlabel()
        assert "bands: minimum to maximum over seeds" in " ".join(figure.get_supxlabel().split())
    assert figures["gradient-variance"].axes[0].get_yscale() == "log"


def test_story_figures_have_at_most_six_lines_and_the_others_all_variants(rows, figures):
    with_elbo = set(rows[rows["elbo"].notna()]["variant"])
    for name, figure in figures.items():
        labels = [line.get_label() for line in figure.axes[0].get_lines()]
        assert len(labels) <= looks.MAX_STORY
        if name == "learning-curves-all":
            assert {line.get_label() for axes in figure.axes for line in axes.get_lines()} == with_elbo


@pytest.mark.parametrize("case", ["one variant", "no elbo", "all failed", "one seed", "only epoch 0"])
def test_incomplete_runs_are_figures(rows, tmp_path, case):
    chosen = {
        "one variant": rows[rows["variant"] == rows["variant"].iloc[-1]],
        "no elbo": rows[rows["elbo"].isna()],
        "all failed": rows.assign(status="failed"),
        "one seed": rows[rows["seed"] == 0],
        "only epoch 0": rows[rows["epoch"] == 0],
    }[case]
    count = len(list(report.write_figures(pd.DataFrame(chosen), tmp_path)))
    assert (count > 0) == (case not in ("no elbo", "all failed"))
