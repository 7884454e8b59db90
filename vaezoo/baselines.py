"""Baselines: what a score-function estimator subtracts from each draw's reward, [K, B] in nats.

A baseline must not depend on its own draw: then it changes the variance of the gradient and not its mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.reductions import Reduction


@dataclass(frozen=True)
class Baseline:
    """b_k as a function of the log weights and the reduction, and the fewest draws it can work with."""

    name: str
    value: Callable[[Float[Tensor, "K B"], Reduction], Float[Tensor, "K B"]]
    min_draws: int = 1


def zero(log_w: Float[Tensor, "K B"], reduction: Reduction) -> Float[Tensor, "K B"]:
    """b_k = 0."""
    return torch.zeros_like(log_w)


def reward_without_own_draw(log_w: Float[Tensor, "K B"], reduction: Reduction) -> Float[Tensor, "K B"]:
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


NONE = Baseline("none", zero)
LEAVE_ONE_OUT = Baseline("leave_one_out", reward_without_own_draw, min_draws=2)
