"""Estimators for discrete latents: antithetic pairs, biased derivatives of continuous functions, and enumeration.

An antithetic pair is z(u) and z(1 - u), two evaluations from one draw of noise. The gradient in the logit of a latent
is (r_k - r'_k) times a slope with the mean 0. The reward r' has the mirrored draw in place of draw k. The value is the
mean of F over both draws, and so is the gradient in the decoder's parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.special import ndtr

from vaezoo.distributions.discrete import DiscretePosterior, FactorizedBernoulli
from vaezoo.estimators.estimator import Estimate, Estimator, LogWeight, Noise, PerExample
from vaezoo.reductions import Reduction, replace_each

KINDS = ("bernoulli", "categorical")
PAIRS: Any = {"transforms_noise": True, "kinds": ("bernoulli",)}


def _pair(slope: Callable[[FactorizedBernoulli, Noise, Tensor, Tensor], Tensor]) -> Estimate:
    def estimate(
        log_weight: LogWeight, reduction: Reduction, q: FactorizedBernoulli, noise: Noise, prediction: PerExample
    ) -> PerExample:
        z, mirrored = q.sample(noise), q.sample(-noise)
        log_w, log_mirrored = log_weight(torch.cat([z, mirrored]), q).chunk(2)
        gain = reduction.reward(log_w) - replace_each(log_w, log_mirrored, reduction)
        weight = (gain[..., None] * slope(q, noise, z, mirrored)).detach().sum(0)
        path = (weight * (q.logits - q.logits.detach())).sum(-1)
        return 0.5 * (reduction.value(log_w) + reduction.value(log_mirrored)) + path

    return estimate


# ARM: the slope is u - 1/2. Source: Yin and Zhou 2019, arXiv:1807.11143, theorem 1.
arm = Estimator("arm", _pair(lambda q, noise, *_: ndtr(noise.to(q.logits.dtype)) - 0.5), **PAIRS)

# DisARM, the mean of ARM given the pair: the slope is (z - z') sigmoid(|logit|) / 2. Source: Dong et al. 2020,
# arXiv:2006.10680, equation 7; Yin et al. 2020, arXiv:2006.14568 (U2G, the same estimator).
disarm = Estimator("disarm", _pair(lambda q, _, z, mirrored: 0.5 * (z - mirrored) * q.logits.abs().sigmoid()), **PAIRS)


def with_path(path: Callable[[DiscretePosterior, Noise, Tensor], Tensor]) -> Estimate:
    """Return the estimate at the draws z, whose derivative in the logits is that of path(q, noise, z).

    Args:
        path: function of posterior, noise and draws, with the shape of the draws.
    """

    def estimate(
        log_weight: LogWeight, reduction: Reduction, q: DiscretePosterior, noise: Noise, prediction: PerExample
    ) -> PerExample:
        z = q.sample(noise)
        surrogate = path(q, noise, z)
        return reduction.value(log_weight(z + (surrogate - surrogate.detach()), q))

    return estimate


# The derivative of the mean. Exact if log w is linear in z. Source: Bengio et al. 2013, Estimating or propagating
# gradients through stochastic neurons, arXiv:1308.3432.
straight_through = Estimator("straight_through", with_path(lambda q, noise, z: q.mean), kinds=KINDS)

# The derivative of 2 m - mean / 2, where m is the mean moved half way to the draw: Heun's method. Exact if log w is
# quadratic in z. Source: Liu et al. 2023, Bridging discrete and backpropagation: straight-through and beyond,
# arXiv:2304.08612, equation 7.
reinmax = Estimator("reinmax", with_path(lambda q, noise, z: 2 * q.midpoint(z) - 0.5 * q.mean), kinds=KINDS)


def st_gumbel_softmax(temperature: float) -> Estimator:
    """Return the estimator at hard draws, with the derivative of the relaxed draws of the same noise.

    Args:
        temperature: of the relaxation, above 0.

    Source: Jang et al. 2017, Categorical reparameterization with Gumbel-softmax, arXiv:1611.01144, section 2.2.
    """
    estimate = with_path(lambda q, noise, z: q.soften(q.perturb(noise), temperature))
    return Estimator(f"st_gumbel_softmax({temperature:g})", estimate, kinds=KINDS, at_temperature=st_gumbel_softmax)


def gumbel_softmax(temperature: float) -> Estimator:
    """Return reparameterization with relaxed draws. Its value is F at relaxed draws, no bound of log p(x).

    Args:
        temperature: of the relaxation, above 0; the bias falls and the variance rises if it tends to 0.

    Source: Jang et al. 2017, arXiv:1611.01144; Maddison et al. 2017, The concrete distribution, arXiv:1611.00712.
    """

    def estimate(
        log_weight: LogWeight, reduction: Reduction, q: DiscretePosterior, noise: Noise, prediction: PerExample
    ) -> PerExample:
        return reduction.value(log_weight(q.soften(q.perturb(noise), temperature), q))

    name = f"gumbel_softmax({temperature:g})"
    return Estimator(name, estimate, is_relaxed=True, kinds=KINDS, at_temperature=gumbel_softmax)


def _enumerated(
    log_weight: LogWeight, reduction: Reduction, q: DiscretePosterior, noise: Noise, prediction: PerExample
) -> PerExample:
    z = q.states()[:, None].expand(-1, noise.shape[1], -1)
    return (q.log_prob(z).exp() * reduction.value(log_weight(z, q)[None])).sum(0)


# sum_z q(z|x) F(log w(z)), with one decoder pass for each of at most 4,096 states. The noise is not used.
enumerated = Estimator("enumerated", _enumerated, transforms_noise=True, most_draws=1, uses_noise=False, kinds=KINDS)
