"""Gradient moments and cost of one gradient, for all variants at equal parameters, minibatch and noise."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.tensors import draw_minibatch
from benchmarks.planning.planner import name_function
from benchmarks.planning.random_streams import make_generator
from benchmarks.training.baseline_fitting import fit_baseline
from vaezoo import LEAVE_ONE_OUT, VARIANTS, Estimator, FittedVariant, Model, Variant, pathwise, score_function
from vaezoo.distributions.families import Family
from vaezoo.gradients import (
    Measurement,
    Route,
    ValueWithError,
    leading_spread,
    measure,
    measure_between_examples,
    minibatch_gradient,
)
from vaezoo.gradients.joint_measurement import SpreadOfLayer
from vaezoo.objectives import Objective
from vaezoo.testing import count_decoder_passes

TIMED_GRADIENTS = 3
MinibatchParts = dict[tuple[Objective, int], dict[str, ValueWithError]]


@dataclass(frozen=True)
class VariantMeasurement:
    """Moments of one variant's gradient from `repeats` estimates, and the cost of one gradient.

    durations: seconds in rounds that time all variants in turn. passes: of the decoder.
    """

    variant: Variant
    repeats: int
    measurement: Measurement
    durations: tuple[float, ...]
    passes: int

    @property
    def seconds(self) -> float:
        """The median duration."""
        return statistics.median(self.durations)


@dataclass
class MeasurementContext:
    """A model at fixed parameters, its images, protocol and seed, and a cache that the studies share.

    measured, fits, routes: measurements, fitted baselines and measurement routes, each by the inputs that determine it.
    """

    model: Model
    images: Tensor
    protocol: Protocol
    seed: int
    checkpoint: str
    measured: dict[Hashable, list[VariantMeasurement]] = field(default_factory=dict)
    fits: dict[Hashable, FittedVariant] = field(default_factory=dict)
    routes: dict[Hashable, Route] = field(default_factory=dict)

    @property
    def reference(self) -> Estimator:
        """The estimator with which others are compared."""
        return choose_reference(self.model.encoder.family)

    def minibatch(self) -> Tensor:
        """Return the first minibatch, binarized equally for every seed and checkpoint."""
        return draw_minibatch(self.images, self.protocol, make_generator(0, "binarize/gradient"))

    def noise(self, draws: int, repeats: int) -> Callable[[slice], Tensor]:
        """Return a function: slice of the minibatch's examples -> noise [R, K, b, D].

        Each draw of each example has a separate generator. So the noise of K draws starts with that of fewer draws.
        """

        def draw_noise(draw: int, example: int) -> Tensor:
            source = make_generator(self.seed, f"gradient/{self.checkpoint}/{draw}/{example}")
            return torch.randn(repeats, self.protocol.latent_dim, generator=source)

        def draw_examples(rows: slice) -> Tensor:
            examples = range(self.protocol.batch_size)[rows]
            noise = torch.stack([torch.stack([draw_noise(k, b) for b in examples], 1) for k in range(draws)], 1)
            return noise.to(self.protocol.device)

        return draw_examples

    def fit(self, variant: Variant) -> FittedVariant:
        """Return the variant with its baseline fitted to these parameters, with the fewest draws that suffice."""
        draws = max(fewest_draws(variant), variant.estimator.min_draws)
        key = (variant.objective, variant.estimator, draws)
        if key not in self.fits:
            reduced = dataclasses.replace(variant, draws=draws)
            network = variant.estimator.make_network(self.images[0].numel(), self.model.latent_dim).to(
                self.images.device
            )
            model = FittedVariant(reduced, network).attach_to(self.model)
            self.fits[key] = fit_baseline(reduced, model, self.images, self.protocol, self.seed)
        return dataclasses.replace(self.fits[key], variant=variant)

    def measure(
        self, variants: dict[str, FittedVariant], repeats: int, spread_of_layer: SpreadOfLayer | None
    ) -> dict[str, Measurement]:
        """Measure variants on the minibatch with equal noise; keep the chosen routes, so that they are chosen once."""
        keys = {i: (v.variant.objective, v.variant.estimator, v.variant.draws) for i, v in variants.items()}
        noise = self.noise(max(v.variant.draws for v in variants.values()), repeats)
        routes = {i: self.routes[key] for i, key in keys.items() if key in self.routes}
        measurements = measure(self.model, variants, self.minibatch(), noise, spread_of_layer, routes)
        self.routes |= {key: measurements[i].route for i, key in keys.items()}
        return measurements


def choose_reference(family: Family) -> Estimator:
    """Return the reference of a family: pathwise, or leave-one-out where draws have no derivative."""
    return score_function(LEAVE_ONE_OUT) if family.is_discrete else pathwise


def add_references(variants: Iterable[Variant], reference: Estimator = pathwise) -> list[Variant]:
    """Return the variants and the missing reference estimates: one for each objective and number of draws.

    Objectives that are means over draws also get the reference with the fewest draws. It has the name of the project's
    variant that it equals, if there is one.
    """
    complete = list(variants)
    for variant in list(complete):
        for draws in {max(variant.draws, reference.min_draws), reference_draws(variant, reference)}:
            if not any(is_reference(v, variant, draws, reference) for v in complete):
                name = _name_reference(variant, draws, reference)
                replaced = dataclasses.replace(variant, name=name, estimator=reference, draws=draws, unbiased=True)
                complete.append(replaced)
    return complete


def _name_reference(variant: Variant, draws: int, reference: Estimator) -> str:
    name = f"{reference.baseline_name or reference.name} {variant.objective.name}"
    same_model = [v for v in VARIANTS if v.architecture is variant.architecture]
    if not same_model:
        return f"{name} ({name_function(variant.architecture)})"
    equal = (v.name for v in same_model if is_reference(v, variant, draws, reference))
    return next(equal, name)


def is_reference(candidate: Variant, variant: Variant, draws: int, reference: Estimator) -> bool:
    """Return whether the candidate is the reference of the variant's objective with this number of draws."""
    same = candidate.objective == variant.objective and candidate.estimator == reference
    return same and candidate.draws == draws


def reference_draws(variant: Variant, reference: Estimator) -> int:
    """Return the draws of the reference with which a variant is compared."""
    return max(fewest_draws(variant), reference.min_draws)


def fewest_draws(variant: Variant) -> int:
    """Return 1 if the objective is a mean over draws, whose gradient does not depend on K; else the variant's K."""
    log_w = torch.tensor([0.0, 1.0], dtype=torch.float64)
    is_mean = torch.equal(variant.objective.reduction.path_scale(log_w), torch.ones_like(log_w))
    return 1 if is_mean else variant.draws


def measure_all(
    context: MeasurementContext,
    variants: Sequence[Variant],
    repeats: Callable[[int], int],
    spread_of_layer: SpreadOfLayer | None = leading_spread,
) -> list[VariantMeasurement]:
    """Measure the variants and their reference estimates, and time one gradient of each.

    repeats: function from the number of draws to the number of estimates. Variants with equally many estimates are
    measured together. spread_of_layer: as in `vaezoo.gradients.measure`.
    """
    complete = add_references(variants, context.reference)
    key = (tuple((v.name, v.draws, repeats(v.draws)) for v in complete), spread_of_layer)
    if key not in context.measured:
        fitted = {str(i): context.fit(variant) for i, variant in enumerate(complete)}
        measurements: dict[str, Measurement] = {}
        for count in {repeats(v.draws) for v in complete}:
            group = {i: f for i, f in fitted.items() if repeats(f.variant.draws) == count}
            measurements |= context.measure(group, count, spread_of_layer)
        durations = _time_gradients(context, fitted)
        context.measured[key] = [
            VariantMeasurement(v, repeats(v.draws), measurements[i], durations[i], count_decoder_passes(v))
            for i, v in zip(fitted, complete, strict=True)
        ]
    return context.measured[key]


def _time_gradients(context: MeasurementContext, variants: dict[str, FittedVariant]) -> dict[str, tuple[float, ...]]:
    x = context.minibatch()
    times: dict[str, list[float]] = {i: [] for i in variants}
    for _ in range(TIMED_GRADIENTS):
        for i, fitted in variants.items():
            noise = context.noise(fitted.variant.draws, 1)(slice(0, len(x)))[0]
            start = time.perf_counter()
            minibatch_gradient(context.model, fitted, x, noise)
            if context.protocol.device == "cuda":
                torch.cuda.synchronize()
            times[i].append(time.perf_counter() - start)
    return {i: tuple(durations) for i, durations in times.items()}


def variant_columns(variant: Variant) -> dict[str, Any]:
    """Return the columns that identify a variant: name, objective, estimator, baseline and draws."""
    return {
        "variant": variant.name,
        "objective": variant.objective.name,
        "estimator": variant.estimator.name,
        "baseline": variant.estimator.baseline_name,
        "draws": variant.draws,
    }


def measure_minibatch_parts(context: MeasurementContext, variants: Iterable[Variant], examples: int) -> MinibatchParts:
    """Measure the variance per example that the choice of examples adds, for each objective and number of draws."""
    parts: MinibatchParts = {}
    complete = add_references(variants, context.reference)
    for key, variant in {(v.objective, v.draws): v for v in complete}.items():
        source = make_generator(context.seed, f"minibatch/{context.checkpoint}")
        x = draw_images(context, examples, source)
        noise = torch.randn(2, variant.draws, examples, context.protocol.latent_dim, generator=source).to(x.device)
        reference = FittedVariant(dataclasses.replace(variant, estimator=context.reference, unbiased=True))
        parts[key] = measure_between_examples(context.model, reference, x, noise)
    return parts


def draw_images(context: MeasurementContext, count: int, source: torch.Generator) -> Tensor:
    """Draw training images with replacement, each with a new binarization."""
    rows = torch.randint(len(context.images), (count,), generator=source).to(context.images.device)
    protocol = dataclasses.replace(context.protocol, batch_size=count)
    return draw_minibatch(context.images[rows], protocol, source)
