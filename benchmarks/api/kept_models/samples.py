"""Samples of a kept model, written as a picture, an array or a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.api.kept_models.find_models import KeptModel
from benchmarks.common.atomic_files import write_bytes
from benchmarks.common.errors import UserError

SUFFIXES = (".png", ".npy", ".csv")
GAP = 2  # pixels between two images


def draw_samples(
    folder: Path, model: KeptModel, plugin_files: Sequence[Path], count: int, seed: int
) -> tuple[NDArray[Any], tuple[int, ...], tuple[str, ...]]:
    """Return samples [count, *shape], the shape of an image, which is empty for other data, and names of columns."""
    from benchmarks.api.kept_models import reload
    from benchmarks.planning.plugins import read_plugins
    from benchmarks.training.image_arrays import find_image_shape

    case = reload.plan_again(folder, model.record, read_plugins(plugin_files))
    facts = reload.read_run_facts(folder)
    samples = reload.load_kept_model(model.path, case).sample(count, seed).cpu().numpy()
    return samples, find_image_shape(facts), facts.columns


def write_samples(path: Path, samples: NDArray[Any], image_shape: tuple[int, ...], columns: Sequence[str]) -> None:
    """Write the samples in the format of the path's suffix; raises `UserError` if it does not suit the data."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"--out {path}: the name does not end with {', '.join(SUFFIXES)}; choose one of them")
    if path.suffix == ".png" and not image_shape:
        raise UserError(f"--out {path}: the examples are no images; write an array (.npy) or a table (.csv)")
    buffer = io.BytesIO()
    if path.suffix == ".npy":
        np.save(buffer, samples)
    elif path.suffix == ".csv":
        flat = samples.reshape(len(samples), -1)
        header = list(columns) or [f"x{i}" for i in range(flat.shape[1])]
        pd.DataFrame(flat, columns=header).to_csv(buffer, index=False, lineterminator="\n")
    else:
        from PIL import Image

        Image.fromarray(tile_images(samples.reshape(-1, *image_shape))).save(buffer, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, buffer.getvalue())


def tile_images(images: NDArray[Any]) -> NDArray[np.uint8]:
    """Return images of pixels from 0 to 1, [N, H, W] or [N, H, W, 3], as one image of bytes, close to a square."""
    count, height, width, *channels = images.shape
    across = int(np.ceil(np.sqrt(count)))
    down = -(-count // across)
    tiled = np.full((down * (height + GAP) - GAP, across * (width + GAP) - GAP, *channels), 255, np.uint8)
    for i, image in enumerate((images.clip(0, 1) * 255).round().astype(np.uint8)):
        top, left = (i // across) * (height + GAP), (i % across) * (width + GAP)
        tiled[top : top + height, left : left + width] = image
    return tiled
