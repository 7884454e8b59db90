"""Architectures: the two networks of a model, as functions of the data's shape. A plug-in can define others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from vaezoo.distributions.families import PriorChoice

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
}


@dataclass(frozen=True)
class Architecture:
    """The networks of encoder and decoder. They do not depend on a variant, so that all variants can have the same.

    Args:
        name: identifier in results.
        encoder: spec -> (network from x [B, P] to features [B, W], W). A linear layer for each parameter of the
            approximate posterior follows.
        decoder: (spec, latent_dim) -> network from z [K, B, D] to the parameters of the likelihood [K, B, P].
        hidden: widths by default; None for those of the data set.
        summary: one line for `list architectures`, with the source.
    """

    name: str
    encoder: Callable[[DataSpec], tuple[nn.Module, int]]
    decoder: Callable[[DataSpec, int], nn.Module]
    hidden: tuple[int, ...] | None = None
    summary: str = ""


def mlp(widths: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """Return linear layers from the first width to the last, each with its activation; identity for one width."""
    make = ACTIVATIONS[activation]
    layers = [(nn.Linear(inputs, outputs), make()) for inputs, outputs in itertools.pairwise(widths)]
    return nn.Sequential(*itertools.chain.from_iterable(layers))


def _perceptron_encoder(spec: DataSpec) -> tuple[nn.Module, int]:
    widths = (math.prod(spec.shape), *spec.hidden)
    return mlp(widths, spec.activation), widths[-1]


def _perceptron_decoder(spec: DataSpec, latent_dim: int) -> nn.Module:
    widths = (latent_dim, *reversed(spec.hidden))
    return nn.Sequential(*mlp(widths, spec.activation), nn.Linear(widths[-1], math.prod(spec.shape)))


MLP = Architecture(
    "mlp", _perceptron_encoder, _perceptron_decoder, summary="perceptrons (Kingma and Welling 2014, arXiv:1312.6114)"
)
MLP_2 = Architecture(
    "mlp-2",
    _perceptron_encoder,
    _perceptron_decoder,
    hidden=(200, 200),
    summary="perceptrons with two hidden layers (Burda et al. 2016, arXiv:1509.00519, section 5)",
)


@dataclass(frozen=True)
class DataSpec:
    """The properties of the data, and the settings, from which a variant builds its model.

    Args:
        shape: shape of one example, such as (28, 28), channels last.
        likelihood: a name in `vaezoo.distributions.likelihoods.LIKELIHOODS`.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse order.
        architecture: the networks.
        activation: a name in `ACTIVATIONS`.
        prior: "fixed" or "learned"; see `vaezoo.distributions.families.Family`.
        free_bits: smallest term of the KL for each latent in the objective, nats; 0 for the KL itself.
    """

    shape: tuple[int, ...]
    likelihood: str
    hidden: tuple[int, ...] = (400,)
    architecture: Architecture = field(default=MLP)
    activation: str = "relu"
    prior: PriorChoice = "fixed"
    free_bits: float = 0.0
