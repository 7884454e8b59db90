"""Arrays for the image figures: originals, reconstructions, samples, an interpolation, and codes of test images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.planning.data.facts import Facts
from benchmarks.planning.data.tensors import Dataset
from benchmarks.planning.random_streams import make_generator
from vaezoo import Model

SAMPLE_COUNT, INTERPOLATION_STEPS, CODE_COUNT, MAX_EXAMPLES = 30, 8, 500, 10
MAX_RATIO = 8  # of the sides of an image; longer ones are sequences


@torch.no_grad()
def make_image_arrays(model: Model, data: Dataset, seed: int) -> dict[str, NDArray[Any]]:
    """Return arrays by name; empty if the data are not grey or colour images.

    Images have the shape [H, W] or [H, W, 3]. originals, reconstructions [10, ...]: one test image per class.
    samples [30, ...]: decoded draws from the prior. interpolation [8, ...]: decoded points on the line between the
    codes of two test images. ends [2, D]: these codes. codes, scales [500, D]: means and standard deviations of the
    approximate posterior of test images. labels [500]: their classes. A pixel is E[x|z] as a byte.
    """
    shape = find_image_shape(data.facts)
    if not shape or len(data.test) < 2:
        return {}
    source = make_generator(seed, "pictures")

    def decode(z: Tensor) -> NDArray[Any]:
        return _to_bytes(model.decoder.mean(z[None])[0], shape)

    examples = data.test[choose_examples(data.test_labels.numpy())]
    q = model.encoder(examples)
    draws = torch.randn(1, len(examples), model.latent_dim, generator=source).to(examples.device)
    prior = torch.randn(SAMPLE_COUNT, model.latent_dim, generator=source).to(examples.device)
    start, end = q.mean[0], q.mean[1]
    weights = torch.linspace(0, 1, INTERPOLATION_STEPS, device=start.device)[:, None]
    codes = model.encoder(data.test[:CODE_COUNT])
    return {
        "originals": _to_bytes(examples, shape),
        "reconstructions": decode(q.sample(draws)[0]),
        "samples": decode(model.prior.sample(prior)),
        "interpolation": decode((1 - weights) * start + weights * end),
        "codes": codes.mean.cpu().numpy().astype(np.float32),
        "scales": codes.scale.cpu().numpy().astype(np.float32),
        "ends": torch.stack([start, end]).cpu().numpy(),
        "labels": data.test_labels[:CODE_COUNT].numpy(),
    }


def find_image_shape(facts: Facts) -> tuple[int, ...]:
    """Return the shape of an example as an image, [H, W] or [H, W, 3]; empty for other data and sequences."""
    height_width, channels = facts.shape[:2], facts.shape[2:]
    is_image = facts.values != "real" and len(height_width) == 2 and channels in ((), (1,), (3,))
    is_image = is_image and max(height_width) <= MAX_RATIO * min(height_width)
    return (*height_width, *(c for c in channels if c > 1)) if is_image else ()


def choose_examples(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Return the rows of the first example of each class, at most 10; the first 10 rows if there is one class only."""
    rows = np.unique(labels, return_index=True)[1]
    return (rows if len(rows) > 1 else np.arange(len(labels)))[:MAX_EXAMPLES]


def _to_bytes(pixels: Tensor, shape: tuple[int, ...]) -> NDArray[Any]:
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).reshape(-1, *shape).cpu().numpy()
