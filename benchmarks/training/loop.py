"""The training loop, which is the same for every variant."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from benchmarks.common.kernels import read_clock
from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.tensors import Binarizer, draw_pixels
from benchmarks.planning.random_streams import draw_noise, make_generator
from benchmarks.planning.schedules import CONSTANT, compute_factor
from benchmarks.training import compilation
from benchmarks.training.state import Setup, TrainingState
from benchmarks.training.step import Optimizer, check_hidden_state, take_step
from vaezoo import VARIANTS

WARM_UP_STEPS = 5

Advance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EpochProgress:
    """The progress of training at the end of an epoch; epoch 0 is before the first step.

    due: whether the model is measured at this epoch. seconds: time in training steps so far. throughput: examples per
    second, median over epochs; None at epoch 0. processor_throughput: examples per second of processor time. finite:
    False if the loss or a parameter is not finite; training ends then.
    """

    epoch: int
    step: int
    due: bool
    seconds: float
    throughput: float | None
    processor_throughput: float | None
    finite: bool


def set_progress(protocol: Protocol, epochs_done: float, optimizer: Optimizer, progress: Tensor) -> None:
    """Set the learning rate and the progress of training, in place, for the step after `epochs_done` epochs.

    progress: the share of training that is done and, if there is a second number, the weight of the KL.
    """
    progress[0] = epochs_done / protocol.epochs
    if len(progress) > 1:
        progress[1] = compute_factor(protocol.kl_schedule, epochs_done, protocol.epochs)
    if protocol.schedule != CONSTANT:
        factor = compute_factor(protocol.schedule, epochs_done, protocol.epochs)
        optimizer.learning_rate.fill_(protocol.learning_rate * factor)


def make_step(state: TrainingState, setup: Setup) -> Advance:
    """Return the function that the loop repeats: row numbers of a minibatch -> loss.

    The function draws pixels and noise, takes one training step and changes the state in place.
    """
    variant, model, protocol, images = setup.variant, state.model, setup.protocol, setup.data.train
    optimizer, average, generators = state.optimizer, state.average, state.generators
    descend: compilation.Step = functools.partial(take_step, variant, model, optimizer, average, protocol.precision)
    progress = torch.ones(compilation.count_scheduled(protocol), device=images.device)
    noise = draw_noise(protocol, variant.draws, make_generator(0, "check-step"))
    x = images[: protocol.batch_size]
    if variant not in VARIANTS:  # tests hold that the others have no hidden state
        check_hidden_state(variant, model, average, x[:2], noise[:, :2])
    if setup.compiled_step:
        inputs = (average, protocol.precision, x, noise, progress, optimizer.settings)
        compilation.check_step(setup.compiled_step, variant, model, *inputs)
        descend = compilation.load_step(setup.compiled_step, optimizer, average)
    batches = len(images) // protocol.batch_size
    steps = itertools.count(state.epoch * batches)
    binarizer = Binarizer(images, protocol.batch_size) if protocol.binarization == "dynamic" else None

    def advance(rows: Tensor) -> Tensor:
        set_progress(protocol, next(steps) / batches, optimizer, progress)
        pixels = generators["binarize"]
        x = binarizer.draw(rows, pixels) if binarizer else draw_pixels(images.index_select(0, rows), protocol, pixels)
        return descend(x, draw_noise(protocol, variant.draws, generators["noise"]), progress)

    return advance


def train(state: TrainingState, setup: Setup) -> Iterator[EpochProgress]:
    """Train with Adam from the given state, in place; yield before the first epoch and after each epoch.

    Each epoch goes through the images in full minibatches, in a new order unless the protocol has a fixed one. The
    remaining images are not used.
    """
    protocol, images = setup.protocol, setup.data.train
    advance = make_step(state, setup)
    batches, first_epoch = len(images) // protocol.batch_size, state.epoch + 1
    if state.epoch == 0:
        yield EpochProgress(0, 0, 0 in protocol.checkpoints, state.seconds, None, None, finite=True)
    for epoch in range(first_epoch, protocol.epochs + 1):
        total = torch.zeros((), device=images.device)
        rows = torch.arange(len(images))
        if protocol.order == "shuffled":
            rows = torch.randperm(len(images), generator=state.generators["batches"])
        rows = rows[: batches * protocol.batch_size].to(images.device)
        warm_up = min(WARM_UP_STEPS, batches - 1) if epoch == first_epoch else 0
        epoch_start = timed_start = read_clock(protocol.device)
        processor_start = time.process_time()
        for index, batch in enumerate(rows.split(protocol.batch_size)):
            if index == warm_up:
                timed_start, processor_start = read_clock(protocol.device), time.process_time()
            total += advance(batch)
        end, processor_end = read_clock(protocol.device), time.process_time()
        state.epoch = epoch
        state.seconds += end - epoch_start
        examples = (batches - warm_up) * protocol.batch_size
        state.rates.append((examples / (end - timed_start), examples / (processor_end - processor_start)))
        parameters = (p.detach().sum() for p in state.model.parameters())
        finite = bool(torch.stack([total, *parameters]).isfinite().all())
        due = epoch in protocol.checkpoints or not finite
        by_clock, by_processor = map(median, zip(*state.rates, strict=True))
        yield EpochProgress(epoch, epoch * batches, due, state.seconds, by_clock, by_processor, finite)
        if not finite:
            return
