"""Squared deviations of gradients from their mean, for each example, without R gradients in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, vmap

from vaezoo.models import Model

Estimate = Callable[[Model, Tensor, Tensor], Float[Tensor, " B"]]
GRADIENT_VALUES_AT_ONCE = 2**24
GROUP_SIZE = 20
LEADING_REPEATS = 200


@dataclass(frozen=True)
class Spread:
    """Squared deviations of the gradients g_br of one layer or parameter, for R repeats of the noise and B examples.

    deviation: ‖g_br - mean_r g_br‖², nats²/parameter².
    total: sum_b mean_r g_br, flattened, nats/parameter; None if the mean was not computed.
    leading: number of repeats, the first ones, whose deviations are correct one by one. Those of the others are correct
        in their sum only. None if all are correct one by one.
    """

    deviation: Float[Tensor, "R B"]
    total: Float[Tensor, " P"] | None
    leading: int | None = None


@dataclass(frozen=True)
class OuterProducts:
    """sum_n slopes_n inputs_n', stored as its factors; the products [O, I] are not computed.

    The gradient of a linear layer is such a sum over the rows of its input. It includes the bias if a 1 is appended to
    each input. Because <s a', t b'> = (s·t)(a·b), inner products need only the Gram matrices of the factors.
    """

    inputs: Float[Tensor, "*#B N I"]
    slopes: Float[Tensor, "*#B N O"]

    def gram(self) -> Float[Tensor, "*B N N"]:
        """Return inner products between the outer products, float64."""
        return (self.inputs @ self.inputs.mT).double() * (self.slopes @ self.slopes.mT)

    def squared_norm(self) -> Float[Tensor, "*B"]:
        """Return the squared norm of the sum, float64."""
        return self.gram().sum((-1, -2))

    def mean(self, count: int) -> Float[Tensor, "*B O I"]:
        """Return the sum divided by `count`."""
        return self.slopes.mT @ self.inputs / count

    def inner(self, direction: Float[Tensor, "*B O I"], over: tuple[int, ...] = (-1,)) -> Float[Tensor, "..."]:
        """Return inner products of the outer products with a direction, float64; of their sum if `over` is (-2, -1)."""
        return (self.slopes * (self.inputs @ direction.mT)).sum(over, dtype=torch.float64)


def append_one(inputs: Float[Tensor, "*N I"]) -> Float[Tensor, "*N I+1"]:
    """Return the inputs with a 1 appended, the input of a layer's bias."""
    return torch.cat([inputs, inputs.new_ones(*inputs.shape[:-1], 1)], -1)


def spread_of_products(
    inputs: Float[Tensor, "K R B I"], slopes: Float[Tensor, "K R B O"], leading: int | None = None
) -> Spread:
    """Return the spread of g_br = sum_k slopes_krb inputs_krb'.

    ‖g - mean‖² = ‖g‖² - 2 <g, mean> + ‖mean‖². The middle term takes half of the time, but its sum over the repeats is
    R ‖mean‖². So it is computed one by one only for the `leading` repeats, which give the standard error.
    """
    draws, repeats = inputs.shape[:2]
    count = repeats if leading is None else min(leading, repeats)
    a, d = (t.permute(2, 1, 0, 3).contiguous() for t in (inputs, slopes))  # [B, R, K, I or O]
    mean = OuterProducts(a.flatten(1, 2), d.flatten(1, 2)).mean(repeats)
    size = mean.double().square().sum((-1, -2))[:, None]
    cross = OuterProducts(a[:, :count].flatten(1, 2), d[:, :count].flatten(1, 2)).inner(mean)
    cross = cross.unflatten(1, (count, draws)).sum(-1)
    rest = (repeats * size - cross.sum(1, keepdim=True)) / max(1, repeats - count)
    squares = OuterProducts(a, d).squared_norm()
    deviation = squares - 2 * torch.cat([cross, rest.expand(-1, repeats - count)], 1) + size
    deviation = deviation.T.clamp(min=0) if count == repeats else deviation.T
    return Spread(deviation, mean.sum(0).flatten().double(), None if count == repeats else count)


def leading_spread(
    inputs: Float[Tensor, "K R B I"], slopes: Float[Tensor, "K R B O"], weights: Float[Tensor, "K R B"]
) -> Spread:
    """Return the spread of g_br = sum_k weights_krb slopes_krb (inputs_krb, 1)'; the first 200 repeats one by one."""
    return spread_of_products(append_one(inputs), weights[..., None] * slopes, LEADING_REPEATS)


def grouped_spread(
    inputs: Float[Tensor, "K R B I"], slopes: Float[Tensor, "K R B O"], weights: Float[Tensor, "K R B"]
) -> Spread:
    """Return the spread of g_br = sum_k weights_krb slopes_krb (inputs_krb, 1)' without its mean, for a variance only.

    In a group of estimates, the expectation of ‖g_r‖² minus the mean inner product with the others is the variance.
    Each group after the first costs one of the R - 1 degrees of freedom. The deviations are correct in their sum only,
    and scaled like deviations from the mean of all estimates. A sum below 0 is due to rounding and set to 0. The
    function takes two thirds of the time of `leading_spread`.
    """
    draws, repeats = inputs.shape[:2]
    groups, deviations = max(1, repeats // GROUP_SIZE), []
    for group in zip(*(t.tensor_split(groups, 1) for t in (inputs, slopes, weights[..., None])), strict=True):
        a, d, w = (t.permute(2, 1, 0, 3).flatten(1, 2) for t in group)  # [B, m K, I, O or 1]
        sizes = (group[0].shape[1], draws)
        # as in OuterProducts.gram, but in place, and with the 1 of the bias and the weights
        pairs = (a @ a.mT).double().add_(1).mul_(d @ d.mT).mul_(w @ w.mT)
        pairs = pairs.unflatten(1, sizes).unflatten(3, sizes).sum((2, 4))
        squares = pairs.diagonal(dim1=1, dim2=2)
        deviations.append(squares - (pairs.sum(2) - squares) / (sizes[0] - 1))
    deviation = torch.cat(deviations, 1).T * ((repeats - 1) / repeats)
    return Spread(torch.where(deviation.sum(0) > 0, deviation, 0.0), None, leading=0)


def differentiate_examples(
    model: Model, estimate: Estimate, names: list[str], x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> dict[str, Float[Tensor, "R B P"]]:
    """Return gradients of single examples in any parameters, flattened, by name, nats/parameter; by `torch.func`."""
    parameters = dict(model.named_parameters())
    chosen = {name: parameters[name].detach() for name in names}
    others = {name: value.detach() for name, value in parameters.items() if name not in chosen}

    def single_estimate(chosen: dict[str, Tensor], x: Tensor, noise: Tensor) -> Tensor:
        value: Tensor = functional_call(model, {**others, **chosen}, (estimate, x[None], noise[:, None]))
        return value[0]

    gradients = vmap(vmap(grad(single_estimate), (None, 0, 1)), (None, None, 0))(chosen, x, noise)
    return {name: g.reshape(*g.shape[:2], -1) for name, g in gradients.items()}


def spread_of_parameters(
    model: Model, estimate: Estimate, names: list[str], x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> dict[str, Spread]:
    """Return the spread of any parameters, by name, from the gradients of single examples.

    The first pass over the repeats computes the mean, the second the deviations from it.
    """
    parameters = dict(model.named_parameters())
    size = sum(parameters[name].numel() for name in names) * len(x)
    chunks = noise.split(max(1, GRADIENT_VALUES_AT_ONCE // size))
    mean = {name: x.new_zeros(len(x), parameters[name].numel(), dtype=torch.float64) for name in names}
    for chunk in chunks:
        for name, g in differentiate_examples(model, estimate, names, x, chunk).items():
            mean[name] += g.double().sum(0) / len(noise)
    deviation: dict[str, list[Tensor]] = {name: [] for name in names}
    for chunk in chunks:
        for name, g in differentiate_examples(model, estimate, names, x, chunk).items():
            deviation[name].append((g.double() - mean[name]).square().sum(-1))
    return {name: Spread(torch.cat(deviation[name]), mean[name].sum(0)) for name in names}
