"""Gradient estimators. They all return the same value and differ only in its gradient.

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

from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.baselines import Baseline, ZeroPrediction
from vaezoo.distributions.posteriors import Posterior
from vaezoo.equality import equal_by_content
from vaezoo.reductions import Reduction

LogWeight = Callable[[Tensor, Posterior], Float[Tensor, "K B"]]
Noise = Float[Tensor, "K B D"]
PerExample = Float[Tensor, " B"]
Estimate = Callable[[LogWeight, Reduction, Posterior, Noise, PerExample], PerExample]


@equal_by_content
@dataclass(frozen=True, eq=False)
class Estimator:
    """A named gradient estimator.

    Args:
        estimate: (log_weight, reduction, q, noise, prediction) -> F(log w) [B], nats; its gradient is the estimate.
        baseline: the control variate of a score-function estimator; None for other estimators.
        fewest_draws: the smallest number of draws K for which the estimate is defined.
        transforms_noise: whether the estimate makes other draws from the noise than q.sample(noise), for example
            antithetic pairs. Then the mean of its value must be that of F(log w), not each value.
    """

    name: str
    estimate: Estimate
    baseline: Baseline | None = None
    fewest_draws: int = 1
    transforms_noise: bool = False

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

    def make_network(self, pixels: int) -> nn.Module:
        """Return the network that maps x [B, pixels] to the baseline's prediction [B, 1]; 0 if nothing is learned."""
        return self.baseline.network(pixels) if self.baseline else ZeroPrediction()

    def update_average(self, average: Float[Tensor, ""], stochastic: PerExample) -> Float[Tensor, ""]:
        """Return the moving average after a step: c + rate (mean F - c), nats, where `stochastic` is F [B]."""
        return average + self.averaging_rate * (stochastic.detach().mean() - average)


def _pathwise(
    log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise, prediction: PerExample
) -> PerExample:
    return reduction.value(log_weight(q.rsample(noise), q))


def _blocked(
    log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise, prediction: PerExample
) -> PerExample:
    return reduction.value(log_weight(q.sample(noise), q.detach()))


def _sticking_the_landing(
    log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise, prediction: PerExample
) -> PerExample:
    return reduction.value(log_weight(q.rsample(noise), q.detach()))


def _doubly_reparameterized(
    log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise, prediction: PerExample
) -> PerExample:
    z = q.rsample(noise)
    log_w = log_weight(z, q.detach())
    if z.requires_grad:  # without gradients, as in evaluation, there is no path to scale
        scale = reduction.path_scale(log_w.detach())[..., None]
        z.register_hook(lambda gradient: scale * gradient)
    return reduction.value(log_w)


# Reparameterization: z = q.rsample(noise), with the gradient in all parameters of q. Unbiased; needs `rsample`.
# Source: Kingma and Welling 2014, arXiv:1312.6114, section 2.4.
pathwise = Estimator("pathwise", _pathwise)

# No gradient flows through the draws. Biased: the encoder gets the gradient of A(x) only.
# Source: Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4, left.
blocked = Estimator("blocked", _blocked)

# The path derivative without the score of q: zero variance if q is the exact posterior. Unbiased for the reduction
# `mean`, biased for any other. Source: Roeder et al. 2017, Sticking the landing, arXiv:1703.09194.
sticking_the_landing = Estimator("sticking_the_landing", _sticking_the_landing)

# The path derivative of each draw times 1 - F_kk / F_k, without the score of q. Unbiased for every reduction if log w
# includes -log q; equal to sticking_the_landing for the reduction `mean`. Source: Tucker et al. 2019, Doubly
# reparameterized gradient estimators for Monte Carlo objectives, arXiv:1810.04152.
doubly_reparameterized = Estimator("doubly_reparameterized", _doubly_reparameterized)


def score_function(baseline: Baseline) -> Estimator:
    """Return the REINFORCE estimator F + sum_k (r_k - b_k) (log q_k - [log q_k]); brackets mean "without gradient".

    It is unbiased if b_k does not depend on draw k, and needs only `sample` and `log_prob` of q. The last factor is 0,
    so the value is F. The network of a baseline that predicts is trained by least squares: with e = (c - [F])², the
    estimator adds -(e - [e]), whose value is 0 and whose gradient is 0 in all other parameters.

    Args:
        baseline: b_k, the control variate; `NO_BASELINE` for b_k = 0.

    Source: Williams 1992 (REINFORCE); Mnih and Gregor 2014, arXiv:1402.0030 (NVIL, the learned baseline). The form that
    keeps the value follows Foerster et al. 2018 (DiCE), arXiv:1802.05098.
    """

    def estimate(
        log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise, prediction: PerExample
    ) -> PerExample:
        z = q.sample(noise)
        log_w = log_weight(z, q)
        reward = reduction.reward(log_w) - baseline.value(log_w, reduction, prediction)
        log_q = q.log_prob(z)
        value = reduction.value(log_w)
        error = (prediction - value.detach()).square()
        return value + (reward.detach() * (log_q - log_q.detach())).sum(0) - (error - error.detach())

    return Estimator("score_function", estimate, baseline)
