"""The images of cells, and their codes in two dimensions, as HTML."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.reporting.figures import looks
from benchmarks.reporting.image_arrays import Array, Arrays, read_image_arrays

Pictures = dict[str, dict[int, Arrays]]  # by variant and seed
MAX_VARIANTS, MAX_SEEDS, IMAGES, CODES = 20, 5, 10, 250
SIZE = 280  # pixels of a drawing of codes
COLOURS = tuple(
    f"#{code}"
    for code in ("1f77b4", "ff7f0e", "2ca02c", "d62728", "9467bd", "8c564b", "e377c2", "7f7f7f", "bcbd22", "17becf")
)
NOTE = (
    "Codes: means of q(z|x) in their two principal directions. Dashed: 1 and 2 standard deviations of a normal prior."
)
STANDARD = "standard-normal"  # the prior whose circles are drawn, and that of older tables


def read_pictures(results: pd.DataFrame, folder: Path) -> Pictures:
    """Return the arrays of the first seeds of at most `MAX_VARIANTS` variants; those of the story come first."""
    story: list[str] = looks.read_table()["story"]
    cells = results[results["status"] == "ok"].drop_duplicates("cell_id")
    names = sorted(dict.fromkeys(cells["variant"]), key=lambda name: story.index(name) if name in story else len(story))
    pictures: Pictures = {}
    for name in names[:MAX_VARIANTS]:
        seeds = cells[cells["variant"] == name].sort_values("seed").head(MAX_SEEDS)
        arrays = {int(cell.seed): read_image_arrays(folder, str(cell.cell_id)) for cell in seeds.itertuples()}
        radii = {"radii": np.array([1.0, 2.0] if set(seeds["prior"].dropna()) <= {STANDARD, ""} else [])}
        pictures[name] = {seed: content | radii for seed, content in arrays.items() if content}
    return {name: by_seed for name, by_seed in pictures.items() if by_seed}


def render_pictures(pictures: Pictures) -> str:
    """Return the test images, and one block for each variant and seed: reconstructions, samples and codes."""
    cells = [(name, seed, arrays) for name, by_seed in pictures.items() for seed, arrays in by_seed.items()]
    if not cells:
        return "<p>This run has no pictures: they were not made, or its data are no images.</p>"
    strip = render_strip(cells[0][2]["originals"], "test images")
    originals = f'<figure class="all"><figcaption>test images</figcaption>{strip}</figure>'
    return originals + "".join(render_block(*cell) for cell in cells)


def render_block(variant: str, seed: int, arrays: Arrays) -> str:
    """Return the pictures of one cell."""
    title = html.escape(f"{variant}, seed {seed}")
    figures = [
        f"<figcaption>{name}</figcaption>{render_strip(arrays[name], f'{name}, {title}')}"
        for name in ("reconstructions", "samples")
    ]
    points = project_codes(arrays)
    limit = 1.05 * max(2, np.abs(points).max())
    attributes = f'data-picture="{html.escape(variant)}" data-seed="{seed}" data-limit="{limit:.3g}"'
    drawing = draw_codes(points, arrays["labels"], arrays["radii"], limit, title)
    figures.append(f"<figcaption>codes</figcaption>{drawing}")
    return f"<div {attributes}><h3>{title}</h3>{''.join(f'<figure>{figure}</figure>' for figure in figures)}</div>"


def render_strip(images: Array, description: str) -> str:
    """Return images side by side as one image inside the page; in grey images, white is 0."""
    padded = np.pad(images[:IMAGES], ((0, 0), (1, 1), (1, 1), (0, 0))[: images.ndim])
    strip = np.concatenate(list(padded), axis=1)
    file = io.BytesIO()
    Image.fromarray(strip if images.ndim == 4 else 255 - strip).save(file, "PNG")
    return f'<img alt="{description}" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def project_codes(arrays: Arrays) -> Array:
    """Return the means of q(z|x) in their two principal directions; the origin is z = 0."""
    codes = arrays["codes"][:CODES].astype(float)
    directions = np.linalg.svd(codes - codes.mean(0), full_matrices=False)[2][:2]
    signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])  # the sign is arbitrary
    return np.pad(codes @ (directions.T * signs), ((0, 0), (0, 2 - len(directions))))


def draw_codes(points: Array, labels: Array, radii: Array, limit: float, title: str) -> str:
    """Return a drawing of the codes by class, with circles of these radii, as those of a normal prior."""
    style = 'fill="none" vector-effect="non-scaling-stroke"'
    marks = [f'<circle r="{radius:g}" {style} stroke="currentColor" stroke-dasharray="4"/>' for radius in radii]
    for label in np.unique(labels[:CODES]):
        path = "".join(f"M{x:.2f} {-y:.2f}h0" for x, y in points[labels[:CODES] == label])
        colour = COLOURS[int(label) % len(COLOURS)]
        marks.append(f'<path d="{path}" {style} stroke="{colour}" stroke-width="4" stroke-linecap="round"/>')
    box = f"{-limit:.3g} {-limit:.3g} {2 * limit:.3g} {2 * limit:.3g}"
    size = f'width="{SIZE}" height="{SIZE}" viewBox="{box}"'
    return f'<svg {size} role="img" aria-label="codes of {title}">{"".join(marks)}</svg>'
