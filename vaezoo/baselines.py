"""Baselines (control variates): a score-function estimator subtracts b_k from the reward of draw k, [K, B] in nats.

b_k must not depend on draw k: then it changes the variance of the gradient, but not its mean. Some baselines are
functions of the other draws. Others are functions of a prediction c [B] of F, which is made before the draws: a moving
average plus a small network of x. The prediction is an input of the estimator, like the noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.equality import equal_by_content
from vaezoo.reductions import Reduction, replace_each


class ZeroPrediction(nn.Module):
    """A network that predicts 0 for every example, for baselines that learn nothing."""

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 1"]:
        return x.new_zeros(len(x), 1)


@equal_by_content
@dataclass(frozen=True, eq=False)
class Baseline:
    """b_k as a function of the draws and the prediction, and how the prediction is made.

    Args:
        value: (log_w [K, B], reduction, prediction c [B]) -> b [K, B], nats.
        min_draws: smallest number of draws K for which the baseline is defined.
        network: number of pixels -> module that maps x [B, pixels] to the learned part of the prediction, [B, 1].
        rate: rate of the moving average, c <- c + rate (F - c); 0 if nothing is predicted.
    """

    name: str
    value: Callable[[Float[Tensor, "K B"], Reduction, Float[Tensor, " B"]], Float[Tensor, "K B"]]
    min_draws: int = 1
    network: Callable[[int], nn.Module] = lambda pixels: ZeroPrediction()
    rate: float = 0.0


def zero(log_w: Float[Tensor, "K B"], reduction: Reduction, prediction: Float[Tensor, " B"]) -> Float[Tensor, "K B"]:
    """Return b_k = 0, [K, B]."""
    return torch.zeros_like(log_w)


def leave_one_out_reward(
    log_w: Float[Tensor, "K B"], reduction: Reduction, prediction: Float[Tensor, " B"]
) -> Float[Tensor, "K B"]:
    """Return b_k = r_k with log w_k replaced by the mean of the other log weights, [K, B], nats; needs K >= 2.

    For the reduction `mean` this is RLOO (Kool et al. 2019, Buy 4 REINFORCE samples, get a baseline for free!). For
    log-mean-exp it is VIMCO with the geometric mean (Mnih and Rezende 2016, arXiv:1602.06725).
    """
    others = (log_w.sum(0) - log_w) / (len(log_w) - 1)
    return replace_each(log_w, others, reduction)


def predicted_reward(
    log_w: Float[Tensor, "K B"], reduction: Reduction, prediction: Float[Tensor, " B"]
) -> Float[Tensor, "K B"]:
    """Return b_k = r_k of draws that all have log w = c, [K, B], nats: c/K for the mean, c for log-mean-exp."""
    return reduction.reward(prediction.expand_as(log_w))


def nvil_network(pixels: int) -> nn.Module:
    """Return a network of x with one hidden layer of 100 units (Mnih and Gregor 2014, arXiv:1402.0030)."""
    return nn.Sequential(nn.Linear(pixels, 100), nn.Tanh(), nn.Linear(100, 1))


NO_BASELINE = Baseline("none", zero)
LEAVE_ONE_OUT = Baseline("leave_one_out", leave_one_out_reward, min_draws=2)
MOVING_AVERAGE = Baseline("moving_average", predicted_reward, rate=0.1)
LEARNED = Baseline("learned", predicted_reward, network=nvil_network, rate=0.1)
