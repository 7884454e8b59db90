"""Draw the codes of test images: vectors of an autoencoder beside distributions of a VAE, at equal scale."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.images import draw_strip, has_noise
from benchmarks.reporting.figures.looks import Looks
from benchmarks.reporting.image_arrays import Array, Arrays

CODES_SHOWN, MAX_CLASSES = 250, 10
STANDARD = "standard-normal"  # the prior whose circles are drawn


def choose_pair(rows: pd.DataFrame, by_variant: dict[str, tuple[int, Arrays]]) -> dict[str, tuple[int, Arrays]]:
    """Return one variant without latent noise and one with it, preferably the pathwise ELBO; of prior N(0, I) only."""
    others = set(rows.loc[~rows["prior"].astype(object).fillna(STANDARD).isin([STANDARD, ""]), "variant"])
    by_variant = {name: arrays for name, arrays in by_variant.items() if name not in others}
    preferred = set(rows.loc[(rows["objective"] == "elbo") & (rows["estimator"] == "pathwise"), "variant"])
    points = [name for name, (_, arrays) in by_variant.items() if not has_noise(arrays)]
    distributions = [name for name, (_, arrays) in by_variant.items() if has_noise(arrays)]
    distributions.sort(key=lambda name: name not in preferred)
    return {name: by_variant[name] for name in (*points[:1], *distributions[:1])}


def draw_codes(pair: dict[str, tuple[int, Arrays]], dataset: str, looks: Looks) -> Figure:
    """Draw codes in their two principal directions with circles of the prior, and a decoded line between two codes.

    All are drawn at equal scale. A third panel enlarges the codes with noise, if a model without noise is beside them.
    """
    with plt.rc_context(style.plot_style("white")):
        figure = plt.figure(figsize=(style.WIDTH, 3.9))
        projections = {name: _project(arrays) for name, (_, arrays) in pair.items()}
        limits = {name: 1.1 * max(2.0, np.abs(points).max()) for name, (points, *_) in projections.items()}
        views = [(name, max(limits.values())) for name in pair]
        views += [(name, limit) for name, limit in list(limits.items())[1:] if limit < max(limits.values())]
        grid = figure.add_gridspec(2, len(views), height_ratios=[5, 1])
        for column, (name, limit) in enumerate(views):
            axes = figure.add_subplot(grid[0, column])
            _draw_scatter(axes, pair[name][1], *projections[name])
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
            kind = "distributions" if has_noise(pair[name][1]) else "vectors"
            title = f"{name}: {kind}" if column < len(pair) else f"{name}, enlarged"
            axes.set_title(title, color=looks[name]["color"])
            axes.set_xlabel("first principal direction")
        figure.axes[0].set_ylabel("second principal direction\n(latent units)")
        for column, (_, arrays) in enumerate(pair.values()):
            last = column == len(pair) - 1
            strip = figure.add_subplot(grid[1, column:] if last else grid[1, column])
            draw_strip(strip, arrays["interpolation"])
            strip.set_xlabel("images between the codes marked ×", fontsize=style.SMALL)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        if 1 < len(labels) <= MAX_CLASSES:
            figure.legend(handles, labels, title="class", loc="outside right center", markerscale=2)
        title = "An autoencoder's codes are vectors anywhere; a VAE's are distributions near the prior"
        style.set_title(figure, title if len(pair) > 1 else "Codes of test images")
        seeds = ", ".join(sorted({str(seed) for seed, _ in pair.values()}))
        style.add_note(
            figure,
            f"{dataset}, seed {seeds}. Dashed circles: 1 and 2 standard deviations of the prior N(0, I). "
            "Ellipses: 1 standard deviation of q(z|x).",
        )
        return figure


def _project(arrays: Arrays) -> tuple[Array, Array, Array]:
    """Return the means of q, the marked ends and the directions: the two principal directions, origin at z = 0."""
    mean = arrays["codes"][:CODES_SHOWN]
    directions = np.zeros((2, mean.shape[1]))  # if there is one latent, the second direction stays 0
    main = np.linalg.svd(mean - mean.mean(0), full_matrices=False)[2][:2]
    directions[: len(main)] = main
    return mean @ directions.T, arrays["ends"] @ directions.T, directions


def _draw_scatter(axes: Axes, arrays: Arrays, points: Array, ends: Array, directions: Array) -> None:
    scale, labels = (arrays[key][:CODES_SHOWN] for key in ("scales", "labels"))
    palette = np.array([to_rgb(colour) for colour in style.CLASS_COLOURS])
    for radius in (1, 2):
        axes.add_patch(Circle((0, 0), radius, fill=False, color="0.3", linestyle="dashed", linewidth=0.9, zorder=4))
    if has_noise(arrays):
        axes.add_collection(_make_ellipses(axes, points, scale, directions, palette[labels % 10]))
    for label in np.unique(labels):
        members = labels == label
        axes.scatter(points[members, 0], points[members, 1], s=6, color=palette[label % 10], label=str(label))
    axes.scatter(ends[:, 0], ends[:, 1], marker="x", s=60, color="black", linewidths=1.8, zorder=5)


def _make_ellipses(axes: Axes, points: Array, scale: Array, directions: Array, colours: Array) -> EllipseCollection:
    covariance = np.einsum("ad,nd,bd->nab", directions, scale**2, directions)
    values, vectors = np.linalg.eigh(covariance)
    sizes, angles = 2 * np.sqrt(values.clip(min=0)), np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
    return EllipseCollection(
        sizes[:, 1], sizes[:, 0], angles, units="xy", offsets=points, transOffset=axes.transData,
        facecolors=[(*colour, 0.12) for colour in colours], edgecolors=[(*colour, 0.5) for colour in colours],
        linewidths=0.5,
    )  # fmt: skip
