"""Folders of images: one folder for each split, with images or with one folder for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import UserError, printable
from benchmarks.planning.data.facts import SPLITS

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp"}
MODES = {"L": "L", "1": "L", "RGB": "RGB", "P": "RGB", "RGBA": "RGB"}


def read_folder(folder: Path, label: str) -> dict[str, NDArray[Any]]:
    """Return the images of each split, [N, H, W] if all are grey, else [N, H, W, 3], and classes of the test images."""
    parts = [name for name in SPLITS if (folder / name).is_dir()]
    if parts and "train" not in parts:
        raise UserError(f"{label}: it has the folder {parts[0]}, but no folder train; add one with training images")
    files = {name: _list_images(folder / name) for name in parts} or {"train": _list_images(folder)}
    for name, paths in files.items():
        if not paths:
            place = f"the folder {name}" if parts else "the folder"
            raise UserError(f"{label}: {place} contains no images; known: {', '.join(sorted(SUFFIXES))}")
    images = {name: [_read_image(path, label) for path in paths] for name, paths in files.items()}
    size, mode = images["train"][0].size, "L"
    for name, paths in files.items():
        for path, image in zip(paths, images[name], strict=True):
            if image.size != size:
                first = f"{size[0]} x {size[1]}"
                raise UserError(
                    f"{label}: {_name(path)} has {image.size[0]} x {image.size[1]} pixels, and other images have "
                    f"{first}; resize all images to one size"
                )
            mode = "RGB" if image.mode == "RGB" else mode
    arrays = {
        name: np.stack([np.asarray(image.convert(mode), dtype=np.uint8) for image in part])
        for name, part in images.items()
    }
    classes = sorted({path.parent.name for path in files.get("test", ())})
    if len(classes) > 1:
        arrays["test_labels"] = np.array([classes.index(path.parent.name) for path in files["test"]])
    return arrays


def _list_images(folder: Path) -> list[Path]:
    """Return the images in the folder and in its folders, sorted, without hidden files."""
    paths = [path for pattern in ("*", "*/*") for path in folder.glob(pattern)]
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _read_image(path: Path, label: str) -> Any:
    from PIL import Image  # part of torchvision's requirements

    try:
        with Image.open(path) as image:
            if image.mode not in MODES:
                raise UserError(
                    f"{label}: {_name(path)} has the mode {image.mode}; convert it to 8-bit grey or colour pixels"
                )
            return image.convert(MODES[image.mode])
    except UserError:
        raise
    except Exception as error:  # a damaged image raises one of many types
        reason = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
        raise UserError(f"{label}: {_name(path)} is no image that can be read ({printable(reason)})") from error


def _name(path: Path) -> str:
    return printable("/".join(path.parts[-3:]))
