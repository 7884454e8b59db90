"""The training loop, in plain sight: every variant runs through it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from benchmarks import adam, machine_code
from benchmarks.adam import Adam
from benchmarks.baselines import start
from benchmarks.cases import Protocol
from benchmarks.data import Thresholds
from benchmarks.kernels import now
from benchmarks.seeds import generator
from benchmarks.step import step
from vaezoo import Model, Variant

WARM_UP_STEPS = 5
PURPOSES = ("batches", "binarize", "noise")


@dataclass
class State:
    """All that training changes, and where it stands: from a copy of it the same bits follow.

    average: the baseline's. generators: of the order of examples, of pixels and of latents. seconds: spent in steps.
    rates: examples per second of each epoch, by the clock on the wall and by processor time.
    """

    model: Model
    optimizer: Adam
    average: Tensor
    generators: dict[str, torch.Generator]
    epoch: int = 0
    seconds: float = 0.0
    rates: list[tuple[float, float]] = field(default_factory=list)


def begun(model: Model, variant: Variant, images: Tensor, protocol: Protocol, seed: int) -> State:
    """Before the first step."""
    average = start(variant, model, images, protocol, generator(seed, "start-baseline"))
    optimizer = adam.started(model.parameters(), protocol.learning_rate)
    return State(model, optimizer, average, {purpose: generator(seed, purpose) for purpose in PURPOSES})


@dataclass(frozen=True)
class Progress:
    """Where training stands after an epoch.

    due: whether the protocol measures the model here. seconds: spent in optimizer steps so far. throughput: examples
    per second, median over epochs; None at epoch 0. processor_throughput: the same by processor time. finite: False
    once the loss or a parameter is not; then training has ended.
    """

    epoch: int
    step: int
    due: bool
    seconds: float
    throughput: float | None
    processor_throughput: float | None
    finite: bool


Advance = Callable[[Tensor], Tensor]


def stepping(state: State, variant: Variant, images: Tensor, protocol: Protocol, compiled: str = "") -> Advance:
    """What the loop repeats: one step, with fresh pixels and noise, on the images of these rows; returns the loss.

    compiled: where the step lies as machine code, if it does.
    """
    model, optimizer, average = state.model, state.optimizer, state.average
    pixels, latents = state.generators["binarize"], state.generators["noise"]
    shape = (variant.draws, protocol.batch_size, protocol.latent_dim)
    descend: machine_code.Step = functools.partial(step, variant, model, optimizer, average, protocol.precision)
    if compiled:
        first = images[: protocol.batch_size], torch.randn(shape, generator=generator(0, "check-step"))
        machine_code.check(compiled, variant, model, average, protocol.precision, *first)
        descend = machine_code.load(compiled, optimizer, average)
    thresholds = Thresholds(images, protocol.batch_size) if protocol.binarization == "dynamic" else None

    def advance(rows: Tensor) -> Tensor:
        x = thresholds.draw(rows, pixels) if thresholds else images.index_select(0, rows)
        return descend(x, torch.randn(shape, generator=latents).to(images.device))

    return advance


def train(state: State, variant: Variant, images: Tensor, protocol: Protocol, compiled: str = "") -> Iterator[Progress]:
    """Trains with Adam from where the state stands, in place; yields after each epoch, and before the first.

    Each epoch goes through the images in a new order, in whole batches; what is left over waits for the next order.
    """
    advance = stepping(state, variant, images, protocol, compiled)
    batches, first = len(images) // protocol.batch_size, state.epoch + 1
    if state.epoch == 0:
        yield Progress(0, 0, 0 in protocol.checkpoints, state.seconds, None, None, finite=True)
    for epoch in range(first, protocol.epochs + 1):
        total = torch.zeros((), device=images.device)
        rows = torch.randperm(len(images), generator=state.generators["batches"])
        rows = rows[: batches * protocol.batch_size].to(images.device)
        warm = min(WARM_UP_STEPS, batches - 1) if epoch == first else 0
        began = timed = now(protocol.device)
        worked = time.process_time()
        for index, batch in enumerate(rows.split(protocol.batch_size)):
            if index == warm:
                timed, worked = now(protocol.device), time.process_time()
            total += advance(batch)
        end, ended = now(protocol.device), time.process_time()
        state.epoch = epoch
        state.seconds += end - began
        examples = (batches - warm) * protocol.batch_size
        state.rates.append((examples / (end - timed), examples / (ended - worked)))
        parameters = (p.detach().sum() for p in state.model.parameters())
        finite = bool(torch.stack([total, *parameters]).isfinite().all())
        due = epoch in protocol.checkpoints or not finite
        by_clock, by_processor = map(median, zip(*state.rates, strict=True))
        yield Progress(epoch, epoch * batches, due, state.seconds, by_clock, by_processor, finite)
        if not finite:
            return
