"""Moments, bias and direction of gradient estimates at fixed parameters, minibatch and noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.estimators import enumerated, pathwise
from vaezoo.gradients.decoder_replay import differentiate
from vaezoo.gradients.direct_measurement import measure_directly, minibatch_gradient
from vaezoo.gradients.encoder_jacobian import (
    encoder_jacobians,
    find_linear_layers,
    find_other_parameters,
    parameter_slices,
)
from vaezoo.gradients.joint_measurement import NoiseSource, SpreadOfLayer, measure_jointly
from vaezoo.gradients.moments import PARTS, Measurement, Route
from vaezoo.gradients.spread import append_one, differentiate_examples, leading_spread
from vaezoo.models import Model
from vaezoo.reductions import MEAN
from vaezoo.variants import FittedVariant, estimate

EXAMPLES, REPEATS = 3, 2
TOLERANCE = 1e-3  # of the gradient in a layer, which is in float32
MAX_JOINT_NUMBERS = 50_000_000  # 200 MB in float32
MAX_JACOBIAN_NUMBERS = 128_000_000  # 512 MB in float32
FLOAT32_ROUNDING = 1e-5  # of the gradient in the encoder or the decoder, for layers whose own gradient cancels


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
    Models with large convolutions or many latents are measured by the direct route, because the joint one needs much
    memory for them.

    Args:
        model: the model at fixed parameters.
        variants: the variants, by a name of your choice. For bias and cosine of a variant, include the pathwise
            estimate of the same objective with the same number of draws, or the enumerated one.
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
    known = {**(routes or {})}
    if unknown := [name for name in variants if name not in known]:
        probe = x[:EXAMPLES]
        draws = noise(slice(0, len(probe)))
        is_large = estimate_joint_numbers(model, x, len(draws)) > MAX_JOINT_NUMBERS
        joint = (
            set()
            if is_large
            else {name for name in unknown if supports_joint_measurement(model, variants[name], probe, draws)}
        )
        if joint and count_jacobian_numbers(model, x) > MAX_JACOBIAN_NUMBERS:  # only the joint route needs them
            joint = set()
        known |= {name: "joint" if name in joint else "direct" for name in unknown}
    joint_variants = {name: fitted for name, fitted in variants.items() if known[name] == "joint"}
    references = {name: _find_reference(fitted, joint_variants) for name, fitted in joint_variants.items()}
    arguments = (model, joint_variants, references, x, noise, spread_of_layer)
    measurements = measure_jointly(*arguments) if joint_variants else {}
    for name in variants.keys() - joint_variants.keys():
        fitted, reference = variants[name], _find_reference(variants[name], variants)
        exact = variants[reference] if reference not in (None, name) else None
        measurements[name] = measure_directly(model, fitted, exact, x, noise(slice(0, len(x))))
    return {name: measurements[name] for name in variants}


def estimate_joint_numbers(model: Model, x: Float[Tensor, "B ..."], repeats: int) -> int:
    """Return how many numbers the joint route keeps for parameters outside of linear layers, such as convolutions.

    Their gradients are no outer products, so that each example and repeat needs one of its own.
    """
    counts = [
        sum(part.get_parameter(name).numel() for name in find_other_parameters(part))
        for part in (model.encoder, model.decoder)
    ]
    return max(counts) * len(x) * repeats


def count_jacobian_numbers(model: Model, x: Float[Tensor, "B ..."]) -> int:
    """Return how many numbers the Jacobians of the encoder's linear layers have; they grow with the squared latents."""
    entries: int = max(columns.stop for columns in parameter_slices(model.encoder(x[:1])).values())
    outputs: int = sum(layer.out_features for layer in find_linear_layers(model.encoder).values())
    return entries * outputs * len(x)


def _find_reference(fitted: FittedVariant, variants: Mapping[str, FittedVariant]) -> str | None:
    """Return the name of the pathwise estimate of the same objective and number of draws, or of the enumerated one.

    The enumerated estimate has one draw; it is the exact gradient of objectives that are means over draws. None if both
    are missing.
    """
    key = (fitted.variant.objective, fitted.variant.draws)
    is_mean = fitted.variant.objective.reduction == MEAN
    for name, other in variants.items():
        if (other.variant.objective, other.variant.draws) == key and other.variant.estimator == pathwise:
            return name
        if is_mean and other.variant.objective == key[0] and other.variant.estimator == enumerated:
            return name
    return None


def supports_joint_measurement(
    model: Model, fitted: FittedVariant, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> bool:
    """Return whether the joint route gives correct gradients of a variant, for the first examples and repeats.

    The gradient of each example in each layer must be that of a backward pass through the whole model for this example
    alone. The result is False if examples interact, if the joint route misses a gradient, or if the replayed estimate
    raises an error.
    """
    x, noise = x[:EXAMPLES], noise[:REPEATS, : fitted.variant.draws, :EXAMPLES]
    if {id(p) for p in model.encoder.parameters()} & {id(p) for p in model.decoder.parameters()}:
        return False
    try:
        exact = _differentiate_directly(model, fitted, x, noise)
        layers = dict(_differentiate_jointly(model, fitted, x, noise))
    except Exception:  # a user's code can raise anything for a single example, or where only log p(x|z) exists
        return False
    sizes = {
        part: sum(float(g.square().sum()) for n, g in exact.items() if n.startswith(part)) ** 0.5 for part in PARTS
    }
    covered = set()
    for layer, gradient in layers.items():
        names = [name for name in (f"{layer}.weight", f"{layer}.bias", layer) if name in exact]
        expected = torch.cat([exact[name].reshape(*exact[name].shape[:2], -1) for name in names], -1)
        actual = gradient.flatten(2)
        if len(names) == 2:  # the bias is the last column of each row
            actual = torch.cat([gradient[..., :-1].flatten(2), gradient[..., -1]], -1)
        if actual.shape != expected.shape:  # a linear layer without a bias
            return False
        allowed = TOLERANCE * expected.norm() + FLOAT32_ROUNDING * sizes[layer.split(".")[0] + "."]
        if not (actual - expected).norm() <= allowed:  # also if one of them is NaN
            return False
        covered |= set(names)
    return all(not exact[name].any() for name in exact.keys() - covered)


def _differentiate_directly(model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor) -> dict[str, Tensor]:
    # gradients of single examples [R, B, ...], by parameter
    rows = [[minibatch_gradient(model, fitted, x[[b]], repeat[:, [b]]) for b in range(len(x))] for repeat in noise]
    return {name: torch.stack([torch.stack([g[name] for g in row]) for row in rows]) for name in rows[0][0]}


def _differentiate_jointly(
    model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor
) -> Iterator[tuple[str, Tensor]]:
    # gradients of single examples [R, B, O, I], by layer; a 1 is appended to the inputs of a layer with a bias
    shared = differentiate(model, {"": fitted}, x, noise, find_linear_layers(model.decoder))
    for name, layer in encoder_jacobians(model.encoder, x).items():
        products = layer.products(shared.posterior_gradients[""])
        yield f"encoder.{name}", products.slopes[..., None] * products.inputs[:, None]
    for name, (inputs, slopes) in shared.layers[""].items():
        weighted = shared.decoder_weights[""][..., None] * slopes
        yield f"decoder.{name}", torch.einsum("krbo,krbi->rboi", weighted, append_one(inputs))
    if others := [f"decoder.{name}" for name in find_other_parameters(model.decoder)]:
        function = partial(estimate, fitted.variant, average=fitted.average)
        for name, gradient in differentiate_examples(fitted.attach_to(model), function, others, x, noise).items():
            yield name, gradient[:, :, None]
