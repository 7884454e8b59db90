"""Adam, the optimizer of every variant."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Adam:
    """Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, in torch's fused kernel; all tensors change in place.

    The same bits as `torch.optim.Adam(fused=True)`, which imports torch's compiler at its first use: that is two
    seconds in every process, more than many a cell trains.
    """

    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    count: Tensor
    learning_rate: Tensor

    @property
    def tensors(self) -> list[Tensor]:
        """All of them, in one list."""
        return [*self.parameters, *self.means, *self.squares, self.count, self.learning_rate]

    @torch.no_grad()
    def descend(self, gradients: Sequence[Tensor]) -> None:
        """One step down these gradients, in the parameters' order."""
        self.count.add_(1)
        torch._fused_adam_(
            self.parameters,
            list(gradients),
            self.means,
            self.squares,
            [],
            [self.count] * len(self.parameters),
            lr=self.learning_rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


def started(parameters: Iterable[Tensor], learning_rate: float) -> Adam:
    """Before the first step."""
    own = list(parameters)
    device = own[0].device if own else None
    return Adam(
        own,
        [torch.zeros_like(p) for p in own],
        [torch.zeros_like(p) for p in own],
        torch.zeros((), device=device),
        torch.tensor(learning_rate, dtype=torch.float64),  # in the processor's memory, also for a CUDA device
    )


def written_out(
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    _: list[Tensor],
    counts: list[Tensor],
    *,
    lr: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    **unused: Any,
) -> None:
    """What the fused kernel computes, in tensor operations that a compiler can fuse with the gradient's."""
    # exponentials, which the compiler computes once a step; powers it would compute for each number of each parameter
    count = counts[0].double()
    correction = (1 - (math.log(beta2) * count).exp()).sqrt()
    size, floor = lr * correction / (1 - (math.log(beta1) * count).exp()), eps * correction
    for p, g, m, s in zip(parameters, gradients, means, squares, strict=True):
        m.lerp_(g, 1 - beta1)
        s.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        p.sub_(size.to(p.dtype) * (m / (s.sqrt() + floor.to(p.dtype))))
