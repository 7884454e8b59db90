"""Problems with exact solutions: linear-Gaussian models, and integrands with known gradient variances."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from vaezoo.distributions.posteriors import DiagonalNormal


def change(record, **parts):
    """Return a copy of an object with other parts."""
    changed = copy.copy(record)
    vars(changed).update(parts)
    return changed


@dataclass(frozen=True)
class LinearGaussian:
    """Probabilistic PCA: x = W z + c + s * noise, with standard normal z and noise.

    weight is W, offset c and scale s. Source: Tipping and Bishop 1999, Probabilistic principal component analysis.
    """

    weight: Tensor
    offset: Tensor
    scale: float = 1.0

    def log_px(self, x: Tensor) -> Tensor:
        """Return log p(x) = log N(x; c, W W' + s² I), nats."""
        diagonal = torch.full_like(self.offset, self.scale**2)
        value: Tensor = LowRankMultivariateNormal(self.offset, self.weight, diagonal).log_prob(x)
        return value

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `count` examples drawn from the model."""
        pixels, latents = self.weight.shape
        z = torch.randn(count, latents, generator=generator, dtype=self.weight.dtype)
        noise = torch.randn(count, pixels, generator=generator, dtype=self.weight.dtype)
        return z @ self.weight.T + self.offset + self.scale * noise


def exact_posterior(model, x):
    """Return p(z|x) for orthogonal columns of W: precision 1 + ‖w_d‖²/s², mean w_d'(x - c)/s² / precision."""
    precision = 1 + model.weight.square().sum(0) / model.scale**2
    mean = (x - model.offset) @ model.weight / model.scale**2 / precision
    return DiagonalNormal(mean, (-0.5 * precision.log()).expand_as(mean))


def expected_log_px(model, x, q):
    """Return E_q[log p(x|z)] in closed form, for any W and q, nats; differentiable."""
    error = (x - model.offset - q.mean @ model.weight.T).square().sum(-1)
    spread = ((2 * q.log_scale).exp() * model.weight.square().sum(0)).sum(-1)
    constant = x.shape[-1] * (math.log(model.scale) + 0.5 * math.log(2 * math.pi))
    return -0.5 * (error + spread) / model.scale**2 - constant


@dataclass(frozen=True)
class Integrand:
    """f(z) with z ~ N(mu, sigma²), and closed-form variances of one-draw estimates of its gradient in mu.

    Args:
        f: the integrand.
        pathwise_variance: (mu, sigma) -> variance of the pathwise estimate.
        score_variance: (mu, sigma) -> variance of the score-function estimate without baseline.

    Source: Mohamed et al. 2020, Monte Carlo gradient estimation in machine learning, arXiv:1906.10652, section 3.
    """

    f: Callable[[Tensor], Tensor]
    pathwise_variance: Callable[[float, float], float]
    score_variance: Callable[[float, float], float]


def quadratic(k: float) -> Integrand:
    """Return f(z) = (z - k)². With m = mu - k, the variances are 4 s² (pathwise) and m⁴/s² + 14 m² + 15 s² (score)."""
    return Integrand(
        lambda z: (z - k) ** 2,
        lambda mu, sigma: 4 * sigma**2,
        lambda mu, sigma: (mu - k) ** 4 / sigma**2 + 14 * (mu - k) ** 2 + 15 * sigma**2,
    )


def centred(mu: float) -> Integrand:
    """Return f(z) = z - mu with a constant mu in f: variances 0 (pathwise) and 2 (score)."""
    return Integrand(lambda z: z - mu, lambda mu, sigma: 0.0, lambda mu, sigma: 2.0)


def cosine(k: float) -> Integrand:
    """Return f(z) = cos(kz); for large k the score function has the smaller variance.

    With z ~ N(0, 1) the variances are k²/2 (1 - e^(-2k²)) (pathwise) and (1 + (1 - 4k²) e^(-2k²)) / 2 (score).
    """

    def squared_mean(mu: float, sigma: float) -> float:
        return (k * math.sin(k * mu)) ** 2 * math.exp(-((k * sigma) ** 2))

    def doubled_mean(mu: float, sigma: float) -> float:
        return math.cos(2 * k * mu) * math.exp(-2 * (k * sigma) ** 2)

    return Integrand(
        lambda z: (k * z).cos(),
        lambda mu, sigma: k**2 / 2 * (1 - doubled_mean(mu, sigma)) - squared_mean(mu, sigma),
        lambda mu, sigma: (
            (1 + (1 - 4 * (k * sigma) ** 2) * doubled_mean(mu, sigma)) / (2 * sigma**2) - squared_mean(mu, sigma)
        ),
    )
