"""The figures of images show what their titles say, from image arrays with known values."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.reporting.figures import codes, images, looks, style

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
     "objective": {"iwae": "iwae", "vae": "elbo"}.get(name, "reconstruction"), "estimator": "pathwise",
     "prior": "standard-normal"}
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

    real = codes.EllipseCollection
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "EllipseCollection", record)
        by_variant = images.read_first_seeds(ROWS, folder)
        variant_looks = looks.assign_looks(list(by_variant))
        figures = images.draw_strips(by_variant, "digits", variant_looks)
        figures["codes"] = codes.draw_codes(codes.choose_pair(ROWS, by_variant), "digits", variant_looks)
    yield figures, ellipses
    for figure in figures.values():
        style.plt.close(figure)


def read_strip(axes):
    """The images of a strip, each without the line around it."""
    (image,) = axes.get_images()
    return np.stack(
        [part[1:-1, 1:-1] for part in np.split(image.get_array(), image.get_array().shape[1] // (W + 2), 1)]
    )


def test_each_row_has_the_images_of_the_first_seed_that_has_them(figures_and_ellipses):
    figures, _ = figures_and_ellipses
    for axes, cell_id in zip(figures["reconstructions"].axes[1:], ("vae-1", "autoencoder-0", "iwae-0"), strict=True):
        np.testing.assert_array_equal(read_strip(axes), ARRAYS[cell_id]["reconstructions"])
    np.testing.assert_array_equal(read_strip(figures["reconstructions"].axes[0]), ARRAYS["vae-1"]["originals"])
    assert "digits, seeds 0, 1." in figures["reconstructions"].get_supxlabel()
    for axes, cell_id in zip(figures["samples"].axes, ("vae-1", "autoencoder-0", "iwae-0"), strict=True):
        np.testing.assert_array_equal(read_strip(axes), ARRAYS[cell_id]["samples"][: images.SAMPLES_SHOWN])
        label = axes.get_ylabel()
        assert label.split(" ")[0] == cell_id[:-2]
        assert ("no prior" in label) == (cell_id == "autoencoder-0")


def test_codes_are_one_model_without_noise_and_one_with_it_in_principal_directions(figures_and_ellipses):
    """The origin is the mean of the prior. Both models have equal axes; the model with noise is also enlarged."""
    figures, ellipses = figures_and_ellipses
    first, second, *enlarged, strip_1, strip_2 = figures["codes"].axes
    assert len(ellipses) == 1 + len(enlarged)
    assert first.get_xlim() == first.get_ylim() == second.get_xlim() == second.get_ylim()
    for axes, strip, cell_id in ((first, strip_1, "autoencoder-0"), (second, strip_2, "vae-1")):
        arrays = ARRAYS[cell_id]
        np.testing.assert_array_equal(read_strip(strip), arrays["interpolation"])
        labels = np.unique(arrays["labels"])
        scatters = {int(c.get_label()): c.get_offsets() for c in axes.collections if c.get_label() in map(str, labels)}
        points = np.empty_like(arrays["codes"])
        for label in labels:
            points[arrays["labels"] == label] = scatters[label]
        directions = np.linalg.lstsq(arrays["codes"], points, rcond=None)[0]
        np.testing.assert_allclose(arrays["codes"] @ directions, points, atol=1e-9)
        np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-9)
        spread = np.cov(points.T)
        assert spread[0, 0] > spread[1, 1]
        assert abs(spread[0, 1]) < 1e-9
        crosses = axes.collections[-1].get_offsets()
        np.testing.assert_allclose(crosses, points[:2], atol=1e-9)
        circles = [(patch.center, patch.radius) for patch in axes.patches]
        assert circles == [((0, 0), 1), ((0, 0), 2)]
    widths, heights, angles = ellipses[0]
    assert "Ellipses: 1 standard deviation" in " ".join(figures["codes"].get_supxlabel().split())
    for width, height, angle, scale in zip(widths, heights, np.radians(angles), arrays["scales"], strict=True):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        covariance = turn @ np.diag([(width / 2) ** 2, (height / 2) ** 2]) @ turn.T
        np.testing.assert_allclose(covariance, directions.T @ np.diag(scale**2) @ directions, atol=1e-9)


def test_codes_are_those_of_models_with_the_prior_of_the_circles(figures_and_ellipses):
    by_variant = {"vae": (1, ARRAYS["vae-1"]), "iwae": (0, ARRAYS["iwae-0"])}
    rows = ROWS.assign(prior=ROWS["variant"].map({"vae": "uniform", "iwae": "standard-normal"}))
    assert list(codes.choose_pair(rows, by_variant)) == ["iwae"]
    assert codes.choose_pair(rows.assign(prior="learned-normal"), by_variant) == {}
