"""How far each draw's gradient lies from its mean, example by example: two routes to the same numbers.

Both return, for R repeats of the noise at fixed parameters, a `Spread`. Neither ever holds R gradients in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from vaezoo.models import Model

Estimate = Callable[[Model, Tensor, Tensor], Float[Tensor, " B"]]
GRADIENT_VALUES_AT_ONCE = 2**24
GROUP = 20
ROUNDING = 1e-6  # relative, of gradients in float32


@dataclass(frozen=True)
class Spread:
    """Of one layer's or parameter's per-example gradients g_br, over R repeats of the noise.

    deviation: ‖g_br - mean_r g_br‖².
    total: sum_b mean_r g_br, flattened; None where the mean is not formed.
    apart: of so many repeats, the first ones, the deviations are right one by one, of the others in sum; None for all.
    """

    deviation: Float[Tensor, "R B"]
    total: Float[Tensor, " P"] | None
    apart: int | None = None


def totals(spreads: Iterable[Spread]) -> list[Float[Tensor, " P"]]:
    """Those that were formed."""
    return [spread.total for spread in spreads if spread.total is not None]


@contextmanager
def recorded(layers: Mapping[str, nn.Linear]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Each layer's (input, output) while the model runs; a layer that is used twice is refused."""
    record: dict[str, tuple[Tensor, Tensor]] = {}

    def remember(name: str, inputs: Tensor, output: Tensor) -> None:
        if name in record:
            raise RuntimeError(f"layer {name} is used twice in one estimate, so its gradient is no product of two")
        record[name] = (inputs.detach(), output)

    handles = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: remember(name, inputs[0], output))
        for name, layer in layers.items()
    ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()


def of_linear_layers(
    model: Model,
    estimate: Estimate,
    layers: Mapping[str, nn.Linear],
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "R K B D"],
) -> dict[str, Spread]:
    """Linear layers: the gradient of one row is an outer product, so its norm is a product of two norms.

    One backward pass to the layers' outputs gives all; no weight gradient is formed.
    """
    repeats, draws, examples, _ = noise.shape
    rows = noise.transpose(0, 1).reshape(draws, repeats * examples, -1)
    with recorded(layers) as record:
        value = estimate(model, x.repeat(repeats, *[1] * (x.ndim - 1)), rows)
    outputs = [output for _, output in record.values()]
    deltas = torch.autograd.grad(value.sum(), outputs, allow_unused=True, materialize_grads=True)
    found = {}
    for (name, (inputs, _)), delta in zip(record.items(), deltas, strict=True):
        bias = [] if layers[name].bias is None else [inputs.new_ones(*inputs.shape[:-1], 1)]
        a, d = (t.reshape(-1, repeats, examples, t.shape[-1]) for t in (torch.cat([inputs, *bias], -1), delta))
        found[name] = (_encoder_spread if name.startswith("encoder.") else of_products)(a, d)
    return found


def _encoder_spread(inputs: Float[Tensor, "1 R B I"], delta: Float[Tensor, "1 R B O"]) -> Spread:
    """g_br = delta_rb inputs_b': the encoder never sees the noise, so its inputs are those of the first repeat.

    Centring delta is then exact, and spares the large products of the general case. What is left of a gradient that no
    noise reaches is rounding, and counts as 0.
    """
    a, d = inputs[0, 0].double(), delta[0].double()
    size = a.square().sum(-1)
    deviation = (d - d.mean(0)).square().sum(-1) * size
    rounding = ROUNDING**2 * d.square().sum(-1).mean(0) * size
    return Spread(torch.where(deviation > rounding, deviation, 0.0), (d.mean(0).T @ a).flatten())


def of_products(inputs: Float[Tensor, "K R B I"], delta: Float[Tensor, "K R B O"], apart: int | None = None) -> Spread:
    """g_br = sum_k delta_krb inputs_krb'.

    ‖g - mean‖² = ‖g‖² - 2 <g, mean> + ‖mean‖². The middle term costs half of all, and its sum over the repeats is known
    without it: for standard errors a number `apart` of the repeats is enough.
    """
    draws, repeats = inputs.shape[:2]
    few = repeats if apart is None else min(apart, repeats)
    a, d = (t.permute(2, 1, 0, 3).contiguous() for t in (inputs, delta))  # [B, R, K, I or O]
    mean = d.flatten(1, 2).mT @ a.flatten(1, 2) / repeats  # [B, O, I]
    size = mean.double().square().sum((-1, -2))[:, None]
    cross = (a[:, :few].flatten(1, 2) @ mean.mT).mul_(d[:, :few].flatten(1, 2)).sum(-1, dtype=torch.float64)
    cross = cross.unflatten(1, (few, draws)).sum(-1)
    rest = (repeats * size - cross.sum(1, keepdim=True)) / max(1, repeats - few)
    squares = ((a @ a.mT).double() * (d @ d.mT)).sum((-1, -2))
    deviation = squares - 2 * torch.cat([cross, rest.expand(-1, repeats - few)], 1) + size
    deviation = deviation.T.clamp(min=0) if few == repeats else deviation.T
    return Spread(deviation, mean.sum(0).flatten().double(), None if few == repeats else few)


def within_groups(
    inputs: Float[Tensor, "K R B I"], slope: Float[Tensor, "K R B O"], weight: Float[Tensor, "K R B"]
) -> Spread:
    """g_br = sum_k weight_krb slope_krb (inputs_krb, 1)', without its mean, which a variance alone can do without.

    Among the m estimates of a group, ‖g_r‖² less the mean inner product with the others has the variance as its mean,
    and inner products of sums of outer products are those of their factors. Of the R - 1 degrees of freedom, one is
    lost for each further group. The deviations are right in sum, none by itself, and scaled as if they were from the
    mean of all; a sum below 0 is rounding, and counts as 0. Two thirds of the cost of `of_products`.
    """
    draws, repeats = inputs.shape[:2]
    groups, found = max(1, repeats // GROUP), []
    for own in zip(*(t.tensor_split(groups, 1) for t in (inputs, slope, weight[..., None])), strict=True):
        a, d, w = (t.permute(2, 1, 0, 3).flatten(1, 2) for t in own)  # [B, m K, I, O or 1]
        sizes = (own[0].shape[1], draws)
        pairs = (a @ a.mT).double().add_(1).mul_(d @ d.mT).mul_(w @ w.mT)
        pairs = pairs.unflatten(1, sizes).unflatten(3, sizes).sum((2, 4))
        squares = pairs.diagonal(dim1=1, dim2=2)
        found.append(squares - (pairs.sum(2) - squares) / (sizes[0] - 1))
    deviation = torch.cat(found, 1).T * ((repeats - 1) / repeats)
    return Spread(torch.where(deviation.sum(0) > 0, deviation, 0.0), None, apart=0)


def of_parameters(
    model: Model,
    estimate: Estimate,
    names: list[str],
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "R K B D"],
) -> dict[str, Spread]:
    """Any parameters, by `torch.func`: two passes over the repeats, first the mean, then the deviations from it."""
    parameters = dict(model.named_parameters())
    chosen = {name: parameters[name].detach() for name in names}
    others = {name: value.detach() for name, value in parameters.items() if name not in chosen}

    def one(chosen: dict[str, Tensor], x: Tensor, noise: Tensor) -> Tensor:
        value: Tensor = functional_call(model, {**others, **chosen}, (estimate, x[None], noise[:, None]))
        return value[0]

    gradients = vmap(vmap(grad(one), (None, 0, 1)), (None, None, 0))
    size = sum(value.numel() for value in chosen.values()) * len(x)
    chunks = noise.split(max(1, GRADIENT_VALUES_AT_ONCE // size))
    mean = {name: value.new_zeros(len(x), value.numel(), dtype=torch.float64) for name, value in chosen.items()}
    for chunk in chunks:
        for name, g in gradients(chosen, x, chunk).items():
            mean[name] += _rows(g).sum(0) / len(noise)
    deviation: dict[str, list[Tensor]] = {name: [] for name in names}
    for chunk in chunks:
        for name, g in gradients(chosen, x, chunk).items():
            deviation[name].append((_rows(g) - mean[name]).square().sum(-1))
    return {name: Spread(torch.cat(deviation[name]), mean[name].sum(0)) for name in names}


def _rows(gradients: Float[Tensor, "R B ..."]) -> Float[Tensor, "R B P"]:
    return gradients.reshape(*gradients.shape[:2], -1).double()
