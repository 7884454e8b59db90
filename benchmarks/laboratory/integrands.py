"""Estimators on an integrand whose variances are known: where reparameterization does not win."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.laboratory.bench import identity
from benchmarks.laboratory.columns import Row, interval
from benchmarks.seeds import generator
from vaezoo import Variant
from vaezoo.gradients import Moments, normalise
from vaezoo.oracles import cosine
from vaezoo.posteriors import DiagonalNormal
from vaezoo.reductions import MEAN

AT_ONCE = 100_000
FITTING_STEPS = 100


def integrand_rows(variants: Sequence[Variant], frequency: float, draws: int, seed: int) -> Iterator[Row]:
    """The variance of each estimator's gradient of E[cos(kz)], z ~ N(mu, 1), in mu = 0; and the closed forms."""
    f = cosine(frequency)
    common: Row = {"parameters": "mean", "layer": "", "part": "latent", "batch_size": 1, "latent_dim": 1}
    for estimator, variance in (
        ("pathwise", f.pathwise_variance(0.0, 1.0)),
        ("score_function", f.score_variance(0.0, 1.0)),
    ):
        exact = {"variant": "closed form", "objective": "cosine", "estimator": estimator, "baseline": "", "draws": 1}
        yield common | exact | {"quantity": "variance", "value": variance}
    for variant in variants:
        moments = integrand_moments(variant, f.f, draws, seed)
        own = common | identity(variant) | {"objective": "cosine", "repeats": draws}
        yield own | interval("variance", moments.variance, moments.variance_se) | {"kurtosis": moments.kurtosis}


def integrand_moments(variant: Variant, f: object, draws: int, seed: int) -> Moments:
    """Of the gradient in mu of E[f(z)], F being the mean; a baseline that predicts has its average fitted."""
    baseline, source = variant.estimator.baseline, generator(seed, "integrand")

    def stochastic(mean: Float[Tensor, "N 1"], count: int, average: Tensor) -> Float[Tensor, " N"]:
        noise = torch.randn(variant.draws, count, 1, generator=source, dtype=torch.float64)
        q = DiagonalNormal(mean, torch.zeros_like(mean))
        log_weight = lambda z, q: f(z).sum(-1)  # type: ignore[operator] # noqa: E731
        return variant.estimator.estimate(log_weight, MEAN, q, noise, average.expand(count))

    average = torch.zeros((), dtype=torch.float64)
    for step in range(FITTING_STEPS if baseline.rate else 0):
        value = stochastic(torch.zeros(100, 1, dtype=torch.float64), 100, average)
        average = baseline.updated(average, value) if step else value.mean()
    gradients = []
    for start in range(0, draws, AT_ONCE):
        mean = torch.zeros(min(AT_ONCE, draws - start), 1, dtype=torch.float64, requires_grad=True)
        value = stochastic(mean, len(mean), average).sum()
        found = torch.autograd.grad(value, mean, materialize_grads=True)[0] if value.requires_grad else 0 * mean
        gradients.append(found.detach())
    g = torch.cat(gradients)
    return normalise((g - g.mean(0)).square().sum(1), g.mean(0), examples=1)
