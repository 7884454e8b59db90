"""Priors p(z), and their closed-form KL divergences from approximate posteriors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.distributions.discrete import DiscretePosterior
from vaezoo.distributions.posteriors import DiagonalNormal

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@runtime_checkable
class Prior(Protocol):
    """p(z). A prior with parameters is a module, which the model trains with its decoder."""

    @property
    def name(self) -> str:
        """Identifier in results."""

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        """Return log p(z), nats."""

    def kl(self, q: Any) -> Float[Tensor, " B"]:
        """Return KL(q‖p), nats, in closed form."""

    def kl_per_latent(self, q: Any) -> Float[Tensor, "B D"]:
        """Return the terms of the KL, one for each latent, nats."""

    def sample(self, noise: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        """Return draws z from standard normal noise."""


class StandardNormal:
    """The prior N(0, I), without parameters. Source: Kingma and Welling 2014, arXiv:1312.6114, appendix B."""

    name = "standard-normal"

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        return (-0.5 * z.square() - HALF_LOG_TWO_PI).sum(-1)

    def kl(self, q: DiagonalNormal) -> Float[Tensor, " B"]:
        return self.kl_per_latent(q).sum(-1)

    def kl_per_latent(self, q: DiagonalNormal) -> Float[Tensor, "B D"]:
        """Return (m² + s² - 1) / 2 - log s for a posterior N(m, diag s²)."""
        return 0.5 * (q.mean.square() + (2 * q.log_scale).exp() - 1) - q.log_scale

    def sample(self, noise: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return noise


STANDARD_NORMAL = StandardNormal()


class LearnedNormal(nn.Module):
    """The prior N(m, diag(exp(log_scale))²) with trained parameters; it starts as the standard normal.

    Args:
        latent_dim: D, the number of latents.
    """

    name = "learned-normal"

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(latent_dim))

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        standardised = (z - self.mean) * (-self.log_scale).exp()
        return (-0.5 * standardised.square() - self.log_scale - HALF_LOG_TWO_PI).sum(-1)

    def kl(self, q: DiagonalNormal) -> Float[Tensor, " B"]:
        return self.kl_per_latent(q).sum(-1)

    def kl_per_latent(self, q: DiagonalNormal) -> Float[Tensor, "B D"]:
        """Return (exp(2 r) + ((m_q - m) / exp(log_scale))² - 1) / 2 - r, with r = log(s_q) - log_scale."""
        ratio = q.log_scale - self.log_scale
        distance = (q.mean - self.mean) * (-self.log_scale).exp()
        return 0.5 * (distance.square() + (2 * ratio).exp() - 1) - ratio

    def sample(self, noise: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return self.mean + self.log_scale.exp() * noise


class DiscretePrior(nn.Module):
    """The prior of the posterior's discrete family: uniform, or with trained logits, which start as uniform.

    Args:
        name: identifier in results.
        build: logits [1, D] -> the distribution.
        is_learned: whether the logits are parameters.
        latent_dim: D, the number of coordinates of z.
    """

    def __init__(self, name: str, build: Callable[[Tensor], Any], is_learned: bool, latent_dim: int) -> None:
        super().__init__()
        self.name, self.build, self.latent_dim = name, build, latent_dim
        self.logits: nn.Parameter | None
        self.register_parameter("logits", nn.Parameter(torch.zeros(latent_dim)) if is_learned else None)

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        log_pz: Tensor = self._distribution(z).log_prob(z)
        return log_pz

    def kl(self, q: DiscretePosterior) -> Float[Tensor, " B"]:
        return self.kl_per_latent(q).sum(-1)

    def kl_per_latent(self, q: DiscretePosterior) -> Float[Tensor, "B L"]:
        return q.kl_per_latent(self._distribution(q.logits))

    def sample(self, noise: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        z: Tensor = self._distribution(noise).sample(noise)
        return z

    def _distribution(self, like: Tensor) -> Any:
        logits = like.new_zeros(self.latent_dim) if self.logits is None else self.logits.to(like)
        return self.build(logits[None])
