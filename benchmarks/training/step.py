"""One training step: a function of parameters, optimizer, moving average, minibatch and noise; and its cost in FLOP."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.common.errors import UserError
from benchmarks.planning.schedules import OptimizerSettings
from vaezoo import DataSpec, Model, Variant, build, estimate_parts

ADAM = OptimizerSettings()
COMPLETE = torch.ones(())  # the share of training


@dataclass(frozen=True)
class Optimizer:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980, algorithm 1), RMSprop or centred RMSprop; all tensors change in place.

    Adam is torch's fused kernel and computes the same bits as `torch.optim.Adam(fused=True)`. That class imports
    torch's compiler at its first use, which takes two seconds in every process. RMSprop divides the gradient by the
    root of its mean square plus epsilon, as `torch.optim.RMSprop`; its `means` are the last gradient. Centred RMSprop
    subtracts the squared mean of the gradient, with the same decay (Graves 2013, arXiv:1308.0850).
    """

    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    count: Tensor
    learning_rate: Tensor
    settings: OptimizerSettings = ADAM

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.parameters, *self.means, *self.squares, self.count, self.learning_rate]

    @torch.no_grad()
    def descend(self, gradients: Sequence[Tensor]) -> None:
        """Take one step. gradients: in the order of the parameters."""
        self.count.add_(1)
        if self.settings.method != "adam":
            self._descend_by_rmsprop(gradients)
            return
        torch._fused_adam_(
            self.parameters,
            list(gradients),
            self.means,
            self.squares,
            [],
            [self.count] * len(self.parameters),
            lr=self.learning_rate,
            beta1=self.settings.beta1,
            beta2=self.settings.beta2,
            weight_decay=0.0,
            eps=self.settings.epsilon,
            amsgrad=False,
            maximize=False,
        )

    def _descend_by_rmsprop(self, gradients: Sequence[Tensor]) -> None:
        decay, epsilon = self.settings.beta2, self.settings.epsilon
        is_centred = self.settings.method == "centred-rmsprop"
        for p, g, m, s in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            m.lerp_(g, 1 - decay if is_centred else 1.0)
            s.mul_(decay).addcmul_(g, g, value=1 - decay)
            spread = (s - m * m).clamp(min=0) if is_centred else s
            p.sub_(self.learning_rate.to(p.dtype) * (g / (spread.sqrt() + epsilon)))


def initial_optimizer(
    parameters: Iterable[Tensor], learning_rate: float, settings: OptimizerSettings = ADAM
) -> Optimizer:
    tensors = list(parameters)
    device = tensors[0].device if tensors else None
    return Optimizer(
        tensors,
        [torch.zeros_like(p) for p in tensors],
        [torch.full_like(p, settings.initial_square) for p in tensors],
        torch.zeros((), device=device),
        torch.tensor(learning_rate, dtype=torch.float64),  # in CPU memory, also for a CUDA device
        settings,
    )


def fused_adam_decomposition(
    *lists: list[Tensor], lr: Tensor, beta1: float, beta2: float, eps: float, **unused: Any
) -> None:
    """Compute the same as the fused kernel, by operations that the compiler can fuse with those of the gradient."""
    parameters, gradients, means, squares, _, counts = lists
    # exponentials, because the compiler would compute a power again for each element of each parameter
    count = counts[0].double()
    powers = [(math.log(beta) * count).exp() if beta else 0.0 * count for beta in (beta1, beta2)]
    correction = (1 - powers[1]).sqrt()
    step_size, epsilon = lr * correction / (1 - powers[0]), eps * correction
    for p, g, m, s in zip(parameters, gradients, means, squares, strict=True):
        m.lerp_(g, 1 - beta1)
        s.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        p.sub_(step_size.to(p.dtype) * (m / (s.sqrt() + epsilon.to(p.dtype))))


def take_step(
    variant: Variant,
    model: Model,
    optimizer: Optimizer,
    average: Float[Tensor, ""],
    precision: str,
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "K B D"],
    progress: Float[Tensor, " _"],
) -> Float[Tensor, ""]:
    """Take one optimizer step, update the baseline's moving average, both in place, and return the loss.

    precision: of the matrix products, "float32" or "bfloat16"; the parameters are float32 in both cases. progress: the
    share of training that is done, and the weight of the KL if it is scheduled.
    """
    model.training_share, model.kl_weight = progress[0], progress[1] if len(progress) > 1 else 1.0
    with torch.autocast(x.device.type, torch.bfloat16, precision == "bfloat16", cache_enabled=False):
        stochastic, exact = estimate_parts(variant, model, x, noise, average)
    loss = -(stochastic + exact).mean()
    gradients = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    model.training_share, model.kl_weight = COMPLETE, 1.0  # everything that is measured is the whole objective
    optimizer.descend(gradients)
    average.copy_(variant.estimator.update_average(average, stochastic))
    return loss.detach()


def check_hidden_state(
    variant: Variant, model: Model, average: Float[Tensor, ""], x: Float[Tensor, "B ..."], noise: Float[Tensor, "K B D"]
) -> None:
    """Raise `UserError` if value or gradient of the same numbers, or a buffer, change after some steps.

    Hidden state, such as a counter of steps, is frozen in a compiled step and lost when a cell continues.
    """
    parameters = list(model.parameters())
    buffers = [buffer.clone() for buffer in model.buffers()]

    def compute() -> list[Tensor]:
        value = sum(estimate_parts(variant, model, x, noise, average), torch.zeros(()))
        return [value.detach(), *torch.autograd.grad(value.sum(), parameters, materialize_grads=True)]

    first = compute()
    for _ in range(REPEATED_STEPS):
        estimate_parts(variant, model, x, noise, average)
    if not all(map(_equal, [*first, *buffers], [*compute(), *model.buffers()])):
        raise UserError(
            f"the objective of {variant.name} changes when it is computed again from the same numbers, so it has "
            "hidden state or noise; read the share of training from model.training_share, and noise from its argument"
        )


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(), b.nan_to_num())


REPEATED_STEPS = 50
aten = torch.ops.aten


def _count_multiplications(operation: Any, args: tuple[Any, ...], out: Any) -> int:
    gradient: Tensor
    x: Tensor
    weight: Tensor
    needed: list[bool]
    match operation:
        case aten.mm | aten.bmm | aten.addmm | aten.baddbmm:
            x, weight = args[-2:]
            return x.numel() * weight.shape[-1]
        case aten.convolution:
            x, weight, *_, is_transposed, _, _ = args
            return (x if is_transposed else out).numel() * weight[0].numel()
        case aten.convolution_backward:
            gradient, x, weight, *_, is_transposed, _, _, needed = args
            return sum(needed[:2]) * (x if is_transposed else gradient).numel() * weight[0].numel()
    return 0


class _FlopCounter(TorchDispatchMode):
    """Counts products and convolutions. torch's counter imports a compiler, which takes a second in each cell."""

    flops = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch wraps __torch_dispatch__ in a function of that compiler

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self.flops += 2 * _count_multiplications(function.overloadpacket, args, out)
        return out


@functools.cache
def count_flops(variant: Variant, spec: DataSpec, latent_dim: int) -> float:
    """Return the floating-point operations of one training step per example, in matrix products and convolutions."""
    model, x = build(variant, spec, latent_dim), torch.zeros(2, *spec.shape)
    counter = _FlopCounter()  # type: ignore[no-untyped-call]
    with counter:
        noise = torch.zeros(variant.draws, len(x), latent_dim)
        stochastic, exact = estimate_parts(variant, model, x, noise, torch.zeros(()))
        torch.autograd.grad((stochastic + exact).sum(), list(model.parameters()), materialize_grads=True)
    return counter.flops / len(x)
