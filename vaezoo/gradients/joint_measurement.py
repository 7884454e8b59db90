"""The joint route: measure the gradients of many variants from one decoder pass and one Jacobian of the encoder.

Repeat r of example b has the gradient J_b' d_br in the encoder's parameters (`encoder_jacobian`). In the decoder's
parameters it is sum_k c_kbr times the gradient of log p(x_b|z_k) (`decoder_replay`, which also computes d).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.gradients.decoder_replay import Layers, SharedPass, differentiate
from vaezoo.gradients.encoder_jacobian import (
    LayerJacobian,
    encoder_jacobians,
    find_linear_layers,
    find_other_parameters,
    parameter_slices,
)
from vaezoo.gradients.moments import RELATIVE_ROUNDING, Measurement, ValueWithError, normalise, squared_mean, z_score
from vaezoo.gradients.spread import Spread, spread_of_parameters
from vaezoo.models import Model
from vaezoo.variants import FittedVariant, estimate

DECODER_ROWS_PER_CHUNK = 2_000  # so that the recorded activations stay in the processor's cache
NUMBERS_PER_CHUNK = 1_000_000
GRAM_NUMBERS_PER_CHUNK = 4_000_000  # 32 MB for each layer
COSINES = 40
GROUPS, MIN_GROUPS = 20, 3  # of repeats, for the squared bias and its jackknife
EXACT_REPEATS = 2  # of estimates without noise

NoiseSource = Callable[[slice], Float[Tensor, "R K B D"]]
SpreadOfLayer = Callable[[Float[Tensor, "K R B I"], Float[Tensor, "K R B O"], Float[Tensor, "K R B"]], Spread]


def _quadratic(deviation: Float[Tensor, "R B S"], gram: Float[Tensor, "B S S"]) -> Float[Tensor, "R B"]:
    # d' G_b d; the Gram matrix of the head of one posterior parameter is zero outside a block
    used = gram.ne(0).any(0).any(0).nonzero()
    block = slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0)
    rows = deviation[..., block].transpose(0, 1)
    return ((rows @ gram[:, block, block]) * rows).sum(-1).T


def _squared_norm(deviation: Float[Tensor, "R B S"], columns: slice) -> Float[Tensor, "R B"]:
    return deviation[..., columns].square().sum(-1)


class _Sums:
    """Sums over the examples of one variant."""

    def __init__(self) -> None:
        self.deviations: dict[tuple[str, str], Float[Tensor, " R"]] = {}
        self.decoder_totals: dict[str, Tensor] = {}
        self.means: list[Float[Tensor, "B S"]] = []
        self.first: list[Float[Tensor, "R B S"]] = []
        self.direction: list[Float[Tensor, "B S"]] = []
        self.groups: list[Float[Tensor, "G B S"]] = []
        self.projections: Float[Tensor, " R"] | None = None
        self.is_different = False
        self.leading: int | None = None

    def add_posterior(self, delta: Float[Tensor, "R B S"], gram: dict[str, Tensor], slices: dict[str, slice]) -> None:
        mean = delta.mean(0)
        squares = {("encoder", layer): partial(_quadratic, gram=g) for layer, g in gram.items()}
        squares |= {(name, ""): partial(_squared_norm, columns=columns) for name, columns in slices.items()}
        for key, square in squares.items():
            deviation, rounding = square(delta - mean), RELATIVE_ROUNDING**2 * square(mean[None])
            self._add_deviation(key, torch.where(deviation > rounding, deviation, 0.0))
        count = min(COSINES, len(delta) // 2)
        self.means.append(mean)
        self.first.append(delta[:count].clone())  # a view would keep all repeats in memory
        self.direction.append(delta[count:].mean(0))

    def add_decoder(self, spreads: dict[str, Spread]) -> None:
        for layer, spread in spreads.items():
            self._add_deviation(("decoder", layer), spread.deviation)
            if spread.total is not None:
                self.decoder_totals[layer] = self.decoder_totals.get(layer, 0.0) + spread.total
            self.leading = self.leading if spread.leading is None else spread.leading

    def add_difference(self, delta: Float[Tensor, "R B S"], reference: Float[Tensor, "_ B S"], is_exact: bool) -> None:
        reference = reference[:1] if is_exact else reference
        difference = delta - reference
        if is_exact and len(difference) >= MIN_GROUPS:
            parts = difference.tensor_split(min(GROUPS, len(difference)))
            self.groups.append(torch.stack([part.mean(0) for part in parts]))
        self.is_different |= bool((difference.norm(dim=-1) > RELATIVE_ROUNDING * reference.norm(dim=-1)).any())
        # Each half of the repeats is projected on the mean difference of the other half, which is independent of it.
        first, second = difference.tensor_split(2)
        pair = ((first * second.mean(0)).sum((1, 2)), (second * first.mean(0)).sum((1, 2)))
        self.projections = torch.cat(pair) + (0.0 if self.projections is None else self.projections)

    def _add_deviation(self, key: tuple[str, str], deviation: Float[Tensor, "R B"]) -> None:
        self.deviations[key] = self.deviations.get(key, 0.0) + deviation.sum(1)


def measure_jointly(
    model: Model,
    variants: Mapping[str, FittedVariant],
    references: Mapping[str, str | None],
    x: Float[Tensor, "B ..."],
    noise: NoiseSource,
    spread_of_layer: SpreadOfLayer | None,
) -> dict[str, Measurement]:
    """Measure variants by the joint route; arguments and result are those of `measure.measure`.

    `measure.supports_joint_measurement` must hold for each variant. Memory does not grow with parameters times
    repeats.
    references: by variant, the name of its pathwise reference; None if it is missing.
    """
    linear = find_linear_layers(model.decoder) if spread_of_layer else {}
    layers = encoder_jacobians(model.encoder, x)
    slices = parameter_slices(model.encoder(x[:1]))
    sums = {name: _Sums() for name in variants}

    exact = {name: v for name, v in variants.items() if not v.variant.estimator.uses_noise}
    others = {name: v for name, v in variants.items() if name not in exact}
    parts: list[tuple[Mapping[str, FittedVariant], int | None]] = [(exact, EXACT_REPEATS), (others, None)]

    def add_chunk(rows: slice) -> None:  # a function, so that the memory of a chunk is freed before the next one
        draws = noise(rows)
        chunks = [
            (group, draws[:repeats], differentiate(model, group, x[rows], draws[:repeats], linear))
            for group, repeats in parts
            if group
        ]
        gram = {name: layer.gram(rows) for name, layer in layers.items()}
        gradients = {name: delta for *_, chunk in chunks for name, delta in chunk.posterior_gradients.items()}
        for name, delta in gradients.items():
            sums[name].add_posterior(delta, gram, slices)
            if (reference := references[name]) not in (None, name):
                sums[name].add_difference(delta, gradients[reference], reference in exact)
        if spread_of_layer:
            for group, group_noise, chunk in chunks:
                for name, spreads in _decoder_spreads(model, group, chunk, x[rows], group_noise, spread_of_layer):
                    sums[name].add_decoder(spreads)

    repeats, draws, _, latents = noise(slice(0, 1)).shape
    entries = max(columns.stop for columns in slices.values())
    limits = (
        DECODER_ROWS_PER_CHUNK // (repeats * draws),
        NUMBERS_PER_CHUNK // (repeats * latents),
        GRAM_NUMBERS_PER_CHUNK // entries**2,
    )
    size = max(1, min(limits))
    for first in range(0, len(x), size):
        add_chunk(slice(first, min(first + size, len(x))))
    directions = {
        name: {n: layer.gradient(torch.cat(sums[name].direction)) for n, layer in layers.items()}
        for name in references.values()
        if name is not None
    }
    return {name: _conclude(layers, slices, sums[name], directions.get(references[name] or "")) for name in variants}


def _decoder_spreads(
    model: Model,
    variants: Mapping[str, FittedVariant],
    chunk: SharedPass,
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "R K B D"],
    spread_of_layer: SpreadOfLayer,
) -> Iterator[tuple[str, dict[str, Spread]]]:
    others = [f"decoder.{name}" for name in find_other_parameters(model.decoder)]
    # variants with equal weights and the same pass share the spread
    computed: list[tuple[Tensor, Layers, dict[str, Spread]]] = []
    for name, fitted in variants.items():
        weights, layers = chunk.decoder_weights[name], chunk.layers[name]
        draws = len(weights)
        same = (spreads for w, other, spreads in computed if other is layers and torch.equal(w, weights))
        spreads = next(same, None)
        if spreads is None:
            spreads = {n: spread_of_layer(a[:draws], d[:draws], weights) for n, (a, d) in layers.items()}
            computed.append((weights, layers, spreads))
        if others:
            function = partial(estimate, fitted.variant, average=fitted.average)
            rows = noise[:, : fitted.variant.draws]
            general = spread_of_parameters(fitted.attach_to(model), function, others, x, rows)
            spreads = spreads | {n.removeprefix("decoder."): spread for n, spread in general.items()}
        yield name, spreads


def _conclude(
    layers: dict[str, LayerJacobian], slices: dict[str, slice], sums: _Sums, direction: dict[str, Tensor] | None
) -> Measurement:
    deviations, mean = sums.deviations, torch.cat(sums.means)
    totals = {("decoder", name): total for name, total in sums.decoder_totals.items()}
    for name, layer in layers.items():
        totals["encoder", name] = len(mean) * layer.gradient(mean).flatten().double()
    for name, columns in slices.items():
        totals[name, ""] = mean[:, columns].flatten()
    leading = {"decoder": sums.leading}
    moments = {
        key: normalise(deviation, totals.get(key), len(mean), leading.get(key[0]))
        for key, deviation in deviations.items()
    }
    for part in dict.fromkeys(part for part, layer in deviations if layer):  # in an order that is always the same
        keys = [key for key in deviations if key[0] == part]
        deviation = torch.stack([deviations[key] for key in keys]).sum(0)
        total = torch.cat([totals[key] for key in keys]) if set(keys) <= set(totals) else None
        moments[part, ""] = normalise(deviation, total, len(mean), leading.get(part))
    cosine = None if direction is None else _cosine(layers, torch.cat(sums.first, 1), direction)
    bias = z_score(sums.projections) if sums.projections is not None and sums.is_different else None
    squared_bias = _squared_bias(layers, torch.cat(sums.groups, 1)) if sums.groups else None
    return Measurement(moments, bias, cosine, "joint", squared_bias)


def _squared_bias(layers: dict[str, LayerJacobian], groups: Float[Tensor, "G B S"]) -> ValueWithError:
    gram = torch.zeros(len(groups), len(groups), dtype=torch.float64)
    for layer in layers.values():
        means = torch.stack([layer.gradient(group).flatten().double() for group in groups])
        gram += (means @ means.mT).cpu()
    return squared_mean(gram)


def _cosine(
    layers: dict[str, LayerJacobian], first: Float[Tensor, "N B S"], direction: dict[str, Tensor]
) -> ValueWithError | None:
    # The direction is from other repeats than the gradients. None if a gradient is 0, and for one gradient.
    products = torch.stack(
        [layer.products(first).inner(direction[name]).mean(-1) for name, layer in layers.items()]
    ).sum(0)
    squares = torch.stack([layer.squares(first) for layer in layers.values()]).sum(0)
    length = torch.cat([g.double().flatten() for g in direction.values()]).norm()
    values = products / squares.sqrt() / length
    is_known = len(values) > 1 and bool(values.isfinite().all())
    return ValueWithError.from_values(values) if is_known else None
