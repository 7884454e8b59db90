"""Draw reconstructions and samples as strips of images."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.reporting.figures import style
from benchmarks.reporting.figures.looks import Looks, choose_story
from benchmarks.reporting.image_arrays import Array, Arrays, read_image_arrays

SAMPLES_SHOWN = 12


def read_first_seeds(rows: pd.DataFrame, folder: Path) -> dict[str, tuple[int, Arrays]]:
    """Return the first seed that has image arrays, and these, by variant; empty if no cell has them."""
    by_variant: dict[str, tuple[int, Arrays]] = {}
    for name, variant_rows in rows.groupby("variant", sort=False):
        cells = variant_rows[variant_rows["status"] == "ok"].drop_duplicates("seed", keep="last")
        for row in cells.sort_values("seed", kind="stable").itertuples():
            if arrays := read_image_arrays(folder, str(row.cell_id)):
                by_variant[str(name)] = int(row.seed), arrays
                break
    return by_variant


def has_noise(arrays: Arrays) -> bool:
    """Whether the codes are distributions: the approximate posterior has a scale above 0."""
    return bool((arrays["scales"] > 0).any())


def draw_strip(axes: Axes, images: Array, label: str = "", colour: str = "black") -> None:
    """Draw images side by side in one row, with a label on the left in its colour."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))[: images.ndim], constant_values=0)
    axes.imshow(np.concatenate(list(padded), axis=1), cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=style.SMALL, color=colour)
    axes.spines[:].set_visible(False)


def draw_strips(by_variant: dict[str, tuple[int, Arrays]], dataset: str, looks: Looks) -> dict[str, Figure]:
    """Return reconstructions and samples, of the story's variants and of all, by file name."""
    story = choose_story(list(by_variant))
    groups = {"": {name: by_variant[name] for name in story}} | (
        {"-all": by_variant} if len(story) < len(by_variant) else {}
    )
    with plt.rc_context(style.plot_style("white")):
        return {
            f"{name}{suffix}": draw(group, dataset, looks)
            for suffix, group in groups.items()
            for name, draw in (("reconstructions", draw_reconstructions), ("samples", draw_samples))
        }


def draw_reconstructions(by_variant: dict[str, tuple[int, Arrays]], dataset: str, looks: Looks) -> Figure:
    """Draw one test image per class, and below it E[x|z] of each variant, at one z drawn from q(z|x)."""
    strips = [("test images", next(iter(by_variant.values()))[1]["originals"], "black")]
    strips += [(name, arrays["reconstructions"], looks[name]["color"]) for name, (_, arrays) in by_variant.items()]
    return _draw_strips(
        strips,
        "Reconstructions of test images",
        f"E[x|z] at one z drawn from q(z|x). {_tell_seeds(by_variant, dataset)}",
    )


def draw_samples(by_variant: dict[str, tuple[int, Arrays]], dataset: str, looks: Looks) -> Figure:
    """Draw E[x|z] for z from the prior of each model; models without one are labelled."""
    strips = [
        (name if has_noise(arrays) else f"{name} (no prior)", arrays["samples"][:SAMPLES_SHOWN], looks[name]["color"])
        for name, (_, arrays) in by_variant.items()
    ]
    note = f"E[x|z] for z drawn from the prior; from N(0, I) without one. {_tell_seeds(by_variant, dataset)}"
    return _draw_strips(strips, "New images: decoded draws from the prior", note)


def _draw_strips(strips: list[tuple[str, Array, str]], title: str, note: str) -> Figure:
    ratio = strips[0][1].shape[1] / strips[0][1].shape[2]
    height = style.WIDTH * 0.8 / max(len(images) for _, images, _ in strips) * ratio
    figure, axes = plt.subplots(len(strips), 1, figsize=(style.WIDTH, height * len(strips) + 0.7), squeeze=False)
    for panel, (label, images, colour) in zip(axes[:, 0], strips, strict=True):
        draw_strip(panel, images, label, colour)
    style.set_title(figure, title)
    style.add_note(figure, note)
    return figure


def _tell_seeds(by_variant: dict[str, tuple[int, Arrays]], dataset: str) -> str:
    seeds = sorted({seed for seed, _ in by_variant.values()})
    return f"{dataset}, seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}."
