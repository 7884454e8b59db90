"""The direct route: one backward pass through the whole model for each estimate.

It is slower than the joint route and has larger errors, because one repeat gives one minibatch gradient. It is also
correct if examples interact, and if encoder and decoder share parameters.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.gradients.joint_measurement import COSINES
from vaezoo.gradients.moments import (
    PARTS,
    RELATIVE_ROUNDING,
    Measurement,
    Moments,
    ValueWithError,
    normalise,
    z_score,
)
from vaezoo.models import Model
from vaezoo.variants import FittedVariant, estimate

Gradient = dict[str, Tensor]


def minibatch_gradient(model: Model, fitted: FittedVariant, x: Tensor, noise: Float[Tensor, "K B D"]) -> Gradient:
    """Return the gradient estimate of a minibatch, by parameter of the encoder and the decoder, nats/parameter."""
    fitted_model = fitted.attach_to(model)
    parameters = {name: p for name, p in fitted_model.named_parameters() if name.startswith(PARTS)}
    value = estimate(fitted.variant, fitted_model, x, noise[: fitted.variant.draws], fitted.average).mean()
    gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, gradients, strict=True))


def measure_directly(
    model: Model,
    fitted: FittedVariant,
    reference: FittedVariant | None,
    x: Float[Tensor, "B ..."],
    draws: Float[Tensor, "R K B D"],
) -> Measurement:
    """Measure one variant by the direct route: one pass over the repeats for the means, one for the deviations.

    Args:
        reference: the pathwise estimate of the same objective, for bias and cosine; None to leave them out.
        draws: R repeats of the noise.
    """
    halves = [index.tolist() for index in torch.arange(len(draws)).tensor_split(2)]
    means = [_mean(model, fitted, x, draws[half]) for half in halves]
    shares = [len(half) / len(draws) for half in halves]
    mean = {name: shares[0] * first + shares[1] * means[1][name] for name, first in means[0].items()}
    exact_means = [] if reference is None else [_mean(model, reference, x, draws[half]) for half in halves]
    # each half of the repeats is projected on the mean difference of the other half, which is independent of it
    directions = [
        {name: other[name] - true[name] for name in other} for other, true in zip(means, exact_means, strict=False)
    ]
    squares: dict[str, list[Tensor]] = {name: [] for name in mean}
    projections: list[float] = []
    cosines: list[float] = []
    is_different = False
    for half, repeats in enumerate(halves):
        for r in repeats:
            g = minibatch_gradient(model, fitted, x, draws[r])
            for name, value in g.items():
                squares[name].append((value - mean[name]).double().square().sum())
            if reference is None:
                continue
            exact = minibatch_gradient(model, reference, x, draws[r])
            difference = {name: g[name] - exact[name] for name in g}
            is_different |= _encoder_norm(difference) > RELATIVE_ROUNDING * _encoder_norm(exact)
            projections.append(_encoder_product(difference, directions[1 - half]))
            if half == 0 and len(cosines) < COSINES:
                cosines.append(_encoder_product(g, exact_means[1]) / _encoder_norm(g) / _encoder_norm(exact_means[1]))
    bias = z_score(torch.tensor(projections, dtype=torch.float64)) if is_different else None
    values = torch.tensor(cosines, dtype=torch.float64)
    cosine = ValueWithError.from_values(values) if len(values) > 1 else None
    return Measurement(_moments(squares, mean), bias, cosine, "direct")


def _moments(squares: dict[str, list[Tensor]], mean: Gradient) -> dict[tuple[str, str], Moments]:
    rounding = {name: RELATIVE_ROUNDING**2 * value.double().square().sum() for name, value in mean.items()}
    rows = {name: torch.stack(values) for name, values in squares.items()}
    rows = {name: torch.where(values > rounding[name], values, 0.0) for name, values in rows.items()}
    layers = {name: (name.split(".")[0], name.partition(".")[2].rpartition(".")[0]) for name in mean}
    moments = {}
    for key in dict.fromkeys([*layers.values(), *((part.rstrip("."), "") for part in PARTS)]):
        names = [name for name, layer in layers.items() if layer == key or (key[1] == "" and layer[0] == key[0])]
        total = torch.cat([mean[name].flatten().double() for name in names])
        # the whole minibatch counts as one example
        moments[key] = normalise(torch.stack([rows[name] for name in names]).sum(0), total, examples=1)
    return moments


def _mean(model: Model, fitted: FittedVariant, x: Tensor, draws: Float[Tensor, "R K B D"]) -> Gradient:
    total: Gradient = {}
    for repeat in draws:
        for name, value in minibatch_gradient(model, fitted, x, repeat).items():
            total[name] = total.get(name, 0.0) + value.double() / len(draws)
    return total


def _encoder_product(a: Gradient, b: Gradient) -> float:
    return sum(float((a[n].double() * b[n]).sum()) for n in a if n.startswith("encoder."))


def _encoder_norm(g: Gradient) -> float:
    return float(torch.cat([value.flatten().double() for n, value in g.items() if n.startswith("encoder.")]).norm())
