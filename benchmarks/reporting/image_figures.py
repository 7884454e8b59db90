"""Draw reconstructions, samples and latent codes from the .npz files of cells. Does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.common.errors import UserError
from benchmarks.reporting.plots import plot_style

Array = NDArray[Any]
Arrays = dict[str, Array]
CODES_SHOWN = 250


def read_image_arrays(folder: Path, cell_id: str) -> Arrays:
    """Read the image arrays of a cell, by name; empty if it has no .npz file."""
    path = folder / "cells" / f"{cell_id}.npz"
    if not path.is_file():
        return {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a damaged archive raises one of many types
        raise UserError(f"{path} is damaged; delete it and its .json, and run the cell again") from error


def draw_image_figures(rows: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Draw reconstructions, samples and codes of one data set, by file name.

    Each variant shows its first seed that has image arrays. Empty if no cell has them.
    """
    by_variant: dict[str, Arrays] = {}
    for name, variant_rows in rows.groupby("variant", sort=False):
        cells = variant_rows[variant_rows["status"] == "ok"].drop_duplicates("seed", keep="last")
        for cell_id in cells.sort_values("seed", kind="stable")["cell_id"]:
            if arrays := read_image_arrays(folder, cell_id):
                by_variant[str(name)] = arrays
                break
    if not by_variant:
        return {}
    subject = f"{rows['dataset'].iloc[0]}, first seed"
    with plt.rc_context(plot_style("white")):
        return {
            "reconstructions": draw_reconstructions(by_variant, subject),
            "samples": draw_samples(by_variant, subject),
            "codes": draw_codes(_choose_pair(rows, by_variant), subject),
        }


def _is_stochastic(arrays: Arrays) -> bool:
    return bool((arrays["scales"] > 0).any())


def _draw_strip(axes: Axes, images: Array, label: str) -> None:
    """Draw images side by side in one row, with a label on the left."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=128)
    axes.imshow(np.concatenate(list(padded), axis=1), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    sns.despine(ax=axes, left=True, bottom=True)


def draw_reconstructions(by_variant: dict[str, Arrays], subject: str) -> Figure:
    """Draw one test image per class, and below it E[x|z] of each variant, at one z drawn from q(z|x)."""
    count = len(by_variant) + 1
    figure, axes = plt.subplots(count, 1, figsize=(8, 0.75 * count + 0.4), squeeze=False)
    _draw_strip(axes[0, 0], next(iter(by_variant.values()))["originals"], "test images")
    for panel, (name, arrays) in zip(axes[1:, 0], by_variant.items(), strict=True):
        _draw_strip(panel, arrays["reconstructions"], name)
    figure.suptitle(f"Reconstructions E[x|z], one z drawn from q(z|x) ({subject})", x=0.01, ha="left", fontsize=11)
    return figure


def draw_samples(by_variant: dict[str, Arrays], subject: str) -> Figure:
    """Draw E[x|z] for z from N(0, I), the prior; models without a prior are labelled."""
    figure, axes = plt.subplots(len(by_variant), 1, figsize=(11, 0.6 * len(by_variant) + 0.5), squeeze=False)
    for panel, (name, arrays) in zip(axes[:, 0], by_variant.items(), strict=True):
        label = name if _is_stochastic(arrays) else f"{name}\n(has no prior; z from N(0, I))"
        _draw_strip(panel, arrays["samples"][:20], label)
    figure.suptitle(f"Samples: E[x|z] of 20 draws z from the prior N(0, I) ({subject})", x=0.01, ha="left", fontsize=11)
    return figure


def _choose_pair(rows: pd.DataFrame, by_variant: dict[str, Arrays]) -> dict[str, Arrays]:
    """Return one variant without latent noise and one with it, preferably the pathwise ELBO."""
    preferred = set(rows.loc[(rows["objective"] == "elbo") & (rows["estimator"] == "pathwise"), "variant"])
    points = [name for name, arrays in by_variant.items() if not _is_stochastic(arrays)]
    distributions = [name for name, arrays in by_variant.items() if _is_stochastic(arrays)]
    distributions.sort(key=lambda name: name not in preferred)
    return {name: by_variant[name] for name in (*points[:1], *distributions[:1])}


def draw_codes(pair: dict[str, Arrays], subject: str) -> Figure:
    """Draw the codes of test images in their two principal directions, and a decoded line between two codes."""
    figure = plt.figure(figsize=(5 * len(pair), 6.2))
    grid = figure.add_gridspec(2, len(pair), height_ratios=[5, 1])
    for column, (name, arrays) in enumerate(pair.items()):
        _draw_scatter(figure.add_subplot(grid[0, column]), name, arrays)
        strip = figure.add_subplot(grid[1, column])
        _draw_strip(strip, arrays["interpolation"], "")
        strip.set_xlabel("decoded points on the line between the two codes marked ×", fontsize=8)
    figure.suptitle(f"Latent codes of test images ({subject})", x=0.01, ha="left", fontsize=11)
    return figure


def _draw_scatter(axes: Axes, name: str, arrays: Arrays) -> None:
    """Project the means of q on their two principal directions; ellipses show one standard deviation of q."""
    mean, scale, labels = (arrays[key][:CODES_SHOWN] for key in ("codes", "scales", "labels"))
    centre = mean.mean(0)
    directions = np.zeros((2, mean.shape[1]))  # if there is one latent, the second direction stays 0
    main = np.linalg.svd(mean - centre, full_matrices=False)[2][:2]
    directions[: len(main)] = main
    points, ends = (mean - centre) @ directions.T, (arrays["ends"] - centre) @ directions.T
    palette = np.array(sns.color_palette("colorblind", 10))
    colours = palette[labels % 10]
    if _is_stochastic(arrays):
        covariance = np.einsum("ad,nd,bd->nab", directions, scale**2, directions)
        values, vectors = np.linalg.eigh(covariance)
        sizes, angles = 2 * np.sqrt(values.clip(min=0)), np.degrees(np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1]))
        ellipses = EllipseCollection(
            sizes[:, 1], sizes[:, 0], angles, units="xy", offsets=points, transOffset=axes.transData,
            facecolors=[(*colour, 0.12) for colour in colours], edgecolors=[(*colour, 0.5) for colour in colours],
            linewidths=0.5,
        )  # fmt: skip
        axes.add_collection(ellipses)
        axes.margins(0.1)
    for label in np.unique(labels):
        members = labels == label
        axes.scatter(points[members, 0], points[members, 1], s=7, color=palette[label % 10], label=str(label))
    axes.scatter(ends[:, 0], ends[:, 1], marker="x", s=70, color="black", linewidths=2, zorder=3)
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(title="class", fontsize=7, title_fontsize=8, markerscale=2, ncols=2, loc="upper right", frameon=True)
    kind = "codes are distributions (ellipse: 1 sd)" if _is_stochastic(arrays) else "codes are vectors"
    axes.set_title(f"{name}: {kind}")
    axes.set_xlabel("first principal direction of the codes (latent units)")
    axes.set_ylabel("second principal direction of the codes (latent units)")
