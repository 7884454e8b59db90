"""Gradient estimators: which parameters carry gradient, and nothing else.

The contract: an estimator returns [B], nats, whose value is the objective's stochastic part F(log w) and whose
gradient is the estimate. It is given

    log_weight: (z, q) -> log w [K, B] of the draws z, with q's parameters live or detached as it hands them over,
    reduction: F,
    q: the posterior, and noise [K, B, D] to draw from it,
    prediction: c [B], a guess of F made before the draw (0 unless its baseline predicts).

The decoder's gradient is always kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vaezoo.baselines import NOT_ANY, Baseline
from vaezoo.posteriors import Posterior
from vaezoo.reductions import Reduction

LogWeight = Callable[[Tensor, Posterior], Float[Tensor, "K B"]]
Noise = Float[Tensor, "K B D"]
PerExample = Float[Tensor, " B"]
Estimate = Callable[[LogWeight, Reduction, Posterior, Noise, PerExample], PerExample]


@dataclass(frozen=True)
class Estimator:
    """A named estimate; `baseline` is that of a score-function estimator."""

    name: str
    estimate: Estimate
    baseline: Baseline = NOT_ANY


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
    if z.requires_grad:  # where nothing is to be learned there is no path to scale
        scale = reduction.path_scale(log_w.detach())[..., None]
        z.register_hook(lambda gradient: scale * gradient)
    return reduction.value(log_w)


# Reparameterization: z = q.rsample(noise), everything live. Unbiased; needs `rsample`.
# Source: Kingma and Welling 2014, arXiv:1312.6114, section 2.4.
pathwise = Estimator("pathwise", _pathwise)

# Sampling inside the network, so that nothing flows back through it. Biased: the encoder sees A(x) alone.
# Source: Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4, left.
blocked = Estimator("blocked", _blocked)

# The path alone, without the score of q: no variance where q is the exact posterior. Unbiased under the mean, biased
# under any other reduction. Source: Roeder et al. 2017, Sticking the landing, arXiv:1703.09194.
sticking_the_landing = Estimator("sticking_the_landing", _sticking_the_landing)

# The path of each draw scaled by 1 - F_kk / F_k, without the score of q: unbiased under every reduction for log weights
# that hold -log q, and sticking_the_landing under the mean. Source: Tucker et al. 2019, Doubly reparameterized gradient
# estimators for Monte Carlo objectives, arXiv:1810.04152.
doubly_reparameterized = Estimator("doubly_reparameterized", _doubly_reparameterized)


def score_function(baseline: Baseline) -> Estimator:
    """REINFORCE: F + sum_k (r_k - b_k) (log q_k - [log q_k]), brackets meaning "without gradient".

    Unbiased for any baseline that has not seen its own draw; needs `sample` and `log_prob` only. The last factor is 0,
    so the value stays the objective's. What predicts learns by least squares: with e = (c - [F])², -(e - [e]) is added,
    whose value is 0 and whose gradient reaches the baseline's network alone.
    Source: Williams 1992 (REINFORCE); Mnih and Gregor 2014, arXiv:1402.0030 (NVIL, the learned baseline); the
    value-preserving form follows Foerster et al. 2018 (DiCE), arXiv:1802.05098.
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
