"""Approximate posteriors q(z|x): distributions over the latents of each example. Noise is always an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Posterior(Protocol):
    """q(z|x) of B examples and D latents; the first dimension of draws is K, the draws per example."""

    @property
    def mean(self) -> Float[Tensor, "B D"]:
        """The mean of each latent."""

    @property
    def scale(self) -> Float[Tensor, "B D"]:
        """The standard deviation of each latent; 0 if the latent is not random."""

    def rsample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        """Return draws z that carry the gradient in the parameters of q (reparameterized)."""

    def sample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        """Return the draws of `rsample` without a gradient."""

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        """Return log q(z|x), summed over the latents, nats; raise `TypeError` if q has no density."""

    def detach(self) -> Posterior:
        """Return the same distribution with parameters that carry no gradient."""


@dataclass(frozen=True)
class DiagonalNormal:
    """q(z|x) = N(mean, diag(exp(log_scale))²), drawn from standard normal noise.

    Source: Kingma and Welling 2014, arXiv:1312.6114, equation 9.
    """

    mean: Float[Tensor, "B D"]
    log_scale: Float[Tensor, "B D"]

    @property
    def scale(self) -> Float[Tensor, "B D"]:
        return self.log_scale.exp()

    def rsample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        """Return z = mean + exp(log_scale) noise."""
        return self.mean + self.log_scale.exp() * noise

    def sample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        return self.rsample(noise).detach()

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        standardised = (z - self.mean) * (-self.log_scale).exp()
        return (-0.5 * standardised.square() - self.log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)

    def detach(self) -> DiagonalNormal:
        return DiagonalNormal(self.mean.detach(), self.log_scale.detach())


@dataclass(frozen=True)
class PointMass:
    """A point mass at one code: the posterior of an autoencoder. It has no density, hence no KL and no bound."""

    mean: Float[Tensor, "B D"]

    @property
    def scale(self) -> Float[Tensor, "B D"]:
        return torch.zeros_like(self.mean)

    def rsample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        """Return z = mean for every draw."""
        return self.mean.expand_as(noise)

    def sample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        return self.rsample(noise).detach()

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        raise TypeError("a point mass has no density log q(z|x); use the objective reconstruction with pathwise")

    def detach(self) -> PointMass:
        return PointMass(self.mean.detach())
