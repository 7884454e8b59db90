"""Arrays for the image figures: originals, reconstructions, samples, an interpolation, and codes of test images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.planning.datasets import Dataset
from benchmarks.planning.random_streams import make_generator
from vaezoo import Model

SAMPLE_COUNT, INTERPOLATION_STEPS, CODE_COUNT = 30, 8, 500


@torch.no_grad()
def make_image_arrays(model: Model, data: Dataset, shape: tuple[int, ...], seed: int) -> dict[str, NDArray[Any]]:
    """Return arrays by name; empty if the data are not images of shape (H, W).

    originals, reconstructions [10, H, W]: one test image per class. samples [30, H, W]: decoded draws from the prior.
    interpolation [8, H, W]: decoded points on the line between the codes of two test images. ends [2, D]: these codes.
    codes, scales [500, D]: means and standard deviations of the approximate posterior of test images. labels [500]:
    their classes. A pixel is E[x|z] as a byte.
    """
    if len(shape) != 2:
        return {}
    source = make_generator(seed, "pictures")

    def decode(z: Tensor) -> NDArray[Any]:
        return _to_bytes(model.decoder.mean(z[None])[0], shape)

    examples = data.test[np.unique(data.test_labels, return_index=True)[1]]
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


def _to_bytes(pixels: Tensor, shape: tuple[int, ...]) -> NDArray[Any]:
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).reshape(-1, *shape).cpu().numpy()
