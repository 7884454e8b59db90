"""Baselines that predict: how they start, and how one is fitted where the parameters are held fixed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from benchmarks import adam
from benchmarks.cases import Protocol
from benchmarks.data import binarize
from benchmarks.seeds import generator
from vaezoo import Model, Variant, initialise, parts, started

FITTING_STEPS = 100


def _batch(images: Tensor, protocol: Protocol, first: int, source: torch.Generator) -> Tensor:
    x = images[first : first + protocol.batch_size]
    return binarize(x, source) if protocol.binarization == "dynamic" else x


def _noise(variant: Variant, protocol: Protocol, source: torch.Generator) -> Tensor:
    shape = (variant.draws, protocol.batch_size, protocol.latent_dim)
    return torch.randn(shape, generator=source).to(protocol.device)


def start(variant: Variant, model: Model, images: Tensor, protocol: Protocol, source: torch.Generator) -> Tensor:
    """The moving average before the first step, from one draw of its own on the first minibatch."""
    return started(variant, model, _batch(images, protocol, 0, source), _noise(variant, protocol, source))


def fitted(variant: Variant, model: Model, images: Tensor, protocol: Protocol, seed: int) -> tuple[Model, Tensor]:
    """A copy of the model whose baseline is fitted at these parameters, and its moving average, both to be held fixed.

    From a fresh state, for 100 steps on the minibatches after the first, in turn: the first is the one that is
    measured. A baseline that predicts nothing comes back as it was.
    """
    source = generator(seed, "fit-baseline")
    average = start(variant, model, images, protocol, source)
    if not variant.estimator.baseline.rate:
        return model, average
    frozen = copy.deepcopy(model).requires_grad_(False)
    initialise(frozen.baseline, lambda name: generator(seed, f"init/baseline.{name}"))
    learned = list(frozen.baseline.requires_grad_().parameters())
    optimizer = adam.started(learned, protocol.learning_rate)
    count = len(images) // protocol.batch_size
    for step in range(FITTING_STEPS):
        x = _batch(images, protocol, (1 + step % max(1, count - 1)) % count * protocol.batch_size, source)
        stochastic, _ = parts(variant, frozen, x, _noise(variant, protocol, source), average)
        if learned:
            optimizer.descend(torch.autograd.grad(-stochastic.mean(), learned))
        average = variant.estimator.baseline.updated(average, stochastic)
    return frozen.requires_grad_(), average
