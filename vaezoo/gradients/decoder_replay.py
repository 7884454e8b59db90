"""One pass of the decoder for all estimators that draw the same latents.

The code of each estimator runs on the record of this pass. This gives its gradient in the posterior's parameters, and a
weight for each draw: the factor of the gradient of log p(x|z) in the decoder's parameters. An estimator that evaluates
the decoder elsewhere, as at antithetic or relaxed draws, has passes of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vaezoo.distributions.posteriors import Posterior
from vaezoo.gradients.encoder_jacobian import posterior_parameters, record_calls, require_single_calls
from vaezoo.models import Model
from vaezoo.variants import FittedVariant, estimate_parts_at

DECODER_ROWS_PER_PASS = 2_000  # so that their activations stay in the processor's cache

Layers = dict[str, tuple[Float[Tensor, "_ ... _"], Float[Tensor, "_ ... _"]]]  # inputs [K, ..., I], slopes [K, ..., O]


class NotReplayedError(RuntimeError):
    """An estimator evaluates something in the decoder that was not recorded."""


class DecoderPass:
    """log p(x|z) [K, N] of N = R B rows, repeats first; on demand also its gradients.

    layers: the linear layers whose inputs are recorded and whose outputs log p(x|z) is differentiated in, by name.
    """

    def __init__(self, decoder: nn.Module, x: Tensor, z: Float[Tensor, "K N D"], layers: dict[str, nn.Linear]) -> None:
        self.x, self.z = x, z.detach()
        self._leaf = self.z.reshape(-1, len(x), z.shape[-1]).requires_grad_()
        with record_calls(layers) as calls:
            self._live: Tensor = decoder.log_prob(x, self._leaf)  # type: ignore[operator]
        self._record = require_single_calls(calls)
        self.log_px = self._live.detach().view(z.shape[:2])

    @cached_property
    def _slopes(self) -> tuple[Tensor, ...]:
        outputs = [output for _, output in self._record.values()]
        slopes: tuple[Tensor, ...] = torch.autograd.grad(self._live.sum(), [self._leaf, *outputs])
        return slopes

    @property
    def slope(self) -> Float[Tensor, "K N D"]:
        """The gradient of log p(x|z) in z, nats."""
        return self._slopes[0].view(self.z.shape)

    @cached_property
    def layers(self) -> Layers:
        """The input of each layer, and the gradient of log p(x|z) in its output, nats."""
        if not self._record:  # then nothing has to be differentiated
            return {}
        rows = self.z.shape[:2]
        return {
            name: (inputs.reshape(*rows, -1), slope.reshape(*rows, -1))
            for (name, (inputs, _)), slope in zip(self._record.items(), self._slopes[1:], strict=True)
        }


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, log_px: Tensor, slope: Tensor | None) -> Tensor:
        ctx.slope = slope
        return log_px.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None if ctx.slope is None else gradient[..., None] * ctx.slope, gradient, None


class _RecordedDecoder(nn.Module):
    """A replacement of the decoder that returns log p(x|z) at the first recorded draws and nothing else."""

    def __init__(self, decoded: DecoderPass, log_px: Float[Tensor, "K N"]) -> None:
        super().__init__()
        self.decoded = decoded
        self.log_px = log_px

    def log_prob(self, x: Tensor, z: Float[Tensor, "K N D"]) -> Float[Tensor, "K N"]:
        draws = len(self.log_px)
        if not torch.equal(z, self.decoded.z[:draws]):
            raise NotReplayedError("the estimator evaluates log p(x|z) at latents that are not its draws")
        log_px: Tensor = _Replay.apply(z, self.log_px, self.decoded.slope[:draws] if z.requires_grad else None)
        return log_px

    def forward(self, *_: Tensor) -> Tensor:
        raise NotReplayedError("the estimator uses the decoder's output; only log p(x|z) was recorded")

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise NotReplayedError(f"the estimator uses the decoder's {name}; only log p(x|z) was recorded") from None


@dataclass(frozen=True)
class _Slopes:
    # gradients of an estimate for N rows: the weights are those of the products of the layers
    posterior: Float[Tensor, "N S"]
    weights: Float[Tensor, "_ N"]
    layers: Layers


def _replay(
    fitted: FittedVariant, model: Model, q: Posterior, noise: Float[Tensor, "K N D"], decoded: DecoderPass
) -> _Slopes:
    log_px = decoded.log_px[: fitted.variant.draws].detach().requires_grad_()
    replica = fitted.attach_to(model)
    replica.decoder = _RecordedDecoder(decoded, log_px)  # type: ignore[assignment]
    leaves, values = _estimate(fitted, replica, q, noise, decoded.x)
    slopes = _differentiate(values, [*leaves, log_px])
    return _Slopes(torch.cat([slope.flatten(1) for slope in slopes[:-1]], 1), slopes[-1], decoded.layers)


def _run(
    fitted: FittedVariant, model: Model, q: Posterior, noise: Tensor, x: Tensor, layers: dict[str, nn.Linear]
) -> _Slopes:
    # from the estimator's own passes of the decoder, whose draws lie one after the other
    with record_calls(layers) as record:
        leaves, values = _estimate(fitted, fitted.attach_to(model), q, noise, x)
    outputs = [output for calls in record.values() for _, output in calls]
    slopes = iter(_differentiate(values, [*leaves, *outputs]))
    delta = torch.cat([next(slopes).flatten(1) for _ in leaves], 1)
    passes = {
        name: (torch.cat([i for i, _ in calls]), torch.cat([next(slopes) for _ in calls]))
        for name, calls in record.items()
    }
    slope = next((slope for _, slope in passes.values()), delta[None])
    return _Slopes(delta, slope.new_ones(len(slope), len(delta)), passes)


def _estimate(
    fitted: FittedVariant, model: Model, q: Posterior, noise: Float[Tensor, "K N D"], x: Float[Tensor, "B ..."]
) -> tuple[list[Tensor], Float[Tensor, " N"]]:
    # the posterior's parameters as leaves, and the estimate of each row
    leaves = {name: value.detach().requires_grad_() for name, value in posterior_parameters(q).items()}
    live: Posterior = dataclasses.replace(q, **leaves)  # type: ignore[type-var]
    repeats, rows = noise.shape[1] // len(x), noise[: fitted.variant.draws]
    prediction = fitted.predict(x).repeat(repeats)
    stochastic, exact = estimate_parts_at(fitted.variant, model, live, _repeat(x, repeats), rows, prediction)
    return list(leaves.values()), stochastic + exact


def _differentiate(values: Float[Tensor, " N"], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(values.sum(), inputs, allow_unused=True, materialize_grads=True)


@dataclass(frozen=True)
class SharedPass:
    """Gradients of several variants for B examples and R repeats.

    posterior_gradients: by variant, gradients in the S parameters of the posterior, nats.
    decoder_weights: by variant, weights of the gradients of log p(x|z_k) in the decoder's parameters, for its draws; 1
        if the variant has decoder passes of its own.
    layers: by variant, then by linear layer of the decoder, its inputs, and the gradients of log p(x|z) in its outputs.
        Variants with one decoder pass for all have the same object.
    """

    posterior_gradients: dict[str, Float[Tensor, "R B S"]]
    decoder_weights: dict[str, Float[Tensor, "_ R B"]]
    layers: dict[str, Layers]


def differentiate(
    model: Model,
    variants: Mapping[str, FittedVariant],
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "R K B D"],
    layers: dict[str, nn.Linear],
) -> SharedPass:
    """Differentiate the estimates of several variants for each example and repeat, with one pass of the decoder.

    Args:
        variants: the variants, by name; a variant with fewer rows of noise uses the first ones.
        layers: linear layers of the decoder that are recorded, by name.
    """
    examples, count = len(x), noise.shape[1]
    with torch.no_grad():
        q = model.encoder(x)
    chunks: list[tuple[Posterior, Tensor]] = []
    for part in noise.split(max(1, DECODER_ROWS_PER_PASS // (count * examples))):
        parameters = {name: _repeat(value, len(part)) for name, value in posterior_parameters(q).items()}
        repeated: Posterior = dataclasses.replace(q, **parameters)
        chunks.append((repeated, part.transpose(0, 1).reshape(count, -1, part.shape[-1])))
    parts: dict[str, list[_Slopes]] = {name: [] for name in variants}
    shared, draws = dict(variants), max((fitted.variant.draws for fitted in variants.values()), default=1)
    for repeated, rows in chunks:
        if not shared:
            break
        decoded = DecoderPass(model.decoder, x, repeated.sample(rows[:draws]), layers)
        for name, fitted in list(shared.items()):
            try:
                parts[name].append(_replay(fitted, model, repeated, rows, decoded))
            except NotReplayedError:  # perhaps for some of its draws only
                del shared[name]
    for name in variants.keys() - shared.keys():
        parts[name] = [_run(variants[name], model, repeated, rows, x, layers) for repeated, rows in chunks]
    joined: dict[tuple[int, ...], Layers] = {}
    keys = {name: tuple(id(slopes.layers) for slopes in pieces) for name, pieces in parts.items()}
    for name, key in keys.items():
        joined[key] = joined.get(key) or _join_layers([slopes.layers for slopes in parts[name]], examples)
    return SharedPass(
        {n: torch.cat([p.posterior.unflatten(0, (-1, examples)) for p in pieces]) for n, pieces in parts.items()},
        {n: torch.cat([p.weights.unflatten(1, (-1, examples)) for p in pieces], 1) for n, pieces in parts.items()},
        {name: joined[key] for name, key in keys.items()},
    )


def _join_layers(parts: list[Layers], examples: int) -> Layers:
    return {name: tuple(_join([part[name][i] for part in parts], examples) for i in (0, 1)) for name in parts[0]}  # type: ignore[misc]


def _repeat(values: Float[Tensor, "B ..."], repeats: int) -> Float[Tensor, "N ..."]:
    return values.repeat(repeats, *[1] * (values.ndim - 1))


def _join(parts: list[Tensor], examples: int) -> Float[Tensor, "K R B I"]:
    rows = [part.flatten(1, -2) for part in parts]
    joined = rows[0] if len(rows) == 1 else torch.cat(rows, 1)  # a single part is not copied
    return joined.view(len(joined), -1, examples, joined.shape[-1])
