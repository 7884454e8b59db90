"""Antithetic pairs of Bernoulli draws, z(u) and z(1 - u), as two evaluations of one draw of noise.

The gradient in the logit of latent d is (r_k - r'_k) times a slope with the mean 0. The reward r' has the mirrored draw
in place of draw k. The value is the mean of F over both draws, and so is the gradient in the decoder's parameters.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.special import ndtr

from vaezoo.distributions.discrete import FactorizedBernoulli
from vaezoo.estimators.estimator import Estimate, Estimator, LogWeight, Noise, PerExample
from vaezoo.reductions import Reduction, replace_each

Slope = Callable[[FactorizedBernoulli, Noise, Tensor, Tensor], Tensor]


def _pair(slope: Slope) -> Estimate:
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


def _arm_slope(q: FactorizedBernoulli, noise: Noise, z: Tensor, mirrored: Tensor) -> Tensor:
    uniform: Tensor = ndtr(noise.to(q.logits.dtype))
    return uniform - 0.5


def _disarm_slope(q: FactorizedBernoulli, noise: Noise, z: Tensor, mirrored: Tensor) -> Tensor:
    return 0.5 * (z - mirrored) * q.logits.abs().sigmoid()


# ARM: the slope is u - 1/2. Source: Yin and Zhou 2019, ARM: Augment-REINFORCE-merge gradient for stochastic binary
# networks, arXiv:1807.11143, theorem 1.
arm = Estimator("arm", _pair(_arm_slope), transforms_noise=True, kinds=("bernoulli",))

# DisARM, the mean of ARM given the pair: the slope is (z - z') sigmoid(|logit|) / 2. Source: Dong et al. 2020, DisARM:
# an antithetic gradient estimator for binary latent variables, arXiv:2006.10680, equation 7; Yin et al. 2020,
# arXiv:2006.14568 (U2G, the same estimator).
disarm = Estimator("disarm", _pair(_disarm_slope), transforms_noise=True, kinds=("bernoulli",))
