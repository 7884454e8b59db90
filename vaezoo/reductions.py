"""Reductions: how the log weights of K draws become one objective, and what estimators need to know of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Reduction:
    """F(log w_1 .. log w_K) over the first dimension, in nats per example.

    value: F.
    path_scale: 1 - F_kk / F_k, with F's first and second derivatives in log w_k (the factor of DReG's path;
        Tucker et al. 2019, arXiv:1810.04152, gives it for log-mean-exp).
    reward: r_k, the part of F in which draw k takes part: what a score-function estimator weighs the score by.
    """

    name: str
    value: Callable[[Float[Tensor, "K *B"]], Float[Tensor, " *B"]]
    path_scale: Callable[[Float[Tensor, "K *B"]], Float[Tensor, "K *B"]]
    reward: Callable[[Float[Tensor, "K *B"]], Float[Tensor, "K *B"]]


def mean(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, " *B"]:
    """F = (1/K) sum_k log w_k: the evidence lower bound."""
    return log_w.mean(0)


def log_mean_exp(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, " *B"]:
    """F = log (1/K) sum_k w_k: the importance-weighted bound (Burda et al. 2016, arXiv:1509.00519, equation 8)."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def share(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, "K *B"]:
    """r_k = log w_k / K: under the mean, a draw takes part in its own term alone."""
    return log_w / len(log_w)


def whole(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, "K *B"]:
    """r_k = F: under log-mean-exp, every draw takes part in the whole."""
    return log_mean_exp(log_w).expand_as(log_w)


def softmax(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, "K *B"]:
    """w_k / sum_l w_l, the normalised importance weights."""
    return log_w.softmax(0)


MEAN = Reduction("mean", value=mean, path_scale=torch.ones_like, reward=share)
LOG_MEAN_EXP = Reduction("log_mean_exp", value=log_mean_exp, path_scale=softmax, reward=whole)


def convex(b: float) -> Reduction:
    """F = b mean + (1 - b) log-mean-exp: between the evidence lower bound (b = 1) and the importance-weighted one.

    With w~ the normalised weights, F_k = b/K + (1 - b) w~_k and F_kk = (1 - b) w~_k (1 - w~_k).
    Source: Rainforth et al. 2018, Tighter variational bounds are not necessarily better, arXiv:1802.04537
    (CIWAE).
    """

    def path_scale(log_w: Float[Tensor, "K *B"]) -> Float[Tensor, "K *B"]:
        weights = softmax(log_w)
        return 1 - (1 - b) * weights * (1 - weights) / (b / len(log_w) + (1 - b) * weights)

    return Reduction(
        f"convex({b:g})",
        value=lambda log_w: b * mean(log_w) + (1 - b) * log_mean_exp(log_w),
        path_scale=path_scale,
        reward=lambda log_w: b * share(log_w) + (1 - b) * whole(log_w),
    )
