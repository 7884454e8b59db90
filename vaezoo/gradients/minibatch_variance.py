"""Variance of a gradient over the choice of the minibatch, and over minibatch and noise together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.gradients.decoder_replay import differentiate
from vaezoo.gradients.direct_measurement import minibatch_gradient
from vaezoo.gradients.encoder_jacobian import (
    encoder_jacobians,
    find_linear_layers,
    find_other_parameters,
    flatten_posterior,
)
from vaezoo.gradients.measure import supports_joint_measurement
from vaezoo.gradients.moments import ValueWithError
from vaezoo.gradients.spread import OuterProducts, append_one
from vaezoo.models import Model
from vaezoo.variants import FittedVariant

EXAMPLES_AT_ONCE = 200

InnerProducts = tuple[Float[Tensor, "N M M"], Float[Tensor, " N"]]
BatchSource = Callable[[], tuple[Float[Tensor, "B ..."], Float[Tensor, "K B D"]]]


def measure_between_examples(
    model: Model, fitted: FittedVariant, x: Float[Tensor, "N ..."], noise: Float[Tensor, "M K N D"]
) -> dict[str, ValueWithError]:
    """Measure tr Cov_i(E_z g_i) of the gradients g_i of single examples.

    Divided by B it is the variance of the gradient over minibatches of B examples. Each of N examples has M >= 2
    independent estimates. Let s² be the variance over examples of their means over the M estimates, and v the mean
    variance over the estimates. The measured value is s² - v / M.

    Args:
        noise: M estimates of K draws for each example.

    Returns:
        By part of the model, "encoder" and "decoder", nats²/parameter²; the standard error is over the examples.
    """
    parts: dict[str, ValueWithError] = {}
    routes: dict[str, Callable[..., InnerProducts]] = {}
    if supports_joint_measurement(model, fitted, x, noise):
        routes["encoder"] = _encoder_products
        if not find_other_parameters(model.decoder):
            routes["decoder"] = _decoder_products
    for part in ("encoder", "decoder"):
        inner_products = routes.get(part, partial(_direct_products, part=part))
        products, with_mean = inner_products(model, fitted, x, noise)
        mean_square = with_mean.mean()  # squared norm of the mean over all examples
        estimates = products.shape[-1]
        squares = products.sum((1, 2)) / estimates**2  # ‖mean over estimates‖²
        within = (products.diagonal(dim1=1, dim2=2).sum(1) - estimates * squares) / (estimates - 1)
        terms = (squares - 2 * with_mean + mean_square) * len(x) / (len(x) - 1) - within / estimates
        parts[part] = ValueWithError.from_values(terms)
    return parts


def _encoder_products(model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor) -> InnerProducts:
    # <g_im, g_im'> of each example, and the inner product of its mean with the mean over all examples
    blocks = zip(x.split(EXAMPLES_AT_ONCE), noise.split(EXAMPLES_AT_ONCE, 2), strict=True)
    delta = torch.cat([differentiate(model, {"": fitted}, *block, {}).posterior_gradients[""] for block in blocks], 1)
    products = torch.zeros(len(x), len(noise), len(noise), dtype=torch.float64)
    with_mean = torch.zeros(len(x), dtype=torch.float64)
    mean, by_example = delta.mean(0), delta.transpose(0, 1)
    for layer in encoder_jacobians(model.encoder, x).values():
        products += by_example @ layer.gram(slice(None)) @ by_example.mT
        with_mean += layer.products(mean).inner(layer.gradient(mean))
    return products, with_mean


def _decoder_products(model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor) -> InnerProducts:
    products, pairs = [], dict[str, list[OuterProducts]]()
    for block in zip(x.split(EXAMPLES_AT_ONCE), noise.split(EXAMPLES_AT_ONCE, 2), strict=True):
        chunk = differentiate(model, {"": fitted}, *block, find_linear_layers(model.decoder))
        inner = torch.zeros((), dtype=torch.float64)
        for name, (inputs, slopes) in chunk.layers[""].items():
            weighted = chunk.decoder_weights[""][..., None] * slopes
            a, d = (t.permute(2, 1, 0, 3).flatten(1, 2) for t in (append_one(inputs), weighted))  # [N, M K, I or O]
            pairs.setdefault(name, []).append(OuterProducts(a, d))
            gram = pairs[name][-1].gram().unflatten(1, noise.shape[:2]).unflatten(3, noise.shape[:2])
            inner = inner + gram.sum((2, 4))
        products.append(inner)
    with_mean = torch.zeros(len(x), dtype=torch.float64)
    for parts in pairs.values():
        joined = OuterProducts(torch.cat([part.inputs for part in parts]), torch.cat([part.slopes for part in parts]))
        mean = OuterProducts(joined.inputs.flatten(0, 1), joined.slopes.flatten(0, 1)).mean(len(x) * len(noise))
        with_mean += joined.inner(mean, (-2, -1)) / len(noise)
    return torch.cat(products), with_mean


def _direct_products(model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor, part: str) -> InnerProducts:
    # by a backward pass for each example and estimate, once for the mean and once for the products
    def differentiate_example(b: int) -> Float[Tensor, "M P"]:
        gradients = [minibatch_gradient(model, fitted, x[[b]], repeat[:, [b]]) for repeat in noise]
        return torch.stack(
            [torch.cat([g.flatten() for name, g in row.items() if name.startswith(part)]) for row in gradients]
        ).double()

    total = torch.zeros(())
    for b in range(len(x)):
        total = total + differentiate_example(b).mean(0) / len(x)
    pairs = [(g @ g.mT, g.mean(0) @ total) for g in map(differentiate_example, range(len(x)))]
    return torch.stack([products for products, _ in pairs]), torch.stack([inner for _, inner in pairs])


def measure_fresh_variance(
    model: Model, variants: Mapping[str, FittedVariant], draw_batch: BatchSource, pairs: int
) -> dict[str, ValueWithError]:
    """Measure the variance of the encoder's gradient over minibatch, binarization and latent noise together.

    The expectation of half the squared difference of two independent gradients is the variance. No assumption about the
    independence of examples is needed.

    Args:
        draw_batch: function that returns a new minibatch and its noise at each call.
        pairs: number of pairs of gradients.

    Returns:
        By variant, nats²/parameter²; the standard error is over the pairs.
    """
    x, noise = draw_batch()
    joint = {name: v for name, v in variants.items() if supports_joint_measurement(model, v, x, noise[None])}
    direct = {name: v for name, v in variants.items() if name not in joint}

    def draw_gradients() -> dict[str, list[Tensor]]:
        x, noise = draw_batch()
        gradients = {}
        for name, fitted in direct.items():
            by_parameter = minibatch_gradient(model, fitted, x, noise)
            gradients[name] = [g for parameter, g in by_parameter.items() if parameter.startswith("encoder.")]
        if not joint:
            return gradients
        blocks = zip(x.split(EXAMPLES_AT_ONCE), noise[None].split(EXAMPLES_AT_ONCE, 2), strict=True)
        chunks = [differentiate(model, joint, *block, {}).posterior_gradients for block in blocks]
        output, parameters = flatten_posterior(model.encoder(x)), list(model.encoder.parameters())
        for name in joint:
            delta = torch.cat([chunk[name][0] for chunk in chunks]) / len(x)
            slopes = torch.autograd.grad(
                output, parameters, delta, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            gradients[name] = list(slopes)
        return gradients

    halves: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(pairs):
        first, second = draw_gradients(), draw_gradients()
        for name, values in halves.items():
            squares = [(a - b).double().square().sum() for a, b in zip(first[name], second[name], strict=True)]
            values.append(0.5 * float(torch.stack(squares).sum()))
    return {
        name: ValueWithError.from_values(torch.tensor(values, dtype=torch.float64)) for name, values in halves.items()
    }
