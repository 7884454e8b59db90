"""The record of a gradient estimator. Estimators have the same value and differ only in its gradient.

An estimator is a function that returns [B], nats. The value is the stochastic part of the objective, F(log w); the
gradient is the estimate. The gradient in the decoder's parameters is always that of F. The arguments are

    log_weight: (z, q) -> log w [K, B] of the draws z; pass q.detach() to leave out the gradient in its parameters,
    reduction: F,
    q: the approximate posterior,
    noise: [K, B, D], from which q.sample and q.rsample make the draws,
    prediction: c [B], nats, a prediction of F made before the draws; 0 unless the baseline predicts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.baselines import Baseline, ZeroPrediction
from vaezoo.distributions.posteriors import Posterior
from vaezoo.equality import equal_by_content

LogWeight = Callable[[Tensor, Posterior], Float[Tensor, "K B"]]
Noise = Float[Tensor, "K B D"]
PerExample = Float[Tensor, " B"]
Estimate = Callable[..., PerExample]


@equal_by_content
@dataclass(frozen=True, eq=False)
class Estimator:
    """A named gradient estimator.

    Args:
        estimate: (log_weight, reduction, q, noise, prediction) -> F(log w) [B], nats; its gradient is the estimate. An
            estimator with `control` has two more arguments: its module, and `log_weight` with parameters of the model
            that carry no gradient.
        baseline: the control variate of a score-function estimator; None for other estimators.
        fewest_draws, most_draws: the smallest and the largest number of draws K for which the estimate is defined; None
            for no largest one.
        transforms_noise: whether the estimate makes other draws from the noise than q.sample(noise), for example
            antithetic pairs. Then the mean of its value must be that of F(log w), not each value.
        is_relaxed: whether the value is F at relaxed draws, so that its mean is another number than the objective.
        uses_noise: whether the estimate depends on the noise.
        control: D -> module with parameters that the estimator trains for itself, by a term of value 0; None if it
            trains nothing. Called with x [B, pixels], the module returns the prediction [B, 1], which may be 0.
        kinds: the kinds of families for which the estimate is defined; empty for all.
        at_temperature: temperature -> this estimator at it; None if it relaxes nothing.
    """

    name: str
    estimate: Estimate
    baseline: Baseline | None = None
    fewest_draws: int = 1
    most_draws: int | None = None
    transforms_noise: bool = False
    is_relaxed: bool = False
    uses_noise: bool = True
    control: Callable[[int], nn.Module] | None = None
    kinds: tuple[str, ...] = ()
    at_temperature: Callable[[float], Any] | None = None

    @property
    def baseline_name(self) -> str:
        """The name of the baseline; empty without one."""
        return self.baseline.name if self.baseline else ""

    @property
    def min_draws(self) -> int:
        """The smallest number of draws K for which the estimate and its baseline are defined."""
        return max(self.fewest_draws, self.baseline.min_draws if self.baseline else 1)

    @property
    def averaging_rate(self) -> float:
        """The rate of the baseline's moving average; 0 if nothing is predicted."""
        return self.baseline.rate if self.baseline else 0.0

    def make_network(self, pixels: int, latent_dim: int) -> nn.Module:
        """Return what the estimator trains for itself: a network x [B, pixels] -> [B, 1], or its control variate."""
        if self.control:
            return self.control(latent_dim)
        return self.baseline.network(pixels) if self.baseline else ZeroPrediction()

    def update_average(self, average: Float[Tensor, ""], stochastic: PerExample) -> Float[Tensor, ""]:
        """Return the moving average after a step: c + rate (mean F - c), nats, where `stochastic` is F [B]."""
        return average + self.averaging_rate * (stochastic.detach().mean() - average)
