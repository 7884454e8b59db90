"""Pictures of digits, samples and codes, from the arrays that cells left in the run folder. Needs no torch."""

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

from benchmarks import store
from benchmarks.plots import house_style

Array = NDArray[Any]
Arrays = dict[str, Array]
SHOWN = 250


def figures(rows: pd.DataFrame, folder: Path) -> dict[str, Figure]:
    """Reconstructions, samples and codes of one data set, of the first seed that left arrays for them."""
    last = rows[rows["status"] == "ok"].drop_duplicates(["variant", "seed"], keep="last")
    found: dict[str, Arrays] = {}
    for row in last.sort_values("seed", kind="stable").to_dict("records"):
        if row["variant"] not in found and (arrays := store.read_pictures(folder, str(row["cell_id"]))):
            found[row["variant"]] = arrays
    if not found:
        return {}
    found = {name: found[name] for name in dict.fromkeys(rows["variant"]) if name in found}
    where = f"{rows['dataset'].iloc[0]}, first seed"
    with plt.rc_context(house_style("white")):
        drawn = {"reconstructions": reconstructions(found, where), "samples": samples(found, where)}
        pair = _pair(rows, found)
        return drawn | ({"codes": codes(pair, where)} if pair else {})


def _random(arrays: Arrays) -> bool:
    return bool((arrays["scales"] > 0).any())


def _strip(axes: Axes, images: Array, label: str) -> None:
    """Images side by side in one row, with a label on the left."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=128)
    axes.imshow(np.concatenate(list(padded), axis=1), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    sns.despine(ax=axes, left=True, bottom=True)


def reconstructions(found: dict[str, Arrays], where: str) -> Figure:
    """One test digit a class, and what each variant makes of it: E[x|z] at one z drawn from q(z|x)."""
    figure, axes = plt.subplots(len(found) + 1, 1, figsize=(8, 0.75 * (len(found) + 1) + 0.4), squeeze=False)
    _strip(axes[0, 0], next(iter(found.values()))["originals"], "test digits")
    for panel, (name, arrays) in zip(axes[1:, 0], found.items(), strict=True):
        _strip(panel, arrays["reconstructions"], name)
    figure.suptitle(f"Reconstructions E[x|z], one z drawn from q(z|x) ({where})", x=0.01, ha="left", fontsize=11)
    return figure


def samples(found: dict[str, Arrays], where: str) -> Figure:
    """Decoded draws of the prior; where a variant has no prior, decoded N(0, I), and labelled so."""
    figure, axes = plt.subplots(len(found), 1, figsize=(11, 0.6 * len(found) + 0.5), squeeze=False)
    for panel, (name, arrays) in zip(axes[:, 0], found.items(), strict=True):
        label = name if _random(arrays) else f"{name}\n(decoded N(0, I): no prior)"
        _strip(panel, arrays["samples"][:20], label)
    figure.suptitle(f"Samples: E[x|z] of 20 draws z from the prior N(0, I) ({where})", x=0.01, ha="left", fontsize=11)
    return figure


def _pair(rows: pd.DataFrame, found: dict[str, Arrays]) -> dict[str, Arrays]:
    """A variant whose codes are points and, trained pathwise on the ELBO where there is one, one with distributions."""
    plain = set(rows.loc[(rows["objective"] == "elbo") & (rows["estimator"] == "pathwise"), "variant"])
    points = [name for name, arrays in found.items() if not _random(arrays)]
    spread = sorted((name for name, arrays in found.items() if _random(arrays)), key=lambda name: name not in plain)
    return {name: found[name] for name in (*points[:1], *spread[:1])}


def codes(pair: dict[str, Arrays], where: str) -> Figure:
    """The codes of test digits in their two main directions, and the decoded line between two of them."""
    figure = plt.figure(figsize=(5 * len(pair), 6.2))
    grid = figure.add_gridspec(2, len(pair), height_ratios=[5, 1])
    for column, (name, arrays) in enumerate(pair.items()):
        _scatter(figure.add_subplot(grid[0, column]), name, arrays)
        strip = figure.add_subplot(grid[1, column])
        _strip(strip, arrays["interpolation"], "")
        strip.set_xlabel("decoded codes on the line between the two marked digits (×)", fontsize=8)
    figure.suptitle(f"Latent codes of test digits ({where})", x=0.01, ha="left", fontsize=11)
    return figure


def _scatter(axes: Axes, name: str, arrays: Arrays) -> None:
    """Means, projected on their two principal directions; ellipses of one standard deviation where q has a width."""
    mean, scale, labels = (arrays[key][:SHOWN] for key in ("codes", "scales", "labels"))
    centre = mean.mean(0)
    directions = np.zeros((2, mean.shape[1]))  # with one latent the second direction is empty
    main = np.linalg.svd(mean - centre, full_matrices=False)[2][:2]
    directions[: len(main)] = main
    points, ends = (mean - centre) @ directions.T, (arrays["ends"] - centre) @ directions.T
    palette = np.array(sns.color_palette("colorblind", 10))
    colours = palette[labels % 10]
    if _random(arrays):
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
        own = labels == label
        axes.scatter(points[own, 0], points[own, 1], s=7, color=palette[label % 10], label=str(label))
    axes.scatter(ends[:, 0], ends[:, 1], marker="x", s=70, color="black", linewidths=2, zorder=3)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("first principal direction of the codes (latent units)")
    axes.set_ylabel("second principal direction (latent units)")
    axes.legend(title="digit", fontsize=7, title_fontsize=8, markerscale=2, ncols=2, loc="upper right", frameon=True)
    meaning = "a distribution each (ellipse: 1 sd)" if _random(arrays) else "a vector each"
    axes.set_title(f"{name}: {meaning}")
