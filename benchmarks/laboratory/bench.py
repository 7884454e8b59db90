"""One measurement: all variants at the same parameters, minibatch and noise, as rows of gradients.csv."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks import data
from benchmarks.baselines import fitted
from benchmarks.cases import Protocol
from benchmarks.laboratory.columns import FLAG, Row, interval
from benchmarks.seeds import generator
from benchmarks.statistics import log_ratio
from vaezoo import Model, Variant, pathwise
from vaezoo.measurement import Figure, Measured, Products, measure, told_apart
from vaezoo.minibatches import between_examples
from vaezoo.objectives import Objective
from vaezoo.plainly import PROBED, PROBES, gradient, measure_plainly, taken_apart
from vaezoo.replay import Subject
from vaezoo.testing import decoder_passes

TIMED = 3
HEAVY = 30  # a kurtosis beyond which rare repeats decide


@dataclass(frozen=True)
class Bench:
    """A model at fixed parameters and what it is measured with.

    known, fits, easy: what has been measured on it, fitted, and found fit for the fast route, since several studies
    ask for the same.
    """

    model: Model
    images: Tensor
    protocol: Protocol
    seed: int
    checkpoint: str
    known: dict[Hashable, list[Taken]] = field(default_factory=dict)
    fits: dict[Hashable, Subject] = field(default_factory=dict)
    easy: dict[Hashable, bool] = field(default_factory=dict)

    def minibatch(self) -> Tensor:
        """The first images, binarized once: the same for every seed and checkpoint."""
        x = self.images[: self.protocol.batch_size]
        return data.binarize(x, generator(0, "binarize/gradient")) if self.protocol.binarization == "dynamic" else x

    def noise(self, draws: int, repeats: int) -> Any:
        """examples -> their noise [R, K, b, D]; a draw of an example has its own generator, so fewer draws are a part
        of more.
        """
        latents, cache = self.protocol.latent_dim, dict[tuple[int, int], Tensor]()

        def one(draw: int, example: int) -> Tensor:
            if (draw, example) not in cache:
                source = generator(self.seed, f"gradient/{self.checkpoint}/{draw}/{example}")
                cache[draw, example] = torch.randn(repeats, latents, generator=source)
            return cache[draw, example]

        def of(rows: slice) -> Tensor:
            cache.clear()
            examples = range(self.protocol.batch_size)[rows]
            found = torch.stack([torch.stack([one(k, b) for b in examples], 1) for k in range(draws)], 1)
            return found.to(self.protocol.device)

        return of

    def subject(self, variant: Variant) -> Subject:
        """The variant, its baseline fitted here, with as few draws as predict the same."""
        fewest = max(least_draws(variant), variant.estimator.baseline.min_draws)
        key = (variant.objective, variant.estimator, fewest)
        if key not in self.fits:
            few = dataclasses.replace(variant, draws=fewest)
            network = variant.estimator.baseline.network(self.images[0].numel()).to(self.images.device)
            own = Subject(few, network).on(self.model)
            frozen, average = fitted(few, own, self.images, self.protocol, self.seed)
            self.fits[key] = Subject(few, frozen.baseline, average)
        return dataclasses.replace(self.fits[key], variant=variant)

    def is_easy(self, subject: Subject) -> bool:
        """Whether the fast route measures it rightly, by a probe of a few examples and estimates."""
        variant = subject.variant
        key = (variant.objective, variant.estimator, variant.draws)
        if key not in self.easy:
            x, noise = self.minibatch()[:PROBED], self.noise(variant.draws, PROBES)(slice(0, PROBED))
            self.easy[key] = taken_apart(self.model, subject, x, noise)
        return self.easy[key]


@dataclass(frozen=True)
class Taken:
    """One variant's measurement by so many repeats, and what one gradient costs."""

    variant: Variant
    repeats: int
    found: Measured
    seconds: float
    passes: int


def with_references(variants: Iterable[Variant]) -> list[Variant]:
    """The variants, and the pathwise estimate of each objective and number of draws that has none among them.

    One more draws once for each objective whose gradient does not depend on the number of draws.
    """
    found = list(variants)
    for variant in list(found):
        for draws in {variant.draws, least_draws(variant)}:
            if not any(_is_reference(v, variant, draws) for v in found):
                name = f"pathwise {variant.objective.name}"
                found.append(dataclasses.replace(variant, name=name, estimator=pathwise, draws=draws, unbiased=True))
    return found


def _is_reference(candidate: Variant, variant: Variant, draws: int) -> bool:
    same = candidate.objective == variant.objective and candidate.estimator == pathwise
    return same and candidate.draws == draws


def least_draws(variant: Variant) -> int:
    """1 where F is a mean over draws, whose gradient does not depend on their number; the variant's own elsewhere."""
    log_w = torch.tensor([0.0, 1.0], dtype=torch.float64)
    is_mean = torch.equal(variant.objective.reduction.path_scale(log_w), torch.ones_like(log_w))
    return 1 if is_mean else variant.draws


def take(
    bench: Bench, variants: Sequence[Variant], repeats: Callable[[int], int], decoder: Products | None = told_apart
) -> list[Taken]:
    """Every variant's gradient, those of as many repeats together, and the time of one.

    repeats: number of draws -> how many estimates. decoder: as for `measure`.
    """
    everyone = with_references(variants)
    key = (tuple((v.name, v.draws, repeats(v.draws)) for v in everyone), decoder)
    if key not in bench.known:
        bench.known[key] = _taken(bench, everyone, repeats, decoder)
    return bench.known[key]


def _taken(
    bench: Bench, everyone: Sequence[Variant], repeats: Callable[[int], int], decoder: Products | None
) -> list[Taken]:
    x = bench.minibatch()
    subjects = {i: bench.subject(variant) for i, variant in enumerate(everyone)}
    found: dict[int, Measured] = {}
    for count in {repeats(v.draws) for v in everyone}:
        group = {str(i): subjects[i] for i, v in enumerate(everyone) if repeats(v.draws) == count}
        noise = bench.noise(max(s.variant.draws for s in group.values()), count)
        easy = {i: s for i, s in group.items() if bench.is_easy(s)}
        found |= {int(i): m for i, m in measure(bench.model, easy, x, noise, decoder).items()} if easy else {}
        for i in group.keys() - easy.keys():
            variant = group[i].variant
            reference = Subject(dataclasses.replace(variant, estimator=pathwise, unbiased=True))
            own = bench.noise(variant.draws, count)
            found[int(i)] = measure_plainly(bench.model, group[i], reference, x, own)
    seconds = _seconds(bench, list(subjects.values()), x)
    return [Taken(v, repeats(v.draws), found[i], seconds[i], decoder_passes(v)) for i, v in enumerate(everyone)]


def _seconds(bench: Bench, subjects: Sequence[Subject], x: Tensor) -> list[float]:
    """Of one gradient of all parameters: the median of a few, the variants in turn."""
    times: list[list[float]] = [[] for _ in subjects]
    for _ in range(TIMED):
        for own, subject in zip(times, subjects, strict=True):
            noise = bench.noise(subject.variant.draws, 1)(slice(0, len(x)))[0]
            start = time.perf_counter()
            gradient(bench.model, subject, x, noise)
            if bench.protocol.device == "cuda":
                torch.cuda.synchronize()
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


Between = dict[tuple[Objective, int], dict[str, Figure]]


def rows(bench: Bench, taken: Sequence[Taken], between: Between | None = None) -> list[Row]:
    """Every quantity of each variant; `between`: the minibatch's part by objective and number of draws."""
    return [row for own in taken for row in _rows(bench, own, taken, between or {})]


def _rows(bench: Bench, own: Taken, taken: Sequence[Taken], between: Between) -> Iterator[Row]:
    minibatch = between.get((own.variant.objective, own.variant.draws), {})
    common = identity(own.variant) | {"repeats": own.repeats, "passes": own.passes, "seconds": own.seconds}
    for (parameters, layer), moments in own.found.moments.items():
        at = common | {"parameters": parameters, "layer": layer, "part": "latent"}
        tails = {"kurtosis": moments.kurtosis, "flag": FLAG if moments.kurtosis > HEAVY else ""}
        yield at | interval("variance", moments.variance, moments.variance_se) | tails
        if layer:
            continue
        if moments.snr is not None:
            yield at | {"quantity": "snr", "value": moments.snr}
            yield at | {"quantity": "snr_floor", "value": snr_floor(own.repeats)}
        if parameters in minibatch and own.variant.unbiased:
            size = bench.protocol.batch_size
            value, se = minibatch[parameters].value / size, minibatch[parameters].se / size
            yield at | {"part": "minibatch"} | interval("variance", value, se)
            whole = math.hypot(se, moments.variance_se)
            yield at | {"part": "total"} | interval("variance", value + moments.variance, whole)
    encoder = own.found.moments["encoder", ""]
    at = common | {"parameters": "encoder", "layer": "", "part": "latent"}
    if own.found.cosine is not None:
        yield at | interval("cosine", own.found.cosine.value, own.found.cosine.se)
    if own.found.bias is not None:
        yield at | {"quantity": "bias_z", "value": own.found.bias}
    for quantity, factor in (("variance_x_seconds", own.seconds), ("variance_x_passes", own.passes)):
        yield at | interval(quantity, encoder.variance * factor, encoder.variance_se * factor)
    wanted = least_draws(own.variant)
    reference = next((t for t in taken if _is_reference(t.variant, own.variant, wanted)), None)
    if reference is None or not encoder.variance > 0:
        return
    yield from _exchange(at, own, reference)


def _exchange(at: Row, own: Taken, reference: Taken) -> Iterator[Row]:
    """K V_K / (K' V_K') of the variant and the reparameterized reference, and the same with seconds for draws."""
    ours, theirs = (t.found.moments["encoder", ""] for t in (own, reference))
    logarithm, se = log_ratio(ours.sums.numpy(), theirs.sums.numpy())
    heavy = max(ours.kurtosis, theirs.kurtosis)
    costs = {
        "exchange_rate": own.variant.draws / reference.variant.draws,
        "exchange_rate_seconds": own.seconds / reference.seconds,
    }
    for quantity, cost in costs.items():
        value = math.exp(logarithm) * cost
        low, high = (math.exp(logarithm + side * 1.96 * se) * cost for side in (-1, 1))
        found: Row = {"quantity": quantity, "value": value, "se": value * se, "low": low, "high": high}
        yield at | found | {"kurtosis": heavy, "flag": FLAG if heavy > HEAVY else ""}


def snr_floor(repeats: int) -> float:
    """Two standard deviations of the debiased ratio where the mean is 0, in the worst case, noise in one direction."""
    return 2 * math.sqrt(2) / repeats


def identity(variant: Variant) -> Row:
    """The columns that say which estimator it is."""
    return {
        "variant": variant.name,
        "objective": variant.objective.name,
        "estimator": variant.estimator.name,
        "baseline": variant.estimator.baseline.name,
        "draws": variant.draws,
    }


def minibatch_parts(bench: Bench, variants: Iterable[Variant], examples: int) -> Between:
    """Of each objective and number of draws, once."""
    own = {(v.objective, v.draws): v for v in variants}
    return {key: _minibatch_part(bench, variant, examples) for key, variant in own.items()}


def _minibatch_part(bench: Bench, variant: Variant, examples: int) -> dict[str, Figure]:
    """What the choice of examples and their binarization adds, per example, measured by the pathwise estimate."""
    source = generator(bench.seed, f"minibatch/{bench.checkpoint}")
    x = fresh_images(bench, examples, source)
    noise = torch.randn(2, variant.draws, examples, bench.protocol.latent_dim, generator=source).to(x.device)
    subject = Subject(dataclasses.replace(variant, estimator=pathwise, unbiased=True))
    return between_examples(bench.model, subject, x, noise)


def fresh_images(bench: Bench, count: int, source: torch.Generator) -> Tensor:
    """Examples drawn independently, with replacement, each binarized anew."""
    rows = torch.randint(len(bench.images), (count,), generator=source).to(bench.images.device)
    x = bench.images[rows]
    return data.binarize(x, source) if bench.protocol.binarization == "dynamic" else x
