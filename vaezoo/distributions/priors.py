"""Priors p(z), and their closed-form KL divergences from approximate posteriors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vaezoo.distributions.posteriors import DiagonalNormal


@dataclass(frozen=True)
class Prior:
    """A prior p(z) as a record of functions.

    Args:
        log_prob: z [K, B, D] -> log p(z) [K, B], nats.
        kl: q -> KL(q‖p) [B], nats, in closed form.
        sample: standard normal noise [*N, D] -> draws z [*N, D].
    """

    name: str
    log_prob: Callable[[Float[Tensor, "K B D"]], Float[Tensor, "K B"]]
    kl: Callable[[Any], Float[Tensor, " B"]]
    sample: Callable[[Float[Tensor, "*N D"]], Float[Tensor, "*N D"]]


def standard_normal_log_prob(z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
    """Return log N(z; 0, I), summed over the D latents, nats."""
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


def standard_normal_kl(q: DiagonalNormal) -> Float[Tensor, " B"]:
    """Return KL(N(m, diag s²) ‖ N(0, I)) = sum_d (m² + s² - 1) / 2 - log s, nats per example.

    Source: Kingma and Welling 2014, arXiv:1312.6114, appendix B.
    """
    return (0.5 * (q.mean.square() + (2 * q.log_scale).exp() - 1) - q.log_scale).sum(-1)


STANDARD_NORMAL = Prior("standard_normal", standard_normal_log_prob, standard_normal_kl, sample=lambda noise: noise)
