"""Gradients of E[f(z)] for functions f with known gradients and variances."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.gradient_studies.columns import Row, add_interval
from benchmarks.gradient_studies.measurement import variant_columns
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.settings import Integrand
from vaezoo import Variant
from vaezoo.distributions.families import DIAGONAL_NORMAL, Family
from vaezoo.gradients.moments import Moments, normalise
from vaezoo.reductions import MEAN

DRAWS_PER_CHUNK = 100_000
FITTING_STEPS = 100
Function = Callable[[Float[Tensor, "K N D"]], Float[Tensor, "K N"]]


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
        moments = measure_integrand(variant, lambda z: (frequency * z).cos().sum(-1), draws, seed)
        columns = variant_columns(variant) | {"objective": "cosine", "repeats": draws, "kurtosis": moments.kurtosis}
        yield common | columns | add_interval("variance", moments.variance, moments.variance_se)


def make_square_rows(
    family: Family, variants: Sequence[Variant], integrand: Integrand, draws: int, seed: int
) -> Iterator[Row]:
    """Yield mean and variance of each estimator's gradient of E[f(z)], per coordinate, for the f of the settings.

    The gradient is in the first parameter of the family: the mean of a normal distribution with scale 1, or the logits.
    Control variates with parameters of their own are left out, because they must be trained first.
    """
    latents = integrand.latents
    if latents % family.width:
        return
    targets = torch.tensor(integrand.targets, dtype=torch.float64)
    reduce = torch.mean if integrand.function == "mean-squares" else torch.sum

    def f(z: Float[Tensor, "K N D"]) -> Float[Tensor, "K N"]:
        return reduce((z - targets).square(), -1)

    common: Row = {"parameters": family.heads[0], "layer": "", "part": "latent", "batch_size": 1, "latent_dim": latents}
    for variant in variants:
        if variant.estimator.control:
            continue
        g = _draw_gradients(variant, family, f, integrand.parameter, latents, draws, seed)
        columns = common | variant_columns(variant) | {"objective": integrand.function, "repeats": len(g)}
        for quantity, values in (
            ("gradient", g.mean(1)),
            ("gradient_variance", (g - g.mean(0)).square().mean(1) * len(g) / (len(g) - 1)),
        ):
            yield columns | add_interval(quantity, values.mean().item(), (values.std() / len(g) ** 0.5).item())


def measure_integrand(variant: Variant, f: Function, draws: int, seed: int) -> Moments:
    """Measure the gradient of E[f(z)] in mu, z ~ N(mu, 1), with `draws` repeats; fit a baseline's average first."""
    g = _draw_gradients(variant, DIAGONAL_NORMAL, f, 0.0, 1, draws, seed)
    return normalise((g - g.mean(0)).square().sum(1), g.mean(0), examples=1)


def _draw_gradients(
    variant: Variant, family: Family, f: Function, parameter: float, latents: int, draws: int, seed: int
) -> Float[Tensor, "R D"]:
    """Return estimates of the gradient of E[f(z)] in the family's first parameter, whose others are 0."""
    estimator, source = variant.estimator, make_generator(seed, "integrand")

    def estimate(values: Float[Tensor, "N D"], average: Tensor) -> Float[Tensor, " N"]:
        noise = torch.randn(variant.draws, *values.shape, generator=source, dtype=torch.float64)
        q = family.build(values, *(torch.zeros_like(values) for _ in family.heads[1:]))
        return estimator.estimate(lambda z, q: f(z), MEAN, q, noise, average.expand(len(values)))

    average = torch.zeros((), dtype=torch.float64)
    for step in range(FITTING_STEPS if estimator.averaging_rate else 0):
        value = estimate(torch.full((100, latents), parameter, dtype=torch.float64), average)
        average = estimator.update_average(average, value) if step else value.mean()
    gradients = []
    for start in range(0, draws, size := max(1, DRAWS_PER_CHUNK // latents)):
        shape = min(size, draws - start), latents
        values = torch.full(shape, parameter, dtype=torch.float64, requires_grad=True)
        value = estimate(values, average).sum()
        gradient = torch.autograd.grad(value, values, materialize_grads=True)[0] if value.requires_grad else 0 * values
        gradients.append(gradient.detach())
    return torch.cat(gradients)
