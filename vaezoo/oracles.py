"""Problems with known answers, to hold estimators and the evaluator to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from vaezoo.posteriors import DiagonalNormal


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + c + s * noise with z and noise standard normal: probabilistic PCA.

    With orthogonal columns of W the exact posterior is a diagonal normal.
    Source: Tipping and Bishop 1999, Probabilistic principal component analysis.
    """

    weight: Float[Tensor, "P D"]
    offset: Float[Tensor, " P"]
    scale: float = 1.0

    def posterior(self, x: Float[Tensor, "B P"]) -> DiagonalNormal:
        """p(z|x): precision 1 + ‖w_d‖²/s², mean w_d'(x - c)/s² over it. Right for orthogonal columns only."""
        precision = 1 + self.weight.square().sum(0) / self.scale**2
        mean = (x - self.offset) @ self.weight / self.scale**2 / precision
        return DiagonalNormal(mean, (-0.5 * precision.log()).expand_as(mean))

    def log_px(self, x: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """log N(x; c, W W' + s² I), nats."""
        diagonal = torch.full_like(self.offset, self.scale**2)
        value: Tensor = LowRankMultivariateNormal(self.offset, self.weight, diagonal).log_prob(x)
        return value

    def expected_log_px(self, x: Float[Tensor, "B P"], q: DiagonalNormal) -> Float[Tensor, " B"]:
        """E_q[log p(x|z)] in closed form, for any W and q, nats: differentiable, so it gives the exact gradient."""
        error = (x - self.offset - q.mean @ self.weight.T).square().sum(-1)
        spread = ((2 * q.log_scale).exp() * self.weight.square().sum(0)).sum(-1)
        constant = x.shape[-1] * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return -0.5 * (error + spread) / self.scale**2 - constant

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "N P"]:
        """`count` draws of x."""
        pixels, latents = self.weight.shape
        z = torch.randn(count, latents, generator=generator, dtype=self.weight.dtype)
        noise = torch.randn(count, pixels, generator=generator, dtype=self.weight.dtype)
        return z @ self.weight.T + self.offset + self.scale * noise


@dataclass(frozen=True)
class Integrand:
    """f(z) under z ~ N(mu, sigma²), with the variances of one draw's gradient estimate in mu, in closed form.

    Both take (mu, sigma). Source: Mohamed et al. 2020, Monte Carlo gradient estimation in machine learning,
    arXiv:1906.10652, section 3, where these integrands are compared.
    """

    f: Callable[[Tensor], Tensor]
    pathwise_variance: Callable[[float, float], float]
    score_variance: Callable[[float, float], float]


def quadratic(k: float) -> Integrand:
    """f(z) = (z - k)²; with m = mu - k: pathwise 4 s², score m⁴/s² + 14 m² + 15 s²."""

    def score(mu: float, sigma: float) -> float:
        m = mu - k
        return m**4 / sigma**2 + 14 * m**2 + 15 * sigma**2

    return Integrand(lambda z: (z - k) ** 2, lambda mu, sigma: 4 * sigma**2, score)


def centred(mu: float) -> Integrand:
    """f(z) = z - mu, mu held fixed in f: pathwise 0, score 2. A baseline doubles it where a reward's mean is 0."""
    return Integrand(lambda z: z - mu, lambda mu, sigma: 0.0, lambda mu, sigma: 2.0)


def cosine(k: float) -> Integrand:
    """f(z) = cos(kz): for large k the score function has the lower variance.

    With z ~ N(0, 1): pathwise k²/2 (1 - e^(-2k²)), score (1 + (1 - 4k²) e^(-2k²)) / 2.
    """

    def squared_mean(mu: float, sigma: float) -> float:
        return (k * math.sin(k * mu)) ** 2 * math.exp(-((k * sigma) ** 2))

    def wave(mu: float, sigma: float) -> float:
        return math.cos(2 * k * mu) * math.exp(-2 * (k * sigma) ** 2)

    return Integrand(
        lambda z: (k * z).cos(),
        lambda mu, sigma: k**2 / 2 * (1 - wave(mu, sigma)) - squared_mean(mu, sigma),
        lambda mu, sigma: (1 + (1 - 4 * (k * sigma) ** 2) * wave(mu, sigma)) / (2 * sigma**2) - squared_mean(mu, sigma),
    )
