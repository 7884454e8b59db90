"""One pass through the decoder for every estimator that draws the same latents.

Estimators differ in what they do with log p(x|z) and with its slope in z; the decoder's work is the same for all. It is
done once, and each estimator's own code then runs on the recorded numbers: what comes out is its gradient in the
posterior's parameters and the weight that it gives to the decoder's gradient of each draw.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vaezoo.baselines import Zero
from vaezoo.deviations import recorded
from vaezoo.jacobians import fields
from vaezoo.models import Model
from vaezoo.posteriors import Posterior
from vaezoo.variants import Variant, parts_at


class NotReplayedError(RuntimeError):
    """An estimate asks the decoder for something that was not recorded."""


@dataclass(frozen=True)
class Subject:
    """A variant whose gradient is measured, with its baseline's fitted and frozen state: a network and an average."""

    variant: Variant
    baseline: nn.Module = field(default_factory=Zero)
    average: Tensor = field(default_factory=lambda: torch.zeros(()))

    def on(self, model: Model) -> Model:
        """The model with this baseline in the place of its own."""
        own = Model(model.encoder, model.decoder, model.prior, model.latent_dim)
        own.baseline = self.baseline
        return own

    @torch.no_grad()
    def prediction(self, x: Float[Tensor, "B ..."]) -> Float[Tensor, " B"]:
        """c, what its baseline predicts for each example."""
        found: Tensor = self.average + self.baseline(x.flatten(1)).squeeze(-1)
        return found


class DecoderPass:
    """log p(x|z) [K, N] for N = R B rows, repeats first; its slope in z, and that of linear layers' outputs, on demand.

    `layers`: those whose inputs and slopes are wanted, by name. Whoever needs fewer draws takes the first ones.
    """

    def __init__(self, decoder: nn.Module, x: Tensor, z: Float[Tensor, "K N D"], layers: dict[str, nn.Linear]) -> None:
        self.x, self.z = x, z.detach()
        self._leaf = self.z.reshape(-1, len(x), z.shape[-1]).requires_grad_()
        with recorded(layers) as self._record:
            self._live: Tensor = decoder.log_prob(x, self._leaf)  # type: ignore[operator]
        self.log_px = self._live.detach().view(z.shape[:2])

    @cached_property
    def _slopes(self) -> tuple[Tensor, ...]:
        outputs = [output for _, output in self._record.values()]
        found: tuple[Tensor, ...] = torch.autograd.grad(self._live.sum(), [self._leaf, *outputs])
        return found

    @cached_property
    def x_rows(self) -> Float[Tensor, "N ..."]:
        """The examples, once a repeat."""
        return self.x.repeat(self.z.shape[1] // len(self.x), *[1] * (self.x.ndim - 1))

    @property
    def slope(self) -> Float[Tensor, "K N D"]:
        return self._slopes[0].view(self.z.shape)

    @property
    def layers(self) -> dict[str, tuple[Float[Tensor, "K N I"], Float[Tensor, "K N O"]]]:
        """Each layer's input, and the slope of log p(x|z) at its output."""
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


class _Remembered(nn.Module):
    """Stands in a decoder's place and knows log p(x|z) at the first recorded draws alone."""

    def __init__(self, decoded: DecoderPass, log_px: Float[Tensor, "K N"]) -> None:
        super().__init__()
        self.decoded = decoded
        self.log_px = log_px

    def log_prob(self, x: Tensor, z: Float[Tensor, "K N D"]) -> Float[Tensor, "K N"]:
        draws = len(self.log_px)
        if not torch.equal(z, self.decoded.z[:draws]):
            raise NotReplayedError("log p(x|z) is asked for at other latents than the ones that were drawn")
        found: Tensor = _Replay.apply(z, self.log_px, self.decoded.slope[:draws] if z.requires_grad else None)
        return found

    def forward(self, *_: Tensor) -> Tensor:
        raise NotReplayedError("the decoder's output is asked for, and log p(x|z) alone was recorded")

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise NotReplayedError(f"the decoder's {name} is asked for, and log p(x|z) alone was recorded") from None


@dataclass(frozen=True)
class AtPosterior:
    """An estimate's gradient, row by row.

    posterior: in the posterior's parameters. decoder: what the gradient of each log p(x|z_k) in the decoder's
    parameters is multiplied with.
    """

    posterior: Float[Tensor, "N S"]
    decoder: Float[Tensor, "K N"]


def replayed(
    subject: Subject, model: Model, q: Posterior, noise: Float[Tensor, "K N D"], decoded: DecoderPass
) -> AtPosterior:
    """The gradients of one estimator at the first of a recorded pass's draws; q: each row's posterior."""
    draws = subject.variant.draws
    log_px = decoded.log_px[:draws].detach().requires_grad_()
    leaves = {name: value.detach().requires_grad_() for name, value in fields(q).items()}
    live: Posterior = dataclasses.replace(q, **leaves)  # type: ignore[type-var]
    stand_in = subject.on(model)
    stand_in.decoder = _Remembered(decoded, log_px)  # type: ignore[assignment]
    prediction = subject.prediction(decoded.x).repeat(noise.shape[1] // len(decoded.x))
    stochastic, exact = parts_at(subject.variant, stand_in, live, decoded.x_rows, noise[:draws], prediction)
    wanted = [*leaves.values(), log_px]
    found = torch.autograd.grad((stochastic + exact).sum(), wanted, allow_unused=True, materialize_grads=True)
    return AtPosterior(torch.cat([g.flatten(1) for g in found[:-1]], 1), found[-1])
