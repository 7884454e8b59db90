"""Convolutional networks for images of any size: each layer halves height and width."""

from __future__ import annotations

import itertools
import math

from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.models.architecture import ACTIVATIONS, Architecture, DataSpec


def split_shape(spec: DataSpec) -> tuple[int, int, int]:
    """Return height, width and channels; raise `ValueError` if the data are no images."""
    if len(spec.shape) not in (2, 3):
        shape = " x ".join(map(str, spec.shape))
        raise ValueError(f"examples of the shape {shape} are no images; convolutions need height, width and channels")
    height, width, channels = (*spec.shape, 1)[:3]
    return height, width, channels


def list_sizes(spec: DataSpec) -> list[tuple[int, int]]:
    """Return height and width before the first layer and after each one: halves, rounded up."""
    height, width, _ = split_shape(spec)
    return [(-(-height // 2**i), -(-width // 2**i)) for i in range(len(spec.hidden) + 1)]


class ConvolutionalEncoder(nn.Module):
    """Maps images x [B, P] to features [B, W]: convolutions of 3 x 3 pixels with stride 2."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        height, width, channels = split_shape(spec)
        self.shape = (height, width, channels)
        counts = (channels, *spec.hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in zip(counts, spec.hidden, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), ACTIVATIONS[spec.activation]()]
        self.layers = nn.Sequential(*layers)
        self.width = math.prod(list_sizes(spec)[-1]) * counts[-1]

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B W"]:
        features: Tensor = self.layers(x.unflatten(-1, self.shape).movedim(-1, -3))
        return features.flatten(-3)


class ConvolutionalDecoder(nn.Module):
    """Maps z [K, B, D] to outputs [K, B, P]: a linear layer, then transposed convolutions of 4 x 4 pixels, stride 2.

    A transposed convolution doubles height and width; for odd sizes, the last row and column are left out.
    """

    def __init__(self, spec: DataSpec, latent_dim: int) -> None:
        super().__init__()
        _, _, channels = split_shape(spec)
        if not spec.hidden:
            raise ValueError("convolutions need at least one layer; give the channels of each layer, such as 32,64")
        self.sizes = list_sizes(spec)[::-1]
        counts = (*reversed(spec.hidden), channels)
        self.shape = (counts[0], *self.sizes[0])
        self.inputs = nn.Linear(latent_dim, math.prod(self.shape))
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
            for inputs, outputs in itertools.pairwise(counts)
        )
        self.activation = ACTIVATIONS[spec.activation]()

    def forward(self, z: Float[Tensor, "*K D"]) -> Float[Tensor, "*K P"]:
        leading = z.shape[:-1]
        features: Tensor = self.inputs(z).reshape(-1, *self.shape)
        for layer, (height, width) in zip(self.layers, self.sizes[1:], strict=True):
            features = layer(self.activation(features))[..., :height, :width]
        return features.movedim(-3, -1).reshape(*leading, -1)


def _make_encoder(spec: DataSpec) -> tuple[nn.Module, int]:
    encoder = ConvolutionalEncoder(spec)
    return encoder, encoder.width


CONV = Architecture(
    "conv",
    _make_encoder,
    ConvolutionalDecoder,
    hidden=(32, 64),
    summary="convolutions for images of any size, without batch normalization (Radford et al. 2016, arXiv:1511.06434)",
)
