"""Variance of a gradient over the choice of the minibatch, and over minibatch and noise together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.gradients.decoder_replay import differentiate
from vaezoo.gradients.direct_measurement import minibatch_gradient
from vaezoo.gradients.encoder_jacobian import encoder_jacobians, find_linear_layers, flatten_posterior
from vaezoo.gradients.measure import PROBE_EXAMPLES, supports_joint_measurement
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
    for part, inner_products in (("encoder", _encoder_products), ("decoder", _decoder_products)):
        products, with_mean = inner_products(model, fitted, x, noise)
        mean_square = with_mean.mean()  # squared norm of the mean over all examples
        estimates = products.shape[-1]
        squares = products.sum((1, 2)) / estimates**2  # ‖mean over estimates‖²
        within = (products.diagonal(dim1=1, dim2=2).sum(1) - estimates * squares) / (estimates - 1)
        terms = (squares - 2 * with_mean + mean_square) * len(x) / (len(x) - 1) - within / estimates
        parts[part] = ValueWithError(terms.mean().item(), (terms.std() / math.sqrt(len(x))).item())
    return parts


def _encoder_products(model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor) -> InnerProducts:
    # <g_im, g_im'> of each example, and the inner product of its mean with the mean over all examples
    layers = encoder_jacobians(model.encoder, x)
    delta = torch.cat(
        [differentiate(model, {"": fitted}, x[p], noise[:, :, p], {}).posterior_gradients[""] for p in _blocks(len(x))],
        1,
    )
    products = torch.zeros(len(x), len(noise), len(noise), dtype=torch.float64)
    with_mean = torch.zeros(len(x), dtype=torch.float64)
    by_example = delta.transpose(0, 1)
    for layer in layers.values():
        products += by_example @ layer.gram(slice(None)) @ by_example.mT
        with_mean += layer.inner(delta.mean(0), layer.gradient(delta.mean(0)))
    return products, with_mean


def _decoder_products(model: Model, fitted: FittedVariant, x: Tensor, noise: Tensor) -> InnerProducts:
    products, pairs = [], dict[str, list[tuple[Tensor, Tensor]]]()
    for block in _blocks(len(x)):
        chunk = differentiate(model, {"": fitted}, x[block], noise[:, :, block], find_linear_layers(model.decoder))
        inner = torch.zeros((), dtype=torch.float64)
        for name, (inputs, slopes) in chunk.layers.items():
            a = append_one(inputs).permute(2, 1, 0, 3)  # [N, M, K, I]
            d = (chunk.decoder_weights[""][..., None] * slopes).permute(2, 1, 0, 3)
            pairs.setdefault(name, []).append((a.flatten(1, 2), d.flatten(1, 2)))
            sizes = (len(noise), a.shape[2])
            gram = OuterProducts(a.flatten(1, 2), d.flatten(1, 2)).gram()
            inner = inner + gram.unflatten(1, sizes).unflatten(3, sizes).sum((2, 4))
        products.append(inner)
    with_mean = torch.zeros(len(x), dtype=torch.float64)
    for layer_pairs in pairs.values():
        a, d = (torch.cat(factors) for factors in zip(*layer_pairs, strict=True))  # [N, M K, I or O]
        mean = OuterProducts(a.flatten(0, 1), d.flatten(0, 1)).mean(len(x) * len(noise))
        with_mean += OuterProducts(a, d).inner(mean, (-2, -1)) / len(noise)
    return torch.cat(products), with_mean


def _blocks(count: int) -> list[slice]:
    return [slice(i, i + EXAMPLES_AT_ONCE) for i in range(0, count, EXAMPLES_AT_ONCE)]


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
    halves: dict[str, list[float]] = {name: [] for name in variants}
    x, noise = draw_batch()
    probe, draws = x[:PROBE_EXAMPLES], noise[None, :, :PROBE_EXAMPLES]
    joint = {name: v for name, v in variants.items() if supports_joint_measurement(model, v, probe, draws)}
    direct = {name: v for name, v in variants.items() if name not in joint}
    for _ in range(pairs):
        first, second = (_encoder_gradients(model, joint, direct, *draw_batch()) for _ in range(2))
        for name, values in halves.items():
            squares = [(a - b).double().square().sum() for a, b in zip(first[name], second[name], strict=True)]
            values.append(0.5 * float(torch.stack(squares).sum()))
    tensors = {name: torch.tensor(values, dtype=torch.float64) for name, values in halves.items()}
    return {name: ValueWithError(v.mean().item(), (v.std() / math.sqrt(pairs)).item()) for name, v in tensors.items()}


def _encoder_gradients(
    model: Model,
    joint: Mapping[str, FittedVariant],
    direct: Mapping[str, FittedVariant],
    x: Tensor,
    noise: Float[Tensor, "K B D"],
) -> dict[str, list[Tensor]]:
    gradients = {}
    for name, fitted in direct.items():
        by_parameter = minibatch_gradient(model, fitted, x, noise)
        gradients[name] = [g for parameter, g in by_parameter.items() if parameter.startswith("encoder.")]
    if not joint:
        return gradients
    chunks = [differentiate(model, joint, x[p], noise[None, :, p], {}).posterior_gradients for p in _blocks(len(x))]
    output, parameters = flatten_posterior(model.encoder(x)), list(model.encoder.parameters())
    for name in joint:
        delta = torch.cat([chunk[name][0] for chunk in chunks]) / len(x)
        gradients[name] = list(
            torch.autograd.grad(output, parameters, delta, retain_graph=True, allow_unused=True, materialize_grads=True)
        )
    return gradients
