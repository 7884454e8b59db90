"""Moments of a gradient estimate. All variances are normalised here, by `normalise`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

PARTS = ("encoder.", "decoder.")
RELATIVE_ROUNDING = 1e-6  # of gradients in float32
Route = Literal["joint", "direct"]


@dataclass(frozen=True)
class ValueWithError:
    """A number and its standard error, in the same unit."""

    value: float
    se: float

    @classmethod
    def from_values(cls, values: Float[Tensor, " N"]) -> ValueWithError:
        """Return the mean of N independent values and its standard error."""
        return cls(values.mean().item(), (values.std() / math.sqrt(len(values))).item())


@dataclass(frozen=True)
class Moments:
    """Moments of ONE minibatch gradient estimate (the mean over B examples), over the latent noise alone.

    variance: the trace of its covariance, (1/B²) sum_b sum_r ‖g_br - mean_r g_br‖² / (R - 1), nats²/parameter².
        Exact if the loss is a mean over examples and the noise is independent across examples.
    variance_se: standard error of the variance: the standard deviation of `sums` divided by sqrt(R), same unit. NaN if
        `sums` has fewer than two numbers.
    snr: (‖mean gradient‖² - variance / R) / variance, a ratio of squares; debiased, so it can be negative. None if the
        variance is 0 or the mean gradient was not computed.
    sums: one number for each repeat, whose mean is the variance. Two estimators with equal noise are compared by them.
        Only the leading repeats if the other deviations are known in their sum only.
    """

    variance: float
    variance_se: float
    snr: float | None
    sums: Float[Tensor, " R"]

    @property
    def kurtosis(self) -> float:
        """The kurtosis of `sums`, 3 for a normal distribution; if it is large, the standard errors are too small."""
        centred = self.sums - self.sums.mean()
        spread = centred.square().mean()
        return (centred.pow(4).mean() / spread.square()).item() if spread > 0 else math.nan


def normalise(
    deviation: Float[Tensor, " R"], total: Float[Tensor, " P"] | None, examples: int, leading: int | None = None
) -> Moments:
    """Return the moments of a minibatch gradient from sums over its examples.

    Args:
        deviation: [R], sum_b ‖g_br - mean_r g_br‖², nats²/parameter².
        total: [P], sum_b mean_r g_br, nats/parameter; None if unknown.
        examples: B, the number of examples in the sums.
        leading: number of repeats, the first ones, whose deviations are known one by one; None for all.
    """
    repeats = len(deviation)
    sums = deviation / examples**2 * (repeats / (repeats - 1))
    variance = sums.mean()
    snr = None
    if total is not None and variance > 0:
        snr = ((total / examples).square().sum() / variance).item() - 1 / repeats
    known = sums[:leading]
    se = (known.std() / math.sqrt(repeats)).item() if len(known) > 1 else math.nan
    return Moments(variance.item(), se, snr, known)


@dataclass(frozen=True)
class Measurement:
    """Moments, bias and direction of the gradient of one variant, from R repeats of the noise.

    Args:
        moments: by (parameters, layer). The parameters are "encoder", "decoder" or a parameter of the approximate
            posterior, such as "mean"; the layer "" is the sum over all layers.
        bias: z-score of the difference to the reference with equal noise, in the parameters of the posterior (joint
            route) or the encoder (direct route). The reference is the pathwise gradient of the same objective, or the
            exact one by enumeration. The score is standard normal for an unbiased estimate. None without a reference,
            and if the two gradients are equal for all noise, except for rounding.
        cosine: cosine between one gradient of the encoder and the mean gradient of the reference, averaged over
            repeats. None without a reference.
        squared_bias: ‖E g - exact gradient‖² of the encoder, nats²/parameter². It is debiased, so it can be negative;
            with the variance it adds to the mean squared error. None unless the reference has no noise, the route is
            joint and there are 3 repeats or more.
        route: "joint" (one decoder pass for all variants) or "direct" (a backward pass through the model per estimate).
    """

    moments: dict[tuple[str, str], Moments]
    bias: float | None
    cosine: ValueWithError | None
    route: Route
    squared_bias: ValueWithError | None = None


def squared_mean(gram: Float[Tensor, "G G"]) -> ValueWithError:
    """Return ‖E u‖² without bias from the inner products of G independent vectors u, with the jackknife's error."""

    count, pairs = len(gram), gram - gram.diagonal().diag()
    left_out = (pairs.sum() - 2 * pairs.sum(1)) / ((count - 1) * (count - 2))
    value = pairs.sum() / (count * (count - 1))
    return ValueWithError(value.item(), (left_out.var() * (count - 1) ** 2 / count).sqrt().item())


def z_score(projections: Float[Tensor, " R"]) -> float | None:
    """Return the mean of each half of the projections in standard errors, averaged over both; None if not finite."""
    if len(projections) < 4:
        return None
    z = [(half.mean() / half.std() * len(half) ** 0.5).item() for half in projections.tensor_split(2)]
    return sum(z) / 2 if math.isfinite(sum(z)) else None
