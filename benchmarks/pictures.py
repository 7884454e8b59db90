"""What a cell leaves for its pictures: digits, their reconstructions, samples, codes and an interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.data import Data
from benchmarks.seeds import generator
from vaezoo import Model

SAMPLES, STEPS, CODES = 30, 8, 500


@torch.no_grad()
def pictures(model: Model, images: Data, shape: tuple[int, ...], seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays by name; none for data that are no images.

    originals, reconstructions [10, H, W]: one test image a class. samples [30, H, W]: decoded draws of the prior.
    interpolation [8, H, W]: decoded codes on the line between two test images. codes, scales [500, D], labels [500]:
    means and standard deviations of the posterior. Pixels are E[x|z] as bytes.
    """
    if len(shape) != 2:
        return {}
    noise = generator(seed, "pictures")

    def decoded(z: Tensor) -> np.ndarray[Any, Any]:
        return _bytes(model.decoder.mean(z[None])[0], shape)

    first = torch.stack([(images.test_labels == label).nonzero()[0, 0] for label in images.test_labels.unique()])
    chosen = images.test[first.to(images.test.device)]
    q = model.encoder(chosen)
    draws = torch.randn(1, len(chosen), model.latent_dim, generator=noise).to(chosen.device)
    prior = torch.randn(SAMPLES, model.latent_dim, generator=noise).to(chosen.device)
    start, end = q.mean[0], q.mean[1]
    weights = torch.linspace(0, 1, STEPS, device=start.device)[:, None]
    codes = model.encoder(images.test[:CODES])
    return {
        "originals": _bytes(chosen, shape),
        "reconstructions": decoded(q.sample(draws)[0]),
        "samples": decoded(model.prior.sample(prior)),
        "interpolation": decoded((1 - weights) * start + weights * end),
        "codes": codes.mean.cpu().numpy().astype(np.float32),
        "scales": codes.scale.cpu().numpy().astype(np.float32),
        "ends": torch.stack([start, end]).cpu().numpy(),
        "labels": images.test_labels[:CODES].numpy(),
    }


def _bytes(pixels: Tensor, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8).reshape(-1, *shape).cpu().numpy()
