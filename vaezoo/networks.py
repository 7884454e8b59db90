"""Networks, as functions that return modules, and their one initialisation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import nn


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear and ReLU from the first width to the last, ReLU after each; a single width is the identity."""
    layers = [(nn.Linear(inputs, outputs), nn.ReLU()) for inputs, outputs in itertools.pairwise(widths)]
    return nn.Sequential(*itertools.chain.from_iterable(layers))


@torch.no_grad()
def initialise(module: nn.Module, generator: Callable[[str], torch.Generator]) -> None:
    """Draw every weight and bias from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), each from the generator of its own name.

    It is torch's default for linear layers. What two models share starts equal, whatever else each of them owns.
    Parameters of a module without a weight keep the value that they were made with.
    """
    for path, layer in module.named_modules():
        own = dict(layer.named_parameters(recurse=False))
        if "weight" not in own:
            continue
        bound = own["weight"][0].numel() ** -0.5
        for name, parameter in own.items():
            draw = torch.rand(parameter.shape, generator=generator(f"{path}.{name}"), dtype=parameter.dtype)
            parameter.copy_((2 * draw - 1) * bound)
