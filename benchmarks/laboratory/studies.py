"""The studies: what is varied, where, and what is measured. One entry each."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.laboratory.bench import (
    Bench,
    fresh_images,
    identity,
    minibatch_parts,
    rows,
    take,
    with_references,
)
from benchmarks.laboratory.columns import Row, interval
from benchmarks.laboratory.integrands import integrand_rows
from benchmarks.seeds import generator
from benchmarks.settings import Laboratory
from vaezoo import Variant
from vaezoo.minibatches import fresh_variance
from vaezoo.posteriors import Posterior

FEWEST_REPEATS = 100
FEWEST_PAIRS, PAIRED_SIZE = 20, 50
Variants = Sequence[Variant]


@dataclass(frozen=True)
class Study:
    """A question to the reference model.

    setting: what is varied. checkpoints: where; None for everywhere. rows: the measurement, at one checkpoint.
    """

    setting: str
    checkpoints: tuple[str, ...] | None
    rows: Callable[[Bench, Variants, Laboratory], Iterator[Row]]


def training(bench: Bench, variants: Variants, laboratory: Laboratory) -> Iterator[Row]:
    """Every estimator at every checkpoint, with both parts of the variance."""
    everyone = with_references(variants)
    between = minibatch_parts(bench, everyone, laboratory.examples)
    yield from rows(bench, take(bench, variants, lambda draws: laboratory.repeats), between)


def _equal_passes(laboratory: Laboratory) -> Callable[[int], int]:
    """Fewer repeats of more draws, so that each number of draws costs the same passes of the decoder."""
    return lambda draws: max(FEWEST_REPEATS, math.ceil(laboratory.repeats / draws))


def latent_dim(bench: Bench, variants: Variants, laboratory: Laboratory) -> Iterator[Row]:
    """The same on reference models with other numbers of latents."""
    for row in rows(bench, take(bench, variants, _equal_passes(laboratory), decoder=None)):
        yield row | {"setting_value": bench.protocol.latent_dim}


def draws(bench: Bench, variants: Variants, laboratory: Laboratory) -> Iterator[Row]:
    """Each objective and estimator with 1 to 64 draws."""
    distinct = list(reversed({(v.objective, v.estimator): v for v in reversed(variants)}.values()))
    own = [
        dataclasses.replace(v, draws=count)
        for count in laboratory.draws
        for v in distinct
        if v.estimator.baseline.min_draws <= count
    ]
    for row in rows(bench, take(bench, own, _equal_passes(laboratory), decoder=None)):
        yield row | {"setting_value": row["draws"]}


def posterior_scale(bench: Bench, variants: Variants, laboratory: Laboratory) -> Iterator[Row]:
    """The posterior's scale times a factor, towards a point."""
    for factor in laboratory.posterior_scales:
        narrow = bench if factor == 1 else _narrowed(bench, factor)
        for row in rows(narrow, take(narrow, variants, _equal_passes(laboratory), decoder=None)):
            yield row | {"setting_value": factor}


def _narrowed(bench: Bench, factor: float) -> Bench:
    def narrow(encoder: nn.Module, x: object, q: Posterior) -> Posterior:
        if not hasattr(q, "log_scale"):
            raise ValueError(
                f"{type(q).__name__} has no log_scale to make narrower; leave out the study posterior-scale"
            )
        return dataclasses.replace(q, log_scale=q.log_scale + math.log(factor))  # type: ignore[type-var]

    model = copy.deepcopy(bench.model)
    model.encoder.register_forward_hook(narrow)
    return dataclasses.replace(bench, model=model, known={}, fits={})


def batch_size(bench: Bench, variants: Variants, laboratory: Laboratory) -> Iterator[Row]:
    """The variance of fresh minibatch gradients, noise and minibatch together, and what its two parts add up to."""
    everyone = with_references(variants)
    taken = take(bench, variants, _equal_passes(laboratory), decoder=None)
    between = minibatch_parts(bench, everyone, laboratory.examples)
    size = bench.protocol.batch_size
    for count in laboratory.batch_sizes:
        own = dataclasses.replace(bench, protocol=dataclasses.replace(bench.protocol, batch_size=count), known={})
        at: Row = {"setting_value": count, "batch_size": count, "parameters": "encoder", "layer": ""}
        for t in taken:
            latent, both = t.found.moments["encoder", ""], between[t.variant.objective, t.variant.draws]["encoder"]
            common = at | identity(t.variant) | {"passes": t.passes}
            scale = size / count
            yield (
                common | {"part": "latent"} | interval("variance", latent.variance * scale, latent.variance_se * scale)
            )
            if t.variant.unbiased:
                yield common | {"part": "minibatch"} | interval("variance", both.value / count, both.se / count)
        yield from _fresh(own, [t.variant for t in taken], at, _pairs(count, laboratory))


def _pairs(size: int, laboratory: Laboratory) -> int:
    """Fewer of large minibatches, whose gradients vary less from pair to pair."""
    return max(FEWEST_PAIRS, min(laboratory.pairs, laboratory.pairs * PAIRED_SIZE // size))


def _fresh(bench: Bench, variants: Variants, at: Row, pairs: int) -> Iterator[Row]:
    for draws in sorted({v.draws for v in variants}):
        source = generator(bench.seed, f"fresh/{bench.checkpoint}/{bench.protocol.batch_size}/{draws}")
        shape = (draws, bench.protocol.batch_size, bench.protocol.latent_dim)

        def fresh(
            source: torch.Generator = source, shape: tuple[int, ...] = shape
        ) -> tuple[torch.Tensor, torch.Tensor]:
            x = fresh_images(bench, bench.protocol.batch_size, source)
            return x, torch.randn(shape, generator=source).to(x.device)

        own = {v.name: v for v in variants if v.draws == draws}
        found = fresh_variance(bench.model, {name: bench.subject(v) for name, v in own.items()}, fresh, pairs)
        for name, figure in found.items():
            common = at | identity(own[name]) | {"part": "total", "repeats": 2 * pairs}
            yield common | interval("variance", figure.value, figure.se)


def counter_example(bench: Bench, variants: Variants, laboratory: Laboratory) -> Iterator[Row]:
    """f(z) = cos(kz) in the place of the model's log weight: the score function wins where f oscillates."""
    for frequency in laboratory.frequencies:
        for row in integrand_rows(variants, frequency, laboratory.integrand_draws, bench.seed):
            yield row | {"setting_value": frequency}


STUDIES: dict[str, Study] = {
    "training": Study("checkpoint", None, training),
    "latent-dim": Study("latent_dim", ("middle",), latent_dim),
    "draws": Study("draws", ("middle",), draws),
    "batch-size": Study("batch_size", ("middle",), batch_size),
    "posterior-scale": Study("posterior_scale", ("middle",), posterior_scale),
    "counter-example": Study("frequency", ("initial",), counter_example),
}
