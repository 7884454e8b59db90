"""Gradient variances on an integrand with known variances, as a counter-example to reparameterization."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.gradient_studies.columns import Row, add_interval
from benchmarks.gradient_studies.measurement import variant_columns
from benchmarks.planning.random_streams import make_generator
from vaezoo import Variant
from vaezoo.distributions.posteriors import DiagonalNormal
from vaezoo.gradients.moments import Moments, normalise
from vaezoo.reductions import MEAN

DRAWS_PER_CHUNK = 100_000
FITTING_STEPS = 100


def make_integrand_rows(variants: Sequence[Variant], frequency: float, draws: int, seed: int) -> Iterator[Row]:
    """Yield the variance of each estimator's gradient of E[cos(kz)], z ~ N(mu, 1), at mu = 0, and the exact values."""
    decay = math.exp(-2 * frequency**2)
    common: Row = {"parameters": "mean", "layer": "", "part": "latent", "batch_size": 1, "latent_dim": 1}
    exact = {
        "pathwise": frequency**2 / 2 * (1 - decay),
        "score_function": (1 + (1 - 4 * frequency**2) * decay) / 2,
    }
    for estimator, variance in exact.items():
        columns = {"variant": "closed form", "objective": "cosine", "estimator": estimator, "baseline": "", "draws": 1}
        yield common | columns | {"quantity": "variance", "value": variance}
    for variant in variants:
        moments = measure_integrand(variant, lambda z: (frequency * z).cos(), draws, seed)
        columns = variant_columns(variant) | {"objective": "cosine", "repeats": draws, "kurtosis": moments.kurtosis}
        yield common | columns | add_interval("variance", moments.variance, moments.variance_se)


def measure_integrand(variant: Variant, f: object, draws: int, seed: int) -> Moments:
    """Measure the gradient of E[f(z)] in mu, z ~ N(mu, 1), with `draws` repeats; fit a baseline's average first."""
    estimator, source = variant.estimator, make_generator(seed, "integrand")

    def estimate(mean: Float[Tensor, "N 1"], count: int, average: Tensor) -> Float[Tensor, " N"]:
        noise = torch.randn(variant.draws, count, 1, generator=source, dtype=torch.float64)
        q = DiagonalNormal(mean, torch.zeros_like(mean))
        log_weight = lambda z, q: f(z).sum(-1)  # type: ignore[operator] # noqa: E731
        return variant.estimator.estimate(log_weight, MEAN, q, noise, average.expand(count))

    average = torch.zeros((), dtype=torch.float64)
    for step in range(FITTING_STEPS if estimator.averaging_rate else 0):
        value = estimate(torch.zeros(100, 1, dtype=torch.float64), 100, average)
        average = estimator.update_average(average, value) if step else value.mean()
    gradients = []
    for start in range(0, draws, DRAWS_PER_CHUNK):
        mean = torch.zeros(min(DRAWS_PER_CHUNK, draws - start), 1, dtype=torch.float64, requires_grad=True)
        value = estimate(mean, len(mean), average).sum()
        gradient = torch.autograd.grad(value, mean, materialize_grads=True)[0] if value.requires_grad else 0 * mean
        gradients.append(gradient.detach())
    g = torch.cat(gradients)
    return normalise((g - g.mean(0)).square().sum(1), g.mean(0), examples=1)
