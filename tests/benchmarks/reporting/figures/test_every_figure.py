"""Every figure of `plot` and `gradients`, and the slides, from the committed results: texts, and one look a variant."""

import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.legend import Legend

from benchmarks.gradient_studies.report import exchange_figures, one_dimension, tables
from benchmarks.gradient_studies.report import figures as gradient_figures
from benchmarks.reporting import report
from benchmarks.reporting.figures import looks, style, two_networks
from docs import fill, slides
from tests.benchmarks.artists import read_box, read_colours, read_texts

MIN_POINTS, MAX_INCHES = 8, 8.6  # of texts; of the width of a figure
HEIGHT, MIN_PIXELS, MAX_BYTES = 1080, 24, 1.2e6  # of a slide; of its texts; of all slides


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """Each figure with the texts that it draws, by name; those of slides begin with a number."""
    run, laboratory, figures = fill.read_run("default"), fill.read_laboratory(), {}

    def keep(figure, stem):
        figures[stem.name] = figure
        style.plt.close(figure)  # it can still be drawn; matplotlib warns if many are open
        return stem

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save_figure", keep)
        rates = exchange_figures.describe_draws_for_one(laboratory)
        list(report.write_figures(run, slides.RESULTS / "default", rates))
        gradient_figures.write_figures(laboratory, tmp_path_factory.mktemp("figures"))
    for name, figure in slides.draw_slides(run, laboratory).items():
        keep(figure, Path(name))
    with style.plt.rc_context(style.plot_style("ticks") | {"figure.constrained_layout.use": False}):
        texts = {name: read_texts(figure) for name, figure in figures.items()}
    return {name: (figure, texts[name]) for name, figure in figures.items()}


def test_every_figure_is_drawn(every):
    """All that the pages show, and the slides."""
    committed = {path.stem for name in ("default", "gradients") for path in (slides.RESULTS / name).rglob("*.svg")}
    assert committed | {path.stem for path in slides.FOLDER.glob("*.svg")} <= set(every)
    assert len(every) == 33


def test_no_text_is_smaller_than_8_points_or_24_pixels_of_a_slide(every):
    for name, (figure, texts) in every.items():
        assert texts, name
        assert figure.get_figwidth() <= MAX_INCHES, name  # so points are those at which it is shown
        for text in texts:
            assert text.get_fontsize() >= MIN_POINTS, (name, text.get_text())
            if name[0].isdigit():
                assert text.get_fontsize() / 72 / figure.get_figheight() * HEIGHT >= MIN_PIXELS, (name, text.get_text())


def test_no_text_is_over_another_text_or_a_legend_or_outside_the_figure(every):
    """Boxes are a pixel smaller on each side."""
    for name, (figure, texts) in every.items():
        legends = figure.findobj(Legend)
        inside = {id(text): legend for legend in legends for text in legend.findobj()}
        artists = [*texts, *legends]
        boxes = np.add([read_box(artist) for artist in artists], [1, 1, -1, -1])
        low, high = boxes[:, :2], boxes[:, 2:]
        for i in np.flatnonzero(((low < 0) | (high > figure.bbox.size)).any(1)):
            pytest.fail(f"{name}: outside: {artists[i]}")
        overlap = (np.minimum(high, high[:, None]) > np.maximum(low, low[:, None])).all(2)
        for i, j in np.argwhere(np.triu(overlap, 1)):
            assert inside.get(id(artists[i])) is artists[j], f"{name}: {artists[i]} over {artists[j]}"


def test_a_variant_has_the_same_colour_in_every_figure(every):
    names = list(dict.fromkeys(fill.read_run("default")["variant"]))
    expected = {(name, look["color"]) for name, look in looks.assign_looks(names).items()}
    colours = {name: read_colours(figure, texts, names) for name, (figure, texts) in every.items()}
    for name, pairs in colours.items():
        assert pairs <= expected, (name, pairs - expected)
        assert pairs or name == "one-dimension", name
    assert set.union(*colours.values()) == expected
    for estimator, variant in (("pathwise", "vae"), ("score_function", "reinforce-vae")):
        assert (variant, one_dimension.LOOKS[estimator][1]) in expected


def test_variants_with_spare_looks_have_those_of_all_variants_of_the_run():
    """Also in a figure that shows one of two names with the same first choice."""
    first, second = "mine-1", "mine-3"
    assert looks.assign_looks([first])[first] == looks.assign_looks([second])[second]
    rows = fill.read_run("default").replace({"variant": {"vae-2": first, "vae-blocked": second}})
    figure = two_networks.draw_two_networks(rows)
    expected = looks.assign_looks([first, second])[second]["color"]
    assert read_colours(figure, read_texts(figure), [second]) == {(second, expected)}
    style.plt.close(figure)


def test_the_bars_and_titles_of_slides_are_the_committed_results(every):
    laboratory, run = fill.read_laboratory(), fill.read_run("default")
    rates = tables.select_over_seeds(laboratory[laboratory["study"] == "training"], "exchange_rate")
    rates = rates.set_index(["variant", "checkpoint"])["value"]
    figure = every["2-draws-for-one"][0]
    (axes,) = figure.axes
    bars = [(bar.get_label(), bar.patches[0].get_bbox().x1) for bar in axes.containers]
    expected = [(name, rates[name, stage]) for name in slides.BARS for stage in ("end", "initial")]
    assert bars == [(name, pytest.approx(value)) for name, value in expected]
    best, without = (tables.format_draws(rates[name, "end"]) for name in ("reinforce-vae-loo", "reinforce-vae"))
    title = f"REINFORCE needs {best} draws for one with the best baseline, {without} without"
    assert title in " ".join(figure.get_suptitle().split())
    elbos = run[run["epoch"] == run["epoch"].max()].groupby("variant")["elbo"].median()
    gaps = [elbos["vae"] - elbos[name] for name in ("reinforce-vae-loo", "reinforce-vae", "vae-blocked")]
    assert f"{min(gaps):.0f} to {max(gaps):.0f} nats lower" in every["3-models"][0].get_suptitle()


def test_a_slide_is_the_same_bytes_again(tmp_path):
    for name in ("first", "second"):
        slides.save_slide(slides.draw_networks(fill.read_run("default")), tmp_path / name)
    for suffix in ("svg", "pdf"):
        content = (tmp_path / f"first.{suffix}").read_bytes()
        assert content == (tmp_path / f"second.{suffix}").read_bytes()
    size = re.search(r"<svg [^>]*>", (tmp_path / "first.svg").read_text()).group()
    assert 'width="1920" height="1080"' in size


def test_the_committed_slides_are_small():
    paths = list(slides.FOLDER.iterdir())
    assert sorted(path.suffix for path in paths) == [".pdf"] * 4 + [".svg"] * 4
    assert sum(path.stat().st_size for path in paths) < MAX_BYTES
