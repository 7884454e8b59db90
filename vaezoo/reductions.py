"""Reductions F: functions of the log weights of K draws, with the derivatives and rewards that estimators need."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.equality import equal_by_content


@equal_by_content
@dataclass(frozen=True, eq=False)
class Reduction:
    """F(log w_1 .. log w_K) over the first dimension, nats per example, and two functions of the log weights [K, B].

    Args:
        value: F, [B].
        path_scale: 1 - F_kk / F_k, [K, B], with the first and second derivative of F in log w_k. DReG multiplies the
            path of draw k by it (Tucker et al. 2019, arXiv:1810.04152, for log-mean-exp).
        reward: r_k, [K, B], nats: the terms of F that depend on draw k. A score-function estimator multiplies the score
            of draw k by it.
    """

    name: str
    value: Callable[[Float[Tensor, "K *B"]], Float[Tensor, " *B"]]
    path_scale: Callable[[Float[Tensor, "K *B"]], Float[Tensor, "K *B"]]
    reward: Callable[[Float[Tensor, "K *B"]], Float[Tensor, "K *B"]]


def weigh_path(reduction: Reduction, weight: Tensor | float) -> Reduction:
    """Return the reduction for log weights whose -log q(z|x) is multiplied by a weight: 1 - weight F_kk / F_k.

    The score of q in log w has this weight, so the part that doubly reparameterized gradients remove has it, too.
    """
    if isinstance(weight, float):
        return reduction
    return replace(reduction, path_scale=lambda log_w: 1 - weight * (1 - reduction.path_scale(log_w)))


def replace_each(
    log_w: Float[Tensor, "K B"], replacements: Float[Tensor, "K B"], reduction: Reduction
) -> Float[Tensor, "K B"]:
    """Return r_k with log w_k replaced by replacement k, and the log weights of the other draws as they are."""
    draws = len(log_w)
    replaced = log_w.expand(draws, *log_w.shape).clone()  # [which draw is replaced, draw, B]
    draw = torch.arange(draws, device=log_w.device)
    replaced[draw, draw] = replacements
    rewards = reduction.reward(replaced.transpose(0, 1))  # [draw, which draw is replaced, B]
    return rewards[draw, draw]


def mean(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, " *B"]:
    """Return F = (1/K) sum_k log w_k, the evidence lower bound."""
    return log_w.mean(0)


def log_mean_exp(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, " *B"]:
    """Return F = log (1/K) sum_k w_k, the importance-weighted bound (Burda et al. 2016, arXiv:1509.00519, eq. 8)."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def mean_reward(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, "K *B"]:
    """Return r_k = log w_k / K: in the mean, only one term depends on draw k."""
    return log_w / len(log_w)


def log_mean_exp_reward(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, "K *B"]:
    """Return r_k = F: log-mean-exp cannot be split into terms, so all of it depends on draw k."""
    return log_mean_exp(log_w).expand_as(log_w)


MEAN = Reduction("mean", value=mean, path_scale=torch.ones_like, reward=mean_reward)
LOG_MEAN_EXP = Reduction(
    "log_mean_exp", value=log_mean_exp, path_scale=lambda log_w: log_w.softmax(0), reward=log_mean_exp_reward
)


def convex(b: float) -> Reduction:
    """Return F = b mean + (1 - b) log-mean-exp, b in [0, 1], which interpolates between the two bounds.

    With w~ the normalised weights, F_k = b/K + (1 - b) w~_k and F_kk = (1 - b) w~_k (1 - w~_k).
    Source: Rainforth et al. 2018, Tighter variational bounds are not necessarily better, arXiv:1802.04537 (CIWAE).
    """

    def path_scale(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, "K *B"]:
        weights = log_w.softmax(0)
        return 1 - (1 - b) * weights * (1 - weights) / (b / len(log_w) + (1 - b) * weights)

    return Reduction(
        f"convex({b:g})",
        value=lambda log_w: b * mean(log_w) + (1 - b) * log_mean_exp(log_w),
        path_scale=path_scale,
        reward=lambda log_w: b * mean_reward(log_w) + (1 - b) * log_mean_exp_reward(log_w),
    )


def renyi(alpha: float) -> Reduction:
    """Return F = 1/(1 - alpha) log-mean-exp((1 - alpha) log w), alpha in [0, 1): between log-mean-exp and the mean.

    With v the normalised weights w^(1 - alpha), F_k = v_k and F_kk = (1 - alpha) v_k (1 - v_k).
    Source: Daudel et al. 2023, Alpha-divergence variational inference meets importance weighted auto-encoders,
    arXiv:2210.06226 (VR-IWAE).
    """

    def value(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, " *B"]:
        return log_mean_exp((1 - alpha) * log_w) / (1 - alpha)

    return Reduction(
        f"renyi({alpha:g})",
        value=value,
        path_scale=lambda log_w: alpha + (1 - alpha) * ((1 - alpha) * log_w).softmax(0),
        reward=lambda log_w: value(log_w).expand_as(log_w),
    )


def grouped(groups: int) -> Reduction:
    """Return F = (1/M) sum_m log-mean-exp of group m: draws m, m + M, m + 2M and so on; fewer groups for fewer draws.

    Source: Rainforth et al. 2018, Tighter variational bounds are not necessarily better, arXiv:1802.04537 (MIWAE).
    """

    def apply(
        function: Callable[[Float[Tensor, "_ *B"]], Float[Tensor, "_ *B"]], log_w: Float[Tensor, "K *B"]
    ) -> Float[Tensor, "K *B"]:
        """Apply a function to each group, and return the results in the order of the draws."""
        order = torch.cat([torch.arange(len(log_w))[m::groups] for m in range(groups)])
        return torch.cat([function(log_w[m::groups]) for m in range(min(groups, len(log_w)))])[order.argsort()]

    def value(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, " *B"]:
        return torch.stack([log_mean_exp(log_w[m::groups]) for m in range(min(groups, len(log_w)))]).mean(0)

    return Reduction(
        f"grouped({groups})",
        value=value,
        path_scale=lambda log_w: apply(lambda group: group.softmax(0), log_w),
        reward=lambda log_w: apply(log_mean_exp_reward, log_w) / min(groups, len(log_w)),
    )
