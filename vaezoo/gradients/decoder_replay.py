"""One pass of the decoder for all estimators that draw the same latents.

The code of each estimator runs on the record of this pass. This gives its gradient in the posterior's parameters, and a
weight for each draw: the factor of the gradient of log p(x|z) in the decoder's parameters.
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
from vaezoo.gradients.encoder_jacobian import posterior_parameters, record_layers
from vaezoo.models import Model
from vaezoo.variants import FittedVariant, estimate_parts_at

DECODER_ROWS_PER_PASS = 2_000  # so that their activations stay in the processor's cache


class NotReplayedError(RuntimeError):
    """An estimator evaluates something in the decoder that was not recorded. variant: its name in the measurement."""

    variant = ""


class DecoderPass:
    """log p(x|z) [K, N] of N = R B rows, repeats first; on demand also its gradients.

    layers: the linear layers whose inputs are recorded and whose outputs log p(x|z) is differentiated in, by name.
    """

    def __init__(self, decoder: nn.Module, x: Tensor, z: Float[Tensor, "K N D"], layers: dict[str, nn.Linear]) -> None:
        self.x, self.z = x, z.detach()
        self.repeats = z.shape[1] // len(x)
        self._leaf = self.z.reshape(-1, len(x), z.shape[-1]).requires_grad_()
        with record_layers(layers) as self._record:
            self._live: Tensor = decoder.log_prob(x, self._leaf)  # type: ignore[operator]
        self.log_px = self._live.detach().view(z.shape[:2])

    @cached_property
    def _slopes(self) -> tuple[Tensor, ...]:
        outputs = [output for _, output in self._record.values()]
        slopes: tuple[Tensor, ...] = torch.autograd.grad(self._live.sum(), [self._leaf, *outputs])
        return slopes

    @cached_property
    def x_rows(self) -> Float[Tensor, "N ..."]:
        """The examples, once for each repeat."""
        return _repeat(self.x, self.repeats)

    @property
    def slope(self) -> Float[Tensor, "K N D"]:
        """The gradient of log p(x|z) in z, nats."""
        return self._slopes[0].view(self.z.shape)

    @property
    def layers(self) -> dict[str, tuple[Float[Tensor, "K N I"], Float[Tensor, "K N O"]]]:
        """The input of each layer, and the gradient of log p(x|z) in its output, nats."""
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


def _replay(
    fitted: FittedVariant, model: Model, q: Posterior, noise: Float[Tensor, "K N D"], decoded: DecoderPass
) -> tuple[Float[Tensor, "N S"], Float[Tensor, "_ N"]]:
    # The gradient of one estimator in the posterior's parameters, and the decoder weight of each of its draws.
    draws = fitted.variant.draws
    log_px = decoded.log_px[:draws].detach().requires_grad_()
    leaves = {name: value.detach().requires_grad_() for name, value in posterior_parameters(q).items()}
    live: Posterior = dataclasses.replace(q, **leaves)  # type: ignore[type-var]
    replica = fitted.attach_to(model)
    replica.decoder = _RecordedDecoder(decoded, log_px)  # type: ignore[assignment]
    prediction = fitted.predict(decoded.x).repeat(decoded.repeats)
    stochastic, exact = estimate_parts_at(fitted.variant, replica, live, decoded.x_rows, noise[:draws], prediction)
    inputs = [*leaves.values(), log_px]
    slopes = torch.autograd.grad((stochastic + exact).sum(), inputs, allow_unused=True, materialize_grads=True)
    return torch.cat([slope.flatten(1) for slope in slopes[:-1]], 1), slopes[-1]


@dataclass(frozen=True)
class SharedPass:
    """Gradients of several variants for B examples and R repeats.

    posterior_gradients: by variant, gradients in the S parameters of the posterior, nats.
    decoder_weights: by variant, weights of the gradients of log p(x|z_k) in the decoder's parameters, for its draws.
    layers: by linear layer of the decoder, its inputs, and the gradients of log p(x|z) in its outputs.
    """

    posterior_gradients: dict[str, Float[Tensor, "R B S"]]
    decoder_weights: dict[str, Float[Tensor, "_ R B"]]
    layers: dict[str, tuple[Float[Tensor, "K R B I"], Float[Tensor, "K R B O"]]]


def differentiate(
    model: Model,
    variants: Mapping[str, FittedVariant],
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "R K B D"],
    layers: dict[str, nn.Linear],
) -> SharedPass:
    """Differentiate the estimates of several variants for each example and repeat, with one pass of the decoder.

    Args:
        variants: the variants, by name; a variant of fewer than K draws uses the first ones.
        layers: linear layers of the decoder that are recorded, by name.

    Raises:
        NotReplayedError: a variant needs more of the decoder than log p(x|z) at its draws.
    """
    examples, draws = len(x), noise.shape[1]
    with torch.no_grad():
        q = model.encoder(x)
    gradients: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in variants}
    recorded: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}
    for part in noise.split(max(1, DECODER_ROWS_PER_PASS // (draws * examples))):
        rows = part.transpose(0, 1).reshape(draws, -1, part.shape[-1])
        parameters = {name: _repeat(value, len(part)) for name, value in posterior_parameters(q).items()}
        repeated: Posterior = dataclasses.replace(q, **parameters)
        decoded = DecoderPass(model.decoder, x, repeated.sample(rows), layers)
        for name, fitted in variants.items():
            try:
                gradients[name].append(_replay(fitted, model, repeated, rows, decoded))
            except NotReplayedError as error:
                error.variant = name
                raise
        for name, pair in decoded.layers.items() if layers else ():
            recorded[name].append(pair)
    return SharedPass(
        {name: torch.cat([d.unflatten(0, (-1, examples)) for d, _ in pairs]) for name, pairs in gradients.items()},
        {name: torch.cat([w.unflatten(1, (-1, examples)) for _, w in pairs], 1) for name, pairs in gradients.items()},
        {
            name: (_join([a for a, _ in pairs], examples), _join([d for _, d in pairs], examples))
            for name, pairs in recorded.items()
        },
    )


def _repeat(values: Float[Tensor, "B ..."], repeats: int) -> Float[Tensor, "N ..."]:
    return values.repeat(repeats, *[1] * (values.ndim - 1))


def _join(parts: list[Tensor], examples: int) -> Float[Tensor, "K R B I"]:
    joined = parts[0] if len(parts) == 1 else torch.cat(parts, 1)  # a single part is not copied
    return joined.view(len(joined), -1, examples, joined.shape[-1])
