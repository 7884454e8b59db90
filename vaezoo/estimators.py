"""Gradient estimators: which parameters carry gradient, and nothing else.

The contract: an estimator returns E[F(log w)]'s one-sample value, [B] in nats, whose value is the objective's
stochastic part and whose gradient is the estimate. `log_weight(z, q)` gives log w [K, B] of the draws z, with q's
parameters live or detached as the estimator hands them over; the decoder's gradient is always kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vaezoo.baselines import Baseline
from vaezoo.posteriors import Posterior
from vaezoo.reductions import Reduction

LogWeight = Callable[[Tensor, Posterior], Float[Tensor, "K B"]]
Noise = Float[Tensor, "K B D"]
PerExample = Float[Tensor, " B"]


@dataclass(frozen=True)
class Estimator:
    """A named estimate, its baseline if it is a score-function one, and the fewest draws it can work with."""

    name: str
    estimate: Callable[[LogWeight, Reduction, Posterior, Noise], PerExample]
    baseline: str = ""
    min_draws: int = 1


def _pathwise(log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise) -> PerExample:
    return reduction.value(log_weight(q.rsample(noise), q))


def _blocked(log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise) -> PerExample:
    return reduction.value(log_weight(q.sample(noise), q.detach()))


# Reparameterization: z = q.rsample(noise), everything live. Unbiased; needs `rsample`.
# Source: Kingma and Welling 2014, arXiv:1312.6114, section 2.4.
pathwise = Estimator("pathwise", _pathwise)

# Sampling inside the network, so that nothing flows back through it. Biased: the encoder sees A(x) alone.
# Source: Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4, left.
blocked = Estimator("blocked", _blocked)


def score_function(baseline: Baseline) -> Estimator:
    """REINFORCE: F + sum_k (r_k - b_k) (log q_k - [log q_k]), brackets meaning "without gradient".

    Unbiased for any baseline that has not seen its own draw; needs `sample` and `log_prob` only. The last factor is 0,
    so the value stays the objective's. Source: Williams 1992 (REINFORCE); the value-preserving form follows
    Foerster et al. 2018 (DiCE), arXiv:1802.05098.
    """

    def estimate(log_weight: LogWeight, reduction: Reduction, q: Posterior, noise: Noise) -> PerExample:
        z = q.sample(noise)
        log_w = log_weight(z, q)
        reward = reduction.reward(log_w) - baseline.value(log_w, reduction)
        log_q = q.log_prob(z)
        return reduction.value(log_w) + (reward.detach() * (log_q - log_q.detach())).sum(0)

    return Estimator("score_function", estimate, baseline.name, baseline.min_draws)
