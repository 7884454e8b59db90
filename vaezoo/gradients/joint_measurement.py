"""The joint route: measure the gradients of many variants from one decoder pass and one Jacobian of the encoder.

Repeat r of example b has the gradient J_b' d_br in the encoder's parameters. In the decoder's parameters it is
sum_k c_kbr times the gradient of log p(x_b|z_k). `decoder_replay` computes d and c of all variants from one pass of the
decoder; `encoder_jacobian` computes J_b.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.gradients.decoder_replay import SharedPass, differentiate
from vaezoo.gradients.encoder_jacobian import LayerJacobian, encoder_jacobians, find_linear_layers, parameter_slices
from vaezoo.gradients.moments import RELATIVE_ROUNDING, Measurement, ValueWithError, normalise
from vaezoo.gradients.spread import Spread, spread_of_parameters
from vaezoo.models import Model
from vaezoo.variants import FittedVariant, estimate

DECODER_ROWS_PER_CHUNK = 2_000  # so that the recorded activations stay in the processor's cache
NUMBERS_PER_CHUNK = 1_000_000
COSINES = 40

NoiseSource = Callable[[slice], Float[Tensor, "R K B D"]]
SpreadOfLayer = Callable[[Float[Tensor, "K R B I"], Float[Tensor, "K R B O"], Float[Tensor, "K R B"]], Spread]


def _quadratic(deviation: Float[Tensor, "R B S"], gram: Float[Tensor, "B S S"]) -> Float[Tensor, "R B"]:
    # d' G_b d; the Gram matrix of the head of one posterior parameter is zero outside a block
    used = gram.ne(0).any(0).any(0).nonzero()
    block = slice(int(used.min()), int(used.max()) + 1) if len(used) else slice(0)
    rows = deviation[..., block].transpose(0, 1)
    return ((rows @ gram[:, block, block]) * rows).sum(-1).T


class _Sums:
    """Sums over the examples of one variant."""

    def __init__(self) -> None:
        self.deviations: dict[tuple[str, str], Float[Tensor, " R"]] = {}
        self.decoder_totals: dict[str, Tensor] = {}
        self.means: list[Float[Tensor, "B S"]] = []
        self.first: list[Float[Tensor, "R B S"]] = []
        self.direction: list[Float[Tensor, "B S"]] = []
        self.projections: Float[Tensor, " R"] | None = None
        self.leading: int | None = None

    def add_posterior(self, delta: Float[Tensor, "R B S"], gram: dict[str, Tensor], slices: dict[str, slice]) -> None:
        mean = delta.mean(0)
        deviation = delta - mean
        for layer, g in gram.items():
            squares, rounding = _quadratic(deviation, g), RELATIVE_ROUNDING**2 * _quadratic(mean[None], g)
            self._keep("encoder", layer, torch.where(squares > rounding, squares, 0.0))
        for name, columns in slices.items():
            squares = deviation[..., columns].square().sum(-1)
            rounding = RELATIVE_ROUNDING**2 * mean[..., columns].square().sum(-1)
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
            self.leading = self.leading if spread.leading is None else spread.leading

    def add_difference(self, difference: Float[Tensor, "R B S"]) -> None:
        # Each half of the repeats is projected on the mean difference of the other half, which is independent of it.
        first, second = difference.tensor_split(2)
        pair = ((first * second.mean(0)).sum((1, 2)), (second * first.mean(0)).sum((1, 2)))
        self.projections = torch.cat(pair) + (0.0 if self.projections is None else self.projections)

    def _keep(self, parameters: str, layer: str, deviation: Tensor) -> None:
        key, total = (parameters, layer), deviation.sum(1)
        self.deviations[key] = self.deviations[key] + total if key in self.deviations else total


def measure_jointly(
    model: Model,
    variants: Mapping[str, FittedVariant],
    references: Mapping[str, str | None],
    x: Float[Tensor, "B ..."],
    noise: NoiseSource,
    spread_of_layer: SpreadOfLayer | None,
) -> dict[str, Measurement]:
    """Measure variants by the joint route; arguments and result are those of `measure.measure`.

    `measure.supports_joint_measurement` must hold for each variant. Memory does not grow with parameters times repeats.
    references: by variant, the name of its pathwise reference; None if it is missing.
    """
    linear = find_linear_layers(model.decoder) if spread_of_layer else {}
    layers = encoder_jacobians(model.encoder, x)
    sums = {name: _Sums() for name in variants}
    for rows in _chunks(len(x), noise):
        gram = {name: layer.gram(rows) for name, layer in layers.items()}
        _add_chunk(sums, model, variants, references, x[rows], noise(rows), gram, linear, spread_of_layer)
    slices = parameter_slices(model.encoder(x[:1]))
    directions = {
        name: {n: layer.gradient(torch.cat(sums[name].direction)) for n, layer in layers.items()}
        for name in references.values()
        if name is not None
    }
    return {name: _conclude(layers, slices, sums[name], directions.get(references[name] or "")) for name in variants}


def _add_chunk(
    sums: dict[str, _Sums],
    model: Model,
    variants: Mapping[str, FittedVariant],
    references: Mapping[str, str | None],
    x: Float[Tensor, "b ..."],
    noise: Float[Tensor, "R K b D"],
    gram: dict[str, Float[Tensor, "b S S"]],
    linear: dict[str, nn.Linear],
    spread_of_layer: SpreadOfLayer | None,
) -> None:
    # A separate function, so that the memory of a chunk is freed before the next one.
    chunk = differentiate(model, variants, x, noise, linear)
    for name, delta in chunk.posterior_gradients.items():
        sums[name].add_posterior(delta, gram, parameter_slices(chunk.q))
        if (reference := references[name]) not in (None, name):
            sums[name].add_difference(delta - chunk.posterior_gradients[reference])
    for name, spreads in _decoder_spreads(model, variants, chunk, x, noise, spread_of_layer) if spread_of_layer else ():
        sums[name].add_decoder(spreads)


def _chunks(count: int, noise: NoiseSource) -> Iterator[slice]:
    repeats, draws, _, latents = noise(slice(0, 1)).shape
    size = max(1, min(DECODER_ROWS_PER_CHUNK // (repeats * draws), NUMBERS_PER_CHUNK // (repeats * latents)))
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def _decoder_spreads(
    model: Model,
    variants: Mapping[str, FittedVariant],
    chunk: SharedPass,
    x: Tensor,
    noise: Tensor,
    spread_of_layer: SpreadOfLayer,
) -> Iterator[tuple[str, dict[str, Spread]]]:
    # Variants with equal weights share the spread.
    in_layers = {f"{name}.{part}" for name in chunk.layers for part in ("weight", "bias")}
    others = [f"decoder.{name}" for name, _ in model.decoder.named_parameters() if name not in in_layers]
    computed: list[tuple[Tensor, dict[str, Spread]]] = []
    for name, fitted in variants.items():
        weights = chunk.decoder_weights[name]
        spreads = next((known for other, known in computed if torch.equal(other, weights)), None)
        if spreads is None:
            spreads = {
                layer: spread_of_layer(inputs[: len(weights)], slopes[: len(weights)], weights)
                for layer, (inputs, slopes) in chunk.layers.items()
            }
            computed.append((weights, spreads))
        if others:
            general = spread_of_parameters(
                fitted.attach_to(model), _estimate_function(fitted), others, x, noise[:, : len(weights)]
            )
            spreads = spreads | {n.removeprefix("decoder."): spread for n, spread in general.items()}
        yield name, spreads


def _estimate_function(fitted: FittedVariant) -> Callable[[Model, Tensor, Tensor], Tensor]:
    return lambda model, x, noise: estimate(fitted.variant, model, x, noise, fitted.average)


def _conclude(
    layers: dict[str, LayerJacobian], slices: dict[str, slice], sums: _Sums, direction: dict[str, Tensor] | None
) -> Measurement:
    deviations, mean = sums.deviations, torch.cat(sums.means)
    totals: dict[tuple[str, str], Tensor] = {("decoder", n): total for n, total in sums.decoder_totals.items()}
    for name, layer in layers.items():
        totals["encoder", name] = len(mean) * layer.gradient(mean).flatten().double()
    for name, columns in slices.items():
        totals[name, ""] = mean[:, columns].flatten()
    leading = {key: sums.leading if key[0] == "decoder" else None for key in deviations}
    moments = {key: normalise(sum_, totals.get(key), len(mean), leading[key]) for key, sum_ in deviations.items()}
    for part in {parameters for parameters, layer in deviations if layer}:
        keys = [key for key in deviations if key[0] == part]
        deviation = torch.stack([deviations[key] for key in keys]).sum(0)
        total = torch.cat([totals[key] for key in keys]) if set(keys) <= set(totals) else None
        moments[part, ""] = normalise(deviation, total, len(mean), leading[keys[0]])
    cosine = None if direction is None else _cosine(layers, torch.cat(sums.first, 1), direction)
    bias = None if sums.projections is None else z_score(sums.projections)
    return Measurement(moments, bias, cosine, "joint")


def z_score(projections: Float[Tensor, " R"]) -> float | None:
    """Return the mean of each half of the projections in standard errors, averaged over both; None if not finite."""
    z = [(half.mean() / half.std() * len(half) ** 0.5).item() for half in projections.tensor_split(2)]
    return sum(z) / 2 if math.isfinite(sum(z)) else None


def _cosine(
    layers: dict[str, LayerJacobian], first: Float[Tensor, "N B S"], direction: dict[str, Tensor]
) -> ValueWithError | None:
    # The direction is from other repeats than the gradients. None if a gradient is 0.
    products = torch.stack([layer.inner(first, direction[name]).mean(-1) for name, layer in layers.items()]).sum(0)
    squares = torch.stack([layer.squares(first) for layer in layers.values()]).sum(0)
    length = torch.cat([g.double().flatten() for g in direction.values()]).norm()
    values = products / squares.sqrt() / length
    if not values.isfinite().all():
        return None
    return ValueWithError(values.mean().item(), (values.std() / len(values) ** 0.5).item())
