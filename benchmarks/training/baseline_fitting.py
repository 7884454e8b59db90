"""The initial moving average of a baseline, and fitting a baseline to a model that stays fixed."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.tensors import draw_minibatch
from benchmarks.planning.random_streams import draw_noise, make_generator
from benchmarks.planning.schedules import parse_optimizer
from benchmarks.training.step import initial_optimizer
from vaezoo import FittedVariant, Model, Variant, estimate_parts, initial_average, initialise

FITTING_STEPS = 100


def draw_initial_average(
    variant: Variant, model: Model, images: Tensor, protocol: Protocol, source: torch.Generator
) -> Tensor:
    """Return the baseline's moving average before the first step, from one draw on the first minibatch."""
    x = draw_minibatch(images, protocol, source)
    return initial_average(variant, model, x, draw_noise(protocol, variant.draws, source))


def fit_baseline(variant: Variant, model: Model, images: Tensor, protocol: Protocol, seed: int) -> FittedVariant:
    """Fit the variant's baseline to the model, whose parameters stay fixed: a baseline from its initial state, and a
    control variate from its trained state.

    The fit takes 100 steps on the minibatches in turn, without the first, because variances are measured on the first.
    A baseline that learns nothing is not fitted.
    """
    source = make_generator(seed, "fit-baseline")
    average = draw_initial_average(variant, model, images, protocol, source)
    if not (variant.estimator.averaging_rate or list(model.baseline.parameters())):
        return FittedVariant(variant, model.baseline, average)
    frozen = copy.deepcopy(model).requires_grad_(False)
    if not variant.estimator.control:
        initialise(frozen.baseline, lambda name: make_generator(seed, f"init/baseline.{name}"))
    learned = list(frozen.baseline.requires_grad_().parameters())
    optimizer = initial_optimizer(learned, protocol.learning_rate, parse_optimizer(protocol.optimizer))
    count = len(images) // protocol.batch_size
    for step in range(FITTING_STEPS):
        x = draw_minibatch(images, protocol, source, (1 + step % max(1, count - 1)) % count)
        stochastic, _ = estimate_parts(variant, frozen, x, draw_noise(protocol, variant.draws, source), average)
        if learned:
            optimizer.descend(torch.autograd.grad(-stochastic.mean(), learned))
        average = variant.estimator.update_average(average, stochastic)
    return FittedVariant(variant, frozen.baseline, average)
