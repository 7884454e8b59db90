"""The gradients of many estimators, measured together at the same parameters, minibatch and noise.

An estimate of one example is J_b' d_br in the encoder's parameters (`jacobians`) and sum_k c_kbr times the slope of
log p(x_b|z_k) in the decoder's; d and c come from one pass of the decoder for all estimators (`replay`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.chunks import Chunk, chunk_of, linear_layers
from vaezoo.deviations import ROUNDING, Spread, of_parameters, of_products
from vaezoo.estimators import pathwise
from vaezoo.gradients import Moments, normalise
from vaezoo.jacobians import Layer, layers_of, slices_of
from vaezoo.models import Model
from vaezoo.replay import Subject
from vaezoo.variants import estimate

DRAWS_A_CHUNK = 2_000  # rows of the decoder: what they leave behind stays in the processor's cache
NUMBERS_A_CHUNK = 1_000_000
COSINES = 40
APART = 200
EVERY_EXAMPLE = slice(None)

Noise = Callable[[slice], Float[Tensor, "R K B D"]]
Products = Callable[[Float[Tensor, "K R B I"], Float[Tensor, "K R B O"], Float[Tensor, "K R B"]], Spread]


def told_apart(
    inputs: Float[Tensor, "K R B I"], slope: Float[Tensor, "K R B O"], weight: Float[Tensor, "K R B"]
) -> Spread:
    """g_br = sum_k weight_krb slope_krb (inputs_krb, 1)'; as many repeats are told apart as a standard error needs."""
    return of_products(
        torch.cat([inputs, inputs.new_ones(*inputs.shape[:-1], 1)], -1), weight[..., None] * slope, APART
    )


@dataclass(frozen=True)
class Figure:
    """A number with its standard error."""

    value: float
    se: float


@dataclass(frozen=True)
class Measured:
    """What R repeats tell of one subject's gradient.

    moments: by (parameters, layer): "encoder", "decoder" or a parameter of the posterior; layer "" for all of them.
    bias: z-score of the difference to the pathwise gradient of the same objective from the same noise; standard normal
        for an unbiased estimate. None for that gradient itself.
    cosine: of the angle between one estimate and the exact direction, encoder; its mean over repeats.
    """

    moments: dict[tuple[str, str], Moments]
    bias: float | None
    cosine: Figure | None


def _reference(subject: Subject, subjects: Mapping[str, Subject]) -> str | None:
    """Who among the subjects is the pathwise estimate of the same objective with as many draws."""
    wanted = (subject.variant.objective, subject.variant.draws)
    same = (n for n, s in subjects.items() if (s.variant.objective, s.variant.draws) == wanted)
    return next((name for name in same if subjects[name].variant.estimator == pathwise), None)


def _quadratic(deviation: Float[Tensor, "R B S"], gram: Float[Tensor, "B S S"]) -> Float[Tensor, "R B"]:
    """d' G_b d; a layer that is a head of one of the posterior's parameters has zeros but for a block."""
    used = gram.ne(0).any(0).any(0).nonzero()
    block = slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0)
    rows = deviation[..., block].transpose(0, 1)
    return ((rows @ gram[:, block, block]) * rows).sum(-1).T


class _Sums:
    """What is kept of one subject while the examples stream by."""

    def __init__(self) -> None:
        self.deviations: dict[tuple[str, str], Float[Tensor, " R"]] = {}
        self.decoder_totals: dict[str, Tensor] = {}
        self.means: list[Float[Tensor, "B S"]] = []
        self.first: list[Float[Tensor, "R B S"]] = []
        self.direction: list[Float[Tensor, "B S"]] = []
        self.projections: Float[Tensor, " R"] | None = None
        self.apart: int | None = None

    def add_posterior(self, delta: Float[Tensor, "R B S"], gram: dict[str, Tensor], slices: dict[str, slice]) -> None:
        mean = delta.mean(0)
        deviation = delta - mean
        for layer, g in gram.items():
            found, rounding = _quadratic(deviation, g), ROUNDING**2 * _quadratic(mean[None], g)
            self._keep("encoder", layer, torch.where(found > rounding, found, 0.0))
        for name, own in slices.items():
            squares = deviation[..., own].square().sum(-1)
            rounding = ROUNDING**2 * mean[..., own].square().sum(-1)
            self._keep(name, "", torch.where(squares > rounding, squares, 0.0))
        count = min(COSINES, len(delta) // 2)
        self.means.append(mean)
        self.first.append(delta[:count].clone())  # a view would keep all repeats in memory
        self.direction.append(delta[count:].mean(0))

    def add_decoder(self, spreads: dict[str, Spread]) -> None:
        for layer, spread in spreads.items():
            self._keep("decoder", layer, spread.deviation)
            if spread.total is not None:
                self.decoder_totals[layer] = self.decoder_totals.get(layer, 0.0) + spread.total
            self.apart = self.apart if spread.apart is None else spread.apart

    def add_difference(self, difference: Float[Tensor, "R B S"]) -> None:
        """Project each half's differences on the mean difference of the other half, which they have not seen."""
        one, other = difference.tensor_split(2)
        pair = ((one * other.mean(0)).sum((1, 2)), (other * one.mean(0)).sum((1, 2)))
        self.projections = torch.cat(pair) + (0.0 if self.projections is None else self.projections)

    def _keep(self, parameters: str, layer: str, deviation: Tensor) -> None:
        key, own = (parameters, layer), deviation.sum(1)
        self.deviations[key] = self.deviations[key] + own if key in self.deviations else own


def measure(
    model: Model,
    subjects: Mapping[str, Subject],
    x: Float[Tensor, "B ..."],
    noise: Noise,
    decoder: Products | None = told_apart,
) -> dict[str, Measured]:
    """Moments, bias and cosine of each subject's gradient.

    noise: examples -> their noise, R repeats of K draws; a subject of fewer draws takes the first ones.
    decoder: what makes of its linear layers' inputs and slopes, and the draws' weights, the spread of their gradients,
        at as much cost again; None where the decoder's gradient is not wanted.
    Bias and cosine need the pathwise estimate of the same objective, with as many draws, among the subjects. Memory
    does not grow with the number of parameters times repeats.
    """
    linear = linear_layers(model.decoder) if decoder else {}
    layers = layers_of(model.encoder, x)
    references = {name: _reference(subject, subjects) for name, subject in subjects.items()}
    kept = {name: _Sums() for name in subjects}
    for own in _examples(len(x), noise):
        gram = {name: layer.gram(own) for name, layer in layers.items()}
        _add(kept, model, subjects, references, x[own], noise(own), gram, linear, decoder)
    slices = slices_of(model.encoder(x[:1]))
    directions = {
        name: {n: layer.gradient(torch.cat(kept[name].direction)) for n, layer in layers.items()}
        for name in references.values()
        if name is not None
    }
    return {
        name: _conclude(layers, slices, kept[name], directions.get(reference or ""))
        for name, reference in references.items()
    }


def _add(
    kept: dict[str, _Sums],
    model: Model,
    subjects: Mapping[str, Subject],
    references: Mapping[str, str | None],
    x: Float[Tensor, "b ..."],
    noise: Float[Tensor, "R K b D"],
    gram: dict[str, Float[Tensor, "b S S"]],
    linear: dict[str, nn.Linear],
    decoder: Products | None,
) -> None:
    """A function of its own, so that the memory of some examples is free before the next."""
    chunk = chunk_of(model, subjects, x, noise, linear)
    for name, delta in chunk.posterior.items():
        kept[name].add_posterior(delta, gram, slices_of(chunk.q))
        if (exact := references[name]) not in (None, name):
            kept[name].add_difference(delta - chunk.posterior[exact])
    for name, spreads in _decoder(model, subjects, chunk, x, noise, decoder) if decoder else ():
        kept[name].add_decoder(spreads)


def _examples(count: int, noise: Noise) -> Iterator[slice]:
    repeats, draws, _, latents = noise(slice(0, 1)).shape
    size = max(1, min(DRAWS_A_CHUNK // (repeats * draws), NUMBERS_A_CHUNK // (repeats * latents)))
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def _decoder(
    model: Model, subjects: Mapping[str, Subject], chunk: Chunk, x: Tensor, noise: Tensor, products: Products
) -> Iterator[tuple[str, dict[str, Spread]]]:
    """The spread of each subject's decoder gradient; computed once for those that weigh the draws equally."""
    owned = {f"{name}.{own}" for name in chunk.layers for own in ("weight", "bias")}
    others = [f"decoder.{name}" for name, _ in model.decoder.named_parameters() if name not in owned]
    done: list[tuple[Tensor, dict[str, Spread]]] = []
    for name, subject in subjects.items():
        weight = chunk.decoder[name]
        found = next((spreads for seen, spreads in done if torch.equal(seen, weight)), None)
        if found is None:
            found = {}
            for layer, (inputs, slope) in chunk.layers.items():
                few = slice(len(weight))
                found[layer] = products(inputs[few], slope[few], weight)
            done.append((weight, found))
        if others:
            function = _function(subject)
            general = of_parameters(subject.on(model), function, others, x, noise[:, : len(weight)])
            found = found | {n.removeprefix("decoder."): spread for n, spread in general.items()}
        yield name, found


def _function(subject: Subject) -> Callable[[Model, Tensor, Tensor], Tensor]:
    return lambda model, x, noise: estimate(subject.variant, model, x, noise, subject.average)


def _conclude(
    layers: dict[str, Layer], slices: dict[str, slice], sums: _Sums, direction: dict[str, Tensor] | None
) -> Measured:
    deviations, mean = sums.deviations, torch.cat(sums.means)
    totals: dict[tuple[str, str], Tensor] = {("decoder", n): total for n, total in sums.decoder_totals.items()}
    for name, layer in layers.items():
        totals["encoder", name] = len(mean) * layer.gradient(mean).flatten().double()
    for name, own in slices.items():
        totals[name, ""] = mean[:, own].flatten()
    apart = {key: sums.apart if key[0] == "decoder" else None for key in deviations}
    moments = {key: normalise(own, totals.get(key), len(mean), apart[key]) for key, own in deviations.items()}
    for part in {parameters for parameters, layer in deviations if layer}:
        keys = [key for key in deviations if key[0] == part]
        whole = torch.stack([deviations[key] for key in keys]).sum(0)
        total = torch.cat([totals[key] for key in keys]) if set(keys) <= set(totals) else None
        moments[part, ""] = normalise(whole, total, len(mean), apart[keys[0]])
    cosine = None if direction is None else _cosine(layers, torch.cat(sums.first, 1), direction)
    return Measured(moments, None if sums.projections is None else z_score(sums.projections), cosine)


def z_score(projections: Float[Tensor, " R"]) -> float | None:
    """The mean product of the halves' mean differences in its standard errors, given either half; their average."""
    one, other = ((half.mean() / half.std() * len(half) ** 0.5).item() for half in projections.tensor_split(2))
    return (one + other) / 2 if math.isfinite(one + other) else None


def _cosine(layers: dict[str, Layer], first: Float[Tensor, "N B S"], direction: dict[str, Tensor]) -> Figure | None:
    """The direction is taken from other repeats than the estimates; None where an estimate is 0."""
    products = torch.stack([layer.products(first, direction[name]) for name, layer in layers.items()]).sum(0)
    squares = torch.stack([layer.squares(first) for layer in layers.values()]).sum(0)
    length = torch.cat([g.double().flatten() for g in direction.values()]).norm()
    values = products / squares.sqrt() / length
    if not values.isfinite().all():
        return None
    return Figure(values.mean().item(), (values.std() / len(values) ** 0.5).item())
