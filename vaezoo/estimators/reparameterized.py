"""Estimators that differentiate through the draws, by q.rsample, and `blocked`, which does not.

Their arguments are described in `vaezoo.estimators.estimator`.
"""

from __future__ import annotations

from vaezoo.distributions.posteriors import Posterior
from vaezoo.estimators.estimator import Estimator, LogWeight, Noise, PerExample
from vaezoo.reductions import Reduction


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
