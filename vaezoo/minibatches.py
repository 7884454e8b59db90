"""What the choice of the minibatch adds to the variance of a gradient, and the variance of fresh estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.chunks import chunk_of, linear_layers
from vaezoo.jacobians import flat, layers_of
from vaezoo.measurement import EVERY_EXAMPLE, Figure
from vaezoo.models import Model
from vaezoo.plainly import gradient, taken_apart
from vaezoo.replay import Subject

EXAMPLES_AT_ONCE = 200
FEW = 4


def between_examples(
    model: Model, subject: Subject, x: Float[Tensor, "N ..."], noise: Float[Tensor, "M K N D"]
) -> dict[str, Figure]:
    """tr Cov_i(E_z g_i) of single examples' gradients, encoder and decoder; over B it is what the minibatch adds.

    From M >= 2 independent estimates of each of N examples: the variance of their means over the draws, less what the
    draws leave in it, which is the mean variance over the draws over M. Errors by the spread over examples.
    """
    found: dict[str, Figure] = {}
    for part, inner in (("encoder", _encoder), ("decoder", _decoder)):
        products, with_mean = inner(model, subject, x, noise)
        squares = with_mean.mean()  # of the mean over all examples: the mean of inner products with it
        draws = products.shape[-1]
        own = products.sum((1, 2)) / draws**2  # ‖mean over draws‖²
        within = (products.diagonal(dim1=1, dim2=2).sum(1) - draws * own) / (draws - 1)
        terms = (own - 2 * with_mean + squares) * len(x) / (len(x) - 1) - within / draws
        found[part] = Figure(terms.mean().item(), (terms.std() / math.sqrt(len(x))).item())
    return found


Products = tuple[Float[Tensor, "N M M"], Float[Tensor, " N"]]


def _encoder(model: Model, subject: Subject, x: Tensor, noise: Tensor) -> Products:
    """<g_im, g_im'> of each example, and the inner product of its mean with the mean over all examples."""
    layers = layers_of(model.encoder, x)
    rows = range(0, len(x), EXAMPLES_AT_ONCE)
    parts = [slice(i, i + EXAMPLES_AT_ONCE) for i in rows]
    delta = torch.cat([chunk_of(model, {"it": subject}, x[p], noise[:, :, p], {}).posterior["it"] for p in parts], 1)
    products = torch.zeros(len(x), len(noise), len(noise), dtype=torch.float64)
    with_mean = torch.zeros(len(x), dtype=torch.float64)
    for layer in layers.values():
        own = delta.transpose(0, 1)
        products += own @ layer.gram(EVERY_EXAMPLE) @ own.mT
        with_mean += layer.along(delta.mean(0), layer.gradient(delta.mean(0)))
    return products, with_mean


def _decoder(model: Model, subject: Subject, x: Tensor, noise: Tensor) -> Products:
    products, pairs = [], dict[str, list[tuple[Tensor, Tensor]]]()
    for i in range(0, len(x), EXAMPLES_AT_ONCE):
        part = slice(i, i + EXAMPLES_AT_ONCE)
        chunk = chunk_of(model, {"it": subject}, x[part], noise[:, :, part], linear_layers(model.decoder))
        inner = torch.zeros((), dtype=torch.float64)
        for name, (inputs, slope) in chunk.layers.items():
            a = torch.cat([inputs, inputs.new_ones(*inputs.shape[:-1], 1)], -1).permute(2, 1, 0, 3)  # [N, M, K, I]
            d = (chunk.decoder["it"][..., None] * slope).permute(2, 1, 0, 3)
            pairs.setdefault(name, []).append((a.flatten(1, 2), d.flatten(1, 2)))
            gram = (a.flatten(1, 2) @ a.flatten(1, 2).mT).double() * (d.flatten(1, 2) @ d.flatten(1, 2).mT)
            sizes = (len(noise), a.shape[2])
            inner = inner + gram.unflatten(1, sizes).unflatten(3, sizes).sum((2, 4))
        products.append(inner)
    with_mean = torch.zeros(len(x), dtype=torch.float64)
    for own in pairs.values():
        a, d = (torch.cat(t) for t in zip(*own, strict=True))  # [N, M K, I or O]
        mean = d.flatten(0, 1).mT @ a.flatten(0, 1) / (len(x) * len(noise))
        with_mean += ((a @ mean.mT) * d).double().sum((1, 2)) / len(noise)
    return torch.cat(products), with_mean


Fresh = Callable[[], tuple[Float[Tensor, "B ..."], Float[Tensor, "K B D"]]]


def fresh_variance(model: Model, subjects: Mapping[str, Subject], fresh: Fresh, pairs: int) -> dict[str, Figure]:
    """The variance of the encoder's minibatch gradient over minibatch, binarization and latent noise together.

    fresh: a new minibatch with its noise, at each call. Half the squared difference of two independent gradients has
    the variance as its mean; so many pairs are drawn. Nothing is assumed of how examples add up.
    """
    halves: dict[str, list[float]] = {name: [] for name in subjects}
    x, noise = fresh()
    easy = {name: s for name, s in subjects.items() if taken_apart(model, s, x[:FEW], noise[None, :, :FEW])}
    hard = {name: s for name, s in subjects.items() if name not in easy}
    for _ in range(pairs):
        one, other = (_gradients(model, easy, hard, *fresh()) for _ in range(2))
        for name, own in halves.items():
            differences = [(a - b).double().square().sum() for a, b in zip(one[name], other[name], strict=True)]
            own.append(0.5 * float(torch.stack(differences).sum()))
    values = {name: torch.tensor(own, dtype=torch.float64) for name, own in halves.items()}
    return {name: Figure(v.mean().item(), (v.std() / math.sqrt(pairs)).item()) for name, v in values.items()}


def _gradients(
    model: Model, easy: Mapping[str, Subject], hard: Mapping[str, Subject], x: Tensor, noise: Float[Tensor, "K B D"]
) -> dict[str, list[Tensor]]:
    """The encoder's; those that can't be taken apart by a backward pass of the whole model."""
    found = {}
    for name, subject in hard.items():
        whole = gradient(model, subject, x, noise)
        found[name] = [g for parameter, g in whole.items() if parameter.startswith("encoder.")]
    if not easy:
        return found
    parts = [slice(i, i + EXAMPLES_AT_ONCE) for i in range(0, len(x), EXAMPLES_AT_ONCE)]
    chunks = [chunk_of(model, easy, x[p], noise[None, :, p], {}).posterior for p in parts]
    output, parameters = flat(model.encoder(x)), list(model.encoder.parameters())
    for name in easy:
        delta = torch.cat([chunk[name][0] for chunk in chunks]) / len(x)
        found[name] = list(
            torch.autograd.grad(output, parameters, delta, retain_graph=True, allow_unused=True, materialize_grads=True)
        )
    return found
