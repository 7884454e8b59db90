"""Moments, bias and direction of gradient estimates at fixed parameters, minibatch and noise."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.estimators import pathwise
from vaezoo.gradients.decoder_replay import NotReplayedError, differentiate
from vaezoo.gradients.direct_measurement import measure_directly, minibatch_gradient
from vaezoo.gradients.encoder_jacobian import encoder_jacobians, find_linear_layers
from vaezoo.gradients.joint_measurement import NoiseSource, SpreadOfLayer, measure_jointly
from vaezoo.gradients.moments import Measurement, Route
from vaezoo.gradients.spread import OuterProducts, append_one, leading_spread
from vaezoo.models import Model
from vaezoo.variants import FittedVariant

AGREEMENT = 1e-3
PROBE_REPEATS, PROBE_EXAMPLES = 3, 4


def measure(
    model: Model,
    variants: Mapping[str, FittedVariant],
    x: Float[Tensor, "B ..."],
    noise: NoiseSource,
    spread_of_layer: SpreadOfLayer | None = leading_spread,
    routes: Mapping[str, Route] | None = None,
) -> dict[str, Measurement]:
    """Measure variance, signal-to-noise ratio, bias and direction of the gradient of each variant.

    A variant is measured by the joint route if that gives correct gradients for a few examples, else by the direct one.

    Args:
        model: the model at fixed parameters.
        variants: the variants, by a name of your choice. For bias and cosine of a variant, include the pathwise
            estimate of the same objective with the same number of draws.
        x: the minibatch of B examples.
        noise: slice of the examples -> their noise [R, K, b, D], R >= 2 repeats; equal for repeated calls. A variant of
            fewer draws uses the first ones.
        spread_of_layer: function that computes the spread of the decoder's gradients, layer by layer:
            `leading_spread`, or `grouped_spread` for the variance only. None leaves out the decoder, at half the cost.
            The direct route always includes the decoder.
        routes: known routes, by name, for example from an earlier measurement; other variants are tested.

    Returns:
        By name, the measurement and its route.
    """
    routes = {**(routes or {})}
    unknown = [name for name in variants if name not in routes]
    if unknown:
        probe, draws = x[:PROBE_EXAMPLES], noise(slice(0, min(PROBE_EXAMPLES, len(x))))[:PROBE_REPEATS]
        for name in unknown:
            repeats = draws[:, : variants[name].variant.draws]
            joint = supports_joint_measurement(model, variants[name], probe, repeats)
            routes[name] = "joint" if joint else "direct"
    joint_variants = {name: fitted for name, fitted in variants.items() if routes[name] == "joint"}
    measurements: dict[str, Measurement] = {}
    if joint_variants:
        references = {name: _find_reference(fitted, joint_variants) for name, fitted in joint_variants.items()}
        measurements = measure_jointly(model, joint_variants, references, x, noise, spread_of_layer)
    for name in variants.keys() - joint_variants.keys():
        fitted, reference = variants[name], _find_reference(variants[name], variants)
        repeats = noise(slice(0, len(x)))[:, : fitted.variant.draws]
        exact = variants[reference] if reference not in (None, name) else None
        measurements[name] = measure_directly(model, fitted, exact, x, repeats)
    return {name: measurements[name] for name in variants}


def _find_reference(fitted: FittedVariant, variants: Mapping[str, FittedVariant]) -> str | None:
    """Return the name of the pathwise estimate of the same objective and number of draws; None if it is missing."""
    key = (fitted.variant.objective, fitted.variant.draws)
    for name, other in variants.items():
        if (other.variant.objective, other.variant.draws) == key and other.variant.estimator == pathwise:
            return name
    return None


def supports_joint_measurement(
    model: Model, fitted: FittedVariant, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> bool:
    """Return whether the joint route gives correct gradients of a variant; computed for a few examples and repeats.

    The gradient of an example must not depend on the other examples. The sum of the gradients must have the norm of the
    gradient of the minibatch.
    """
    linear = find_linear_layers(model.decoder)
    if {id(p) for p in model.encoder.parameters()} & {id(p) for p in model.decoder.parameters()}:
        return False
    try:
        together = differentiate(model, {"": fitted}, x, noise, linear)
        layers = encoder_jacobians(model.encoder, x)
        alone = [differentiate(model, {"": fitted}, x[[i]], noise[:, :, [i]], linear) for i in range(len(x))]
    except (NotReplayedError, TypeError, RuntimeError):
        return False
    for combined, single, axis in (
        (together.posterior_gradients[""], [part.posterior_gradients[""] for part in alone], 1),
        (together.decoder_weights[""], [part.decoder_weights[""] for part in alone], 2),
    ):
        tolerance = AGREEMENT * float(combined.abs().mean())
        if not torch.allclose(combined, torch.cat(single, axis), rtol=AGREEMENT, atol=tolerance):
            return False
    squares = torch.stack([layer.squares(together.posterior_gradients[""]) for layer in layers.values()]).sum(0)
    for inputs, slopes in together.layers.values():
        weighted = together.decoder_weights[""][..., None] * slopes
        a, d = (t.transpose(0, 1).flatten(1, 2) for t in (append_one(inputs), weighted))
        squares = squares + OuterProducts(a, d).squared_norm() / len(x) ** 2
    measured = ("encoder.", *(f"decoder.{name}." for name in linear))
    exact = []
    for repeat in noise:
        gradients = minibatch_gradient(model, fitted, x, repeat)
        flat = [g.flatten().double() for name, g in gradients.items() if name.startswith(measured)]
        exact.append(float(torch.cat(flat).square().sum()))
    return torch.allclose(squares, torch.tensor(exact, dtype=squares.dtype, device=squares.device), rtol=AGREEMENT)
