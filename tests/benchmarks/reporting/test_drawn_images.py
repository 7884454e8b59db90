"""The figures of images show what their titles say, from image arrays with known values."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.reporting import image_figures, plots

H, W = 3, 4
SOURCE = np.random.default_rng(0)
DIRECTION = np.array([[2.0, 0.5], [0.0, 0.3]])


def make_arrays(stochastic):
    """Random images; codes that spread most along a slanted line."""
    pixels = {
        name: SOURCE.integers(0, 256, (count, H, W)).astype(np.uint8)
        for name, count in (("originals", 10), ("reconstructions", 10), ("samples", 30), ("interpolation", 8))
    }
    codes = SOURCE.normal(size=(40, 2)) @ DIRECTION + 7
    scales = SOURCE.uniform(0.1, 0.5, (40, 2)) if stochastic else np.zeros((40, 2))
    labels = SOURCE.integers(0, 3, 40).astype(np.uint8)
    return pixels | {"codes": codes, "scales": scales, "labels": labels, "ends": codes[:2]}  # fmt: skip


CELLS = {("autoencoder", 0): False, ("iwae", 0): True, ("vae", 1): True, ("vae", 4): True}
ARRAYS = {f"{name}-{seed}": make_arrays(stochastic) for (name, seed), stochastic in CELLS.items()}
ROWS = pd.DataFrame([
    {"variant": name, "seed": seed, "status": "ok", "cell_id": f"{name}-{seed}", "dataset": "digits",
     "objective": {"iwae": "iwae", "vae": "elbo"}.get(name, "reconstruction"), "estimator": "pathwise"}
    for name, seed in [("vae", 4), ("vae", 0), ("vae", 1), ("autoencoder", 0), ("iwae", 0)]
])  # fmt: skip


@pytest.fixture(scope="module")
def figures_and_ellipses(tmp_path_factory):
    """The figures, and the arguments with which the ellipses were drawn. Seed 0 of `vae` has no arrays."""
    folder, ellipses = tmp_path_factory.mktemp("run"), []
    (folder / "cells").mkdir()
    for cell_id, arrays in ARRAYS.items():
        np.savez(folder / "cells" / f"{cell_id}.npz", **arrays)

    def record(widths, heights, angles, **options):
        ellipses.append((widths, heights, angles))
        return real(widths, heights, angles, **options)

    real = image_figures.EllipseCollection
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_figures, "EllipseCollection", record)
        figures = image_figures.draw_image_figures(ROWS, folder)
    yield figures, ellipses
    for figure in figures.values():
        plots.plt.close(figure)


def read_strip(axes):
    """The images of a strip, each without the grey line around it."""
    (image,) = axes.get_images()
    return np.stack(
        [part[1:-1, 1:-1] for part in np.split(image.get_array(), image.get_array().shape[1] // (W + 2), 1)]
    )


def test_each_row_has_the_images_of_the_first_seed_that_has_them(figures_and_ellipses):
    figures, _ = figures_and_ellipses
    for axes, cell_id in zip(figures["reconstructions"].axes[1:], ("vae-1", "autoencoder-0", "iwae-0"), strict=True):
        np.testing.assert_array_equal(read_strip(axes), ARRAYS[cell_id]["reconstructions"])
    np.testing.assert_array_equal(read_strip(figures["reconstructions"].axes[0]), ARRAYS["vae-1"]["originals"])
    assert "20 draws z from the prior" in figures["samples"].get_suptitle()
    for axes, cell_id in zip(figures["samples"].axes, ("vae-1", "autoencoder-0", "iwae-0"), strict=True):
        np.testing.assert_array_equal(read_strip(axes), ARRAYS[cell_id]["samples"][:20])
        label = axes.get_ylabel()
        assert label.split("\n")[0] == cell_id[:-2]
        assert ("no prior" in label) == (cell_id == "autoencoder-0")


def test_codes_are_one_model_without_noise_and_one_with_it_in_principal_directions(figures_and_ellipses):
    figures, ellipses = figures_and_ellipses
    panels = figures["codes"].axes[::2], figures["codes"].axes[1::2]
    assert len(ellipses) == 1
    for axes, strip, cell_id in zip(*panels, ("autoencoder-0", "vae-1"), strict=True):
        arrays = ARRAYS[cell_id]
        np.testing.assert_array_equal(read_strip(strip), arrays["interpolation"])
        labels = np.unique(arrays["labels"])
        scatters = {int(c.get_label()): c.get_offsets() for c in axes.collections if c.get_label() in map(str, labels)}
        centred = arrays["codes"] - arrays["codes"].mean(0)
        points = np.empty_like(centred)
        for label in labels:
            points[arrays["labels"] == label] = scatters[label]
        directions = np.linalg.lstsq(centred, points, rcond=None)[0]
        np.testing.assert_allclose(centred @ directions, points, atol=1e-9)
        np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-9)
        spread = np.cov(points.T)
        assert spread[0, 0] > spread[1, 1]
        assert abs(spread[0, 1]) < 1e-9
        crosses = axes.collections[-1].get_offsets()
        np.testing.assert_allclose(crosses, points[:2], atol=1e-9)
    widths, heights, angles = ellipses[0]
    assert "ellipse: 1 sd" in axes.get_title(loc="left")
    for width, height, angle, scale in zip(widths, heights, np.radians(angles), arrays["scales"], strict=True):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        covariance = turn @ np.diag([(width / 2) ** 2, (height / 2) ** 2]) @ turn.T
        np.testing.assert_allclose(covariance, directions.T @ np.diag(scale**2) @ directions, atol=1e-9)
