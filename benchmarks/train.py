"""The training loop, in plain sight: every variant runs through it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from benchmarks.adam import Adam
from benchmarks.baselines import start
from benchmarks.cases import Protocol
from benchmarks.data import binarize
from benchmarks.seeds import generator
from vaezoo import Model, Variant, parts

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


def train(model: Model, variant: Variant, images: Tensor, protocol: Protocol, seed: int) -> Iterator[Progress]:
    """Trains the model in place with Adam; yields at each of the protocol's checkpoints, and at divergence.

    Each epoch goes through the images in a new order, in whole batches; what is left over waits for the next order.
    """
    learned = list(model.parameters())
    adam = Adam(learned, protocol.learning_rate)
    order, pixels, latents = (generator(seed, purpose) for purpose in ("batches", "binarize", "noise"))
    batches = len(images) // protocol.batch_size
    shape = (variant.draws, protocol.batch_size, protocol.latent_dim)
    average = start(variant, model, images, protocol, generator(seed, "start-baseline"))
    seconds, rates = 0.0, list[float]()
    if 0 in protocol.checkpoints:
        yield Progress(0, 0, seconds, None, finite=True)
    for epoch in range(1, protocol.epochs + 1):
        total = torch.zeros((), device=images.device)
        rows = torch.randperm(len(images), generator=order)[: batches * protocol.batch_size].to(images.device)
        began = timed = _now(protocol.device)
        for step, batch in enumerate(rows.split(protocol.batch_size)):
            if epoch == 1 and step == min(WARM_UP_STEPS, batches - 1):
                timed = _now(protocol.device)
            x = images.index_select(0, batch)
            if protocol.binarization == "dynamic":
                x = binarize(x, pixels)
            noise = torch.randn(shape, generator=latents).to(images.device)
            stochastic, exact = parts(variant, model, x, noise, average)
            loss = -(stochastic + exact).mean()
            adam.descend(torch.autograd.grad(loss, learned, materialize_grads=True))
            average = variant.estimator.baseline.updated(average, stochastic)
            total += loss.detach()
        end = _now(protocol.device)
        timed_batches = batches - min(WARM_UP_STEPS, batches - 1) if epoch == 1 else batches
        rates.append(timed_batches * protocol.batch_size / (end - timed))
        seconds += end - began
        finite = bool(torch.stack([total, *(p.detach().sum() for p in model.parameters())]).isfinite().all())
        if epoch in protocol.checkpoints or not finite:
            yield Progress(epoch, epoch * batches, seconds, median(rates), finite)
        if not finite:
            return


def _now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
