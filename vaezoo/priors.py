"""Priors p(z), and their KL divergence from a posterior where it has a closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from vaezoo.posteriors import DiagonalNormal


@dataclass(frozen=True)
class Prior:
    """p(z): its log density (nats), KL(q‖p) for the posteriors that have it in closed form, draws made from noise."""

    name: str
    log_prob: Callable[[Float[Tensor, "K B D"]], Float[Tensor, "K B"]]
    kl: Callable[[Any], Float[Tensor, " B"]]
    sample: Callable[[Float[Tensor, "*N D"]], Float[Tensor, "*N D"]]


def standard_normal_log_prob(z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
    """log N(z; 0, I), summed over the D latents."""
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).sum(-1)


def standard_normal_kl(q: DiagonalNormal) -> Float[Tensor, " B"]:
    """KL(N(m, diag s^2) ‖ N(0, I)) = sum_d (m^2 + s^2 - 1) / 2 - log s.

    Source: Kingma and Welling 2014, arXiv:1312.6114, appendix B.
    """
    return (0.5 * (q.mean.square() + (2 * q.log_scale).exp() - 1) - q.log_scale).sum(-1)


STANDARD_NORMAL = Prior("standard_normal", standard_normal_log_prob, standard_normal_kl, sample=lambda noise: noise)
