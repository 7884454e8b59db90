"""One step of training: a function of parameters, optimizer, baseline state, minibatch and noise."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.adam import Adam
from vaezoo import Model, Variant, parts


def step(
    variant: Variant,
    model: Model,
    adam: Adam,
    average: Float[Tensor, ""],
    precision: str,
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "K B D"],
) -> Float[Tensor, ""]:
    """Descend once, in place, and return the loss; the baseline's moving average follows, in place too.

    precision: of the matrix products, "float32" or "bfloat16"; parameters and all other operations stay as they are.
    """
    with torch.autocast(x.device.type, torch.bfloat16, precision == "bfloat16", cache_enabled=False):
        stochastic, exact = parts(variant, model, x, noise, average)
    loss = -(stochastic + exact).mean()
    gradients = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    adam.descend(gradients)
    average.copy_(variant.estimator.baseline.updated(average, stochastic))
    return loss.detach()
