"""Moments of a gradient estimate at fixed parameters and minibatch: THE place where variance is normalised."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.deviations import Estimate, Spread, of_linear_layers, of_parameters, totals
from vaezoo.models import Model

PARTS = ("encoder.", "decoder.")
EXAMPLES_AT_ONCE = 10


@dataclass(frozen=True)
class Moments:
    """Of ONE minibatch gradient estimate (the mean over B examples), over the latent noise alone.

    variance: the trace of its covariance, (1/B²) sum_b sum_r ‖g_br - mean_r g_br‖² / (R - 1), nats²/parameter².
        Valid because losses are per example and noise is independent across examples.
    variance_se: its standard error, from the spread of the per-repeat sums over sqrt(R); NaN where they are not told
        apart.
    snr: (‖mean gradient‖² - variance / R) / variance, a ratio of squares; debiased, so it may be negative.
        None where there is no noise, or the mean gradient was not formed.
    sums: one number a repeat, whose mean is the variance; estimates from the same noise are compared by them.
        Where `apart` is given, those of the first repeats alone.
    """

    variance: float
    variance_se: float
    snr: float | None
    sums: Float[Tensor, " R"]

    @property
    def kurtosis(self) -> float:
        """Of the sums, 3 for a normal distribution: where it is large, rare repeats decide and errors are too small."""
        centred = self.sums - self.sums.mean()
        spread = centred.square().mean()
        return (centred.pow(4).mean() / spread.square()).item() if spread > 0 else math.nan


def normalise(
    deviation: Float[Tensor, " R"], total: Float[Tensor, " P"] | None, examples: int, apart: int | None = None
) -> Moments:
    """Moments from the sums over so many examples of their deviations and of their mean gradients (see `Spread`)."""
    repeats = len(deviation)
    sums = deviation / examples**2 * (repeats / (repeats - 1))
    variance = sums.mean()
    snr = None
    if total is not None and variance > 0:
        snr = ((total / examples).square().sum() / variance).item() - 1 / repeats
    own = sums[:apart]
    se = (own.std() / math.sqrt(repeats)).item() if len(own) > 1 else math.nan
    return Moments(variance.item(), se, snr, own)


def spreads(
    model: Model, estimate: Estimate, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> dict[str, Spread]:
    """The spread of the encoder's and decoder's gradients, by layer or by name, streamed over the examples."""
    modules = {name: module for name, module in model.named_modules() if name.startswith(PARTS)}
    layers = {name: module for name, module in modules.items() if type(module) is nn.Linear}
    owned = {f"{name}.{own}" for name, layer in layers.items() for own, _ in layer.named_parameters()}
    others = [name for name, _ in model.named_parameters() if name.startswith(PARTS) and name not in owned]
    found: dict[str, list[Spread]] = {}
    for rows, draws in zip(x.split(EXAMPLES_AT_ONCE), noise.split(EXAMPLES_AT_ONCE, dim=2), strict=True):
        part = of_linear_layers(model, estimate, layers, rows, draws)
        if others:
            part |= of_parameters(model, estimate, others, rows, draws)
        for name, spread in part.items():
            found.setdefault(name, []).append(spread)
    return {
        name: Spread(torch.cat([p.deviation for p in parts], 1), torch.stack(totals(parts)).sum(0))
        for name, parts in found.items()
    }


def gradient_moments(
    model: Model, estimate: Estimate, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> dict[str, Moments]:
    """Moments of the gradient in the `encoder`'s and in the `decoder`'s parameters.

    x: the minibatch. noise: R independent repeats of the estimate's noise, R >= 2.
    """
    found = spreads(model, estimate, x, noise)
    moments = {}
    for part in PARTS:
        own = [spread for name, spread in found.items() if name.startswith(part)]
        deviation = torch.stack([spread.deviation for spread in own]).sum(0)
        moments[part.rstrip(".")] = normalise(deviation.sum(1), torch.cat(totals(own)), len(x))
    return moments
