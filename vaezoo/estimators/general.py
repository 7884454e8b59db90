"""Estimators for all families: the score function, those that differentiate through the draws, and `blocked`.

Their arguments are described in `vaezoo.estimators.estimator`.
"""

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
pathwise = Estimator(
    "pathwise", lambda log_weight, reduction, q, noise, _: reduction.value(log_weight(q.rsample(noise), q))
)

# No gradient flows through the draws. Biased: the encoder gets the gradient of A(x) only.
# Source: Doersch 2016, Tutorial on variational autoencoders, arXiv:1606.05908, figure 4, left.
blocked = Estimator(
    "blocked", lambda log_weight, reduction, q, noise, _: reduction.value(log_weight(q.sample(noise), q.detach()))
)

# The path derivative without the score of q: zero variance if q is the exact posterior. Unbiased for the reduction
# `mean`, biased for any other. Source: Roeder et al. 2017, Sticking the landing, arXiv:1703.09194.
sticking_the_landing = Estimator(
    "sticking_the_landing",
    lambda log_weight, reduction, q, noise, _: reduction.value(log_weight(q.rsample(noise), q.detach())),
)

# The path derivative of each draw times 1 - F_kk / F_k, without the score of q. Unbiased for every reduction if log w
# includes -log q; equal to sticking_the_landing for the reduction `mean`. Source: Tucker et al. 2019, Doubly
# reparameterized gradient estimators for Monte Carlo objectives, arXiv:1810.04152.
doubly_reparameterized = Estimator("doubly_reparameterized", _doubly_reparameterized)
