"""Biased estimators for discrete latents: the derivative of a continuous function replaces that of the draw."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vaezoo.distributions.discrete import DiscretePosterior, relaxed_sample
from vaezoo.estimators.estimator import Estimate, Estimator, LogWeight, Noise, PerExample
from vaezoo.reductions import Reduction

KINDS = ("bernoulli", "categorical")


def _with_path(path: Callable[[DiscretePosterior, Noise, Tensor], Tensor]) -> Estimate:
    """Return the estimate at the draws z, whose derivative in the logits is that of path(q, noise, z)."""

    def estimate(
        log_weight: LogWeight, reduction: Reduction, q: DiscretePosterior, noise: Noise, prediction: PerExample
    ) -> PerExample:
        z = q.sample(noise)
        surrogate = path(q, noise, z)
        return reduction.value(log_weight(z + (surrogate - surrogate.detach()), q))

    return estimate


# The derivative of the mean. Exact if log w is linear in z. Source: Bengio et al. 2013, Estimating or propagating
# gradients through stochastic neurons, arXiv:1308.3432.
straight_through = Estimator("straight_through", _with_path(lambda q, noise, z: q.mean), kinds=KINDS)

# The derivative of 2 m - mean / 2, where m is the mean moved half way to the draw: Heun's method. Exact if log w is
# quadratic in z. Source: Liu et al. 2023, Bridging discrete and backpropagation: straight-through and beyond,
# arXiv:2304.08612, equation 7.
reinmax = Estimator("reinmax", _with_path(lambda q, noise, z: 2 * q.halfway(z) - 0.5 * q.mean), kinds=KINDS)


def st_gumbel_softmax(temperature: float) -> Estimator:
    """Return the estimator at hard draws, with the derivative of the relaxed draws of the same noise.

    Args:
        temperature: of the relaxation, above 0.

    Source: Jang et al. 2017, Categorical reparameterization with Gumbel-softmax, arXiv:1611.01144, section 2.2.
    """
    estimate = _with_path(lambda q, noise, z: relaxed_sample(q, noise, temperature))
    return Estimator(f"st_gumbel_softmax({temperature:g})", estimate, kinds=KINDS)


def gumbel_softmax(temperature: float) -> Estimator:
    """Return reparameterization with relaxed draws. Its value is F at relaxed draws, no bound of log p(x).

    Args:
        temperature: of the relaxation, above 0; the bias falls and the variance rises if it tends to 0.

    Source: Jang et al. 2017, arXiv:1611.01144; Maddison et al. 2017, The concrete distribution, arXiv:1611.00712.
    """

    def estimate(
        log_weight: LogWeight, reduction: Reduction, q: DiscretePosterior, noise: Noise, prediction: PerExample
    ) -> PerExample:
        return reduction.value(log_weight(relaxed_sample(q, noise, temperature), q))

    return Estimator(f"gumbel_softmax({temperature:g})", estimate, is_relaxed=True, kinds=KINDS)
