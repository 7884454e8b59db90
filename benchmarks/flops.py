"""Floating-point operations of a training step's matrix products, counted where the model asks for them.

torch's own counter sees every operation, and imports a compiler for it: a second in each cell.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vaezoo import DataSpec, Variant, build, parts

CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
TRANSPOSED = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
PRODUCTS = (torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__)


def _multiplications(function: Any, first: Tensor, second: Tensor, out: Tensor) -> int:
    if function is functional.linear or function in CONVOLUTIONS:
        return out.numel() * second[0].numel()
    if function in TRANSPOSED:
        return first.numel() * second[0].numel()
    return out.numel() * first.shape[-1] if function in PRODUCTS else 0


class _Count(TorchFunctionMode):
    """Each product once, and once more for each factor that needs a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if len(args) > 1 and all(isinstance(factor, Tensor) for factor in args[:2]):
            first, second = args[:2]
            passes = 1 + (first.requires_grad + second.requires_grad if out.requires_grad else 0)
            self.flops += 2 * passes * _multiplications(function, first, second, out)
        return out


@functools.cache
def per_example(variant: Variant, spec: DataSpec, latent_dim: int) -> float:
    """Of one training step, over the examples of its minibatch."""
    model, x = build(variant, spec, latent_dim), torch.zeros(2, *spec.shape)
    count = _Count()
    with count:
        parts(variant, model, x, torch.zeros(variant.draws, len(x), latent_dim), torch.zeros(()))
    return count.flops / len(x)
