"""Baselines: what a score-function estimator subtracts from each draw's reward, [K, B] in nats.

A baseline must not depend on its own draw: then it changes the variance of the gradient and not its mean. Some are
functions of the other draws; some predict F from what came before. A prediction c [B] is made before the draw, from a
moving average and a small network of x, and is an input of the estimator as the noise is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.reductions import Reduction


class Zero(nn.Module):
    """Predicts 0 for every example."""

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 1"]:
        return x.new_zeros(len(x), 1)


@dataclass(frozen=True)
class Baseline:
    """b_k, and what is needed to predict.

    value: (log_w, reduction, prediction c) -> b [K, B]. min_draws: the fewest draws that it can work with.
    network: pixels -> the learned part of the prediction. rate: of the moving average, c <- c + rate (F - c); 0 where
    nothing is predicted.
    """

    name: str
    value: Callable[[Float[Tensor, "K B"], Reduction, Float[Tensor, " B"]], Float[Tensor, "K B"]]
    min_draws: int = 1
    network: Callable[[int], nn.Module] = lambda pixels: Zero()
    rate: float = 0.0

    def updated(self, average: Float[Tensor, ""], stochastic: Float[Tensor, " B"]) -> Float[Tensor, ""]:
        """The moving average after a step in which F was `stochastic` [B]."""
        return average + self.rate * (stochastic.detach().mean() - average)


def zero(log_w: Float[Tensor, "K B"], reduction: Reduction, prediction: Float[Tensor, " B"]) -> Float[Tensor, "K B"]:
    """b_k = 0."""
    return torch.zeros_like(log_w)


def reward_without_own_draw(
    log_w: Float[Tensor, "K B"], reduction: Reduction, prediction: Float[Tensor, " B"]
) -> Float[Tensor, "K B"]:
    """b_k = r_k with log w_k replaced by the mean of the others.

    Under the mean it is RLOO (Kool et al. 2019, Buy 4 REINFORCE samples, get a baseline for free!); under
    log-mean-exp VIMCO with the geometric mean (Mnih and Rezende 2016, arXiv:1602.06725).
    """
    draws = len(log_w)
    others = (log_w.sum(0) - log_w) / (draws - 1)
    replaced = log_w.expand(draws, *log_w.shape).clone()  # [which draw is replaced, draw, B]
    own = torch.arange(draws, device=log_w.device)
    replaced[own, own] = others
    rewards = reduction.reward(replaced.transpose(0, 1))  # [draw, which draw is replaced, B]
    return rewards[own, own]


def reward_of_prediction(
    log_w: Float[Tensor, "K B"], reduction: Reduction, prediction: Float[Tensor, " B"]
) -> Float[Tensor, "K B"]:
    """b_k = r_k of draws that all have log w = c: c/K under the mean, c under log-mean-exp."""
    return reduction.reward(prediction.expand_as(log_w))


def small_network(pixels: int) -> nn.Module:
    """One hidden layer of 100 units (Mnih and Gregor 2014, arXiv:1402.0030)."""
    return nn.Sequential(nn.Linear(pixels, 100), nn.Tanh(), nn.Linear(100, 1))


NOT_ANY = Baseline("", zero)
NONE = Baseline("none", zero)
LEAVE_ONE_OUT = Baseline("leave_one_out", reward_without_own_draw, min_draws=2)
MOVING_AVERAGE = Baseline("moving_average", reward_of_prediction, rate=0.1)
LEARNED = Baseline("learned", reward_of_prediction, network=small_network, rate=0.1)
