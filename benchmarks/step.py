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
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "K B D"],
) -> Float[Tensor, ""]:
    """Descend once, in place, and return the loss; the baseline's moving average follows, in place too."""
    stochastic, exact = parts(variant, model, x, noise, average)
    loss = -(stochastic + exact).mean()
    gradients = torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)
    adam.descend(gradients)
    average.copy_(variant.estimator.baseline.updated(average, stochastic))
    return loss.detach()
