"""The training loop, in plain sight: every variant runs through it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from benchmarks import adam, machine_code
from benchmarks.baselines import start
from benchmarks.cases import Protocol
from benchmarks.data import Thresholds
from benchmarks.kernels import now
from benchmarks.seeds import generator
from benchmarks.step import step
from vaezoo import Model, Variant

WARM_UP_STEPS = 5


@dataclass(frozen=True)
class Progress:
    """Where training stands when the model is to be measured.

    seconds: spent in optimizer steps so far. throughput: examples per second, median over epochs; None at epoch 0.
    finite: False once the loss or a parameter is not; then training has ended.
    """

    epoch: int
    step: int
    seconds: float
    throughput: float | None
    finite: bool


Advance = Callable[[Tensor], Tensor]


def prepared(
    model: Model, variant: Variant, images: Tensor, protocol: Protocol, seed: int, compiled: str = ""
) -> Advance:
    """What the loop repeats: one step, with fresh pixels and noise, on the images of these rows; returns the loss.

    compiled: where the step lies as machine code, if it does.
    """
    pixels, latents = (generator(seed, purpose) for purpose in ("binarize", "noise"))
    shape = (variant.draws, protocol.batch_size, protocol.latent_dim)
    average = start(variant, model, images, protocol, generator(seed, "start-baseline"))
    optimizer = adam.started(model.parameters(), protocol.learning_rate)
    descend: machine_code.Step = functools.partial(step, variant, model, optimizer, average, protocol.precision)
    if compiled:
        first = images[: protocol.batch_size], torch.randn(shape, generator=generator(seed, "check-step"))
        machine_code.check(compiled, variant, model, average, protocol.precision, *first)
        descend = machine_code.load(compiled, optimizer, average)
    thresholds = Thresholds(images, protocol.batch_size) if protocol.binarization == "dynamic" else None

    def advance(rows: Tensor) -> Tensor:
        x = thresholds.draw(rows, pixels) if thresholds else images.index_select(0, rows)
        return descend(x, torch.randn(shape, generator=latents).to(images.device))

    return advance


def train(
    model: Model, variant: Variant, images: Tensor, protocol: Protocol, seed: int, compiled: str = ""
) -> Iterator[Progress]:
    """Trains the model in place with Adam; yields at each of the protocol's checkpoints, and at divergence.

    Each epoch goes through the images in a new order, in whole batches; what is left over waits for the next order.
    """
    advance = prepared(model, variant, images, protocol, seed, compiled)
    order, batches = generator(seed, "batches"), len(images) // protocol.batch_size
    seconds, rates = 0.0, list[float]()
    if 0 in protocol.checkpoints:
        yield Progress(0, 0, seconds, None, finite=True)
    for epoch in range(1, protocol.epochs + 1):
        total = torch.zeros((), device=images.device)
        rows = torch.randperm(len(images), generator=order)[: batches * protocol.batch_size].to(images.device)
        warm = min(WARM_UP_STEPS, batches - 1) if epoch == 1 else 0
        began = timed = now(protocol.device)
        for index, batch in enumerate(rows.split(protocol.batch_size)):
            if index == warm:
                timed = now(protocol.device)
            total += advance(batch)
        end = now(protocol.device)
        rates.append((batches - warm) * protocol.batch_size / (end - timed))
        seconds += end - began
        finite = bool(torch.stack([total, *(p.detach().sum() for p in model.parameters())]).isfinite().all())
        if epoch in protocol.checkpoints or not finite:
            yield Progress(epoch, epoch * batches, seconds, median(rates), finite)
        if not finite:
            return
