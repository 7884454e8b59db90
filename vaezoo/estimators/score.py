"""The score-function estimator (REINFORCE). It needs only draws of q and their log density."""

from __future__ import annotations

from vaezoo.baselines import Baseline
from vaezoo.distributions.posteriors import Posterior
from vaezoo.estimators.estimator import Estimator, LogWeight, Noise, PerExample
from vaezoo.reductions import Reduction


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
