"""The exact gradient, by a sum over all values of the latents."""

from __future__ import annotations

from vaezoo.distributions.discrete import DiscretePosterior
from vaezoo.estimators.estimator import Estimator, LogWeight, Noise, PerExample
from vaezoo.estimators.relaxed import KINDS
from vaezoo.reductions import Reduction


def _enumerated(
    log_weight: LogWeight, reduction: Reduction, q: DiscretePosterior, noise: Noise, prediction: PerExample
) -> PerExample:
    z = q.states()[:, None].expand(-1, noise.shape[1], -1)
    return (q.log_prob(z).exp() * reduction.value(log_weight(z, q)[None])).sum(0)


# sum_z q(z|x) F(log w(z)), with one decoder pass for each of at most 4,096 states. The noise is not used.
enumerated = Estimator("enumerated", _enumerated, transforms_noise=True, most_draws=1, noise_per_draw=0, kinds=KINDS)
