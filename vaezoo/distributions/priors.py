"""Priors p(z), and their closed-form KL divergences from approximate posteriors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class FixedPrior:
    """A prior without parameters, as a record of functions.

    Args:
        log_prob: z [K, B, D] -> log p(z) [K, B], nats.
        kl: q -> KL(q‖p) [B], nats, in closed form.
        sample: standard normal noise [*N, D] -> draws z [*N, D].
        kl_per_latent: q -> the terms of the KL [B, D], nats.
    """

    name: str
    log_prob: Callable[[Float[Tensor, "K B D"]], Float[Tensor, "K B"]]
    kl: Callable[[Any], Float[Tensor, " B"]]
    sample: Callable[[Float[Tensor, "*N D"]], Float[Tensor, "*N D"]]
    kl_per_latent: Callable[[Any], Float[Tensor, "B D"]]


def standard_normal_log_prob(z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
    """Return log N(z; 0, I), summed over the D latents, nats."""
    return (-0.5 * z.square() - HALF_LOG_TWO_PI).sum(-1)


def standard_normal_kl(q: DiagonalNormal) -> Float[Tensor, " B"]:
    """Return KL(N(m, diag s²) ‖ N(0, I)) = sum_d (m² + s² - 1) / 2 - log s, nats per example.

    Source: Kingma and Welling 2014, arXiv:1312.6114, appendix B.
    """
    return standard_normal_kl_per_latent(q).sum(-1)


def standard_normal_kl_per_latent(q: DiagonalNormal) -> Float[Tensor, "B D"]:
    """Return the terms of `standard_normal_kl`."""
    return 0.5 * (q.mean.square() + (2 * q.log_scale).exp() - 1) - q.log_scale


def standard_normal_sample(noise: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
    """Return the noise."""
    return noise


STANDARD_NORMAL = FixedPrior(
    "standard-normal",
    standard_normal_log_prob,
    standard_normal_kl,
    sample=standard_normal_sample,
    kl_per_latent=standard_normal_kl_per_latent,
)


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
