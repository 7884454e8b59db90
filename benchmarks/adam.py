"""Adam, the optimizer of every variant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Kingma and Ba 2015, arXiv:1412.6980, algorithm 1, in torch's fused kernel.

    The same bits as `torch.optim.Adam(fused=True)`, which imports torch's compiler at its first use: that is two
    seconds in every process, more than many a cell trains.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def descend(self, gradients: Sequence[Tensor]) -> None:
        """One step down these gradients, in the parameters' order."""
        torch._foreach_add_(self.steps, 1)
        torch._fused_adam_(
            self.parameters,
            list(gradients),
            self.means,
            self.squares,
            [],
            self.steps,
            lr=self.learning_rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )
