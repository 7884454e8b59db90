"""The studies of discrete latents: bias and variance against the gradient by enumeration, and by temperature."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from benchmarks.gradient_studies.columns import Row
from benchmarks.gradient_studies.measurement import MeasurementContext, VariantMeasurement, measure_all
from benchmarks.gradient_studies.measurement_rows import make_rows
from benchmarks.planning.settings import StudySettings
from vaezoo import Variant, elbo
from vaezoo.distributions.families import Family
from vaezoo.estimators import enumerated

MAX_ENUMERATED, MAX_LATENTS = 1024, 10  # states and latents of the small models
TEMPERATURES = (0.1, 0.25, 0.5, 1.0, 2.0)


def count_enumerable(family: Family) -> int:
    """Return D of the small model of a family: the most latents, at most 10, that have at most 1,024 states."""
    values = max(2, family.width)
    latents = max(n for n in range(1, MAX_LATENTS + 1) if values**n <= MAX_ENUMERATED)
    return latents * family.width


def study_discrete(context: MeasurementContext, variants: Sequence[Variant], settings: StudySettings) -> Iterator[Row]:
    """Measure every variant, in a small model with its squared bias."""
    for row in make_rows(context, _measure(context, variants, settings)):
        yield row | {"setting_value": context.protocol.latent_dim}


def study_temperature(
    context: MeasurementContext, variants: Sequence[Variant], settings: StudySettings
) -> Iterator[Row]:
    """Measure the variants that relax their draws at each temperature."""
    temperatures: dict[str, float] = {}
    relaxed: list[Variant] = []
    for variant, temperature in itertools.product(variants, TEMPERATURES):
        if variant.estimator.at_temperature:
            estimator = variant.estimator.at_temperature(temperature)
            temperatures[estimator.name] = temperature
            relaxed.append(dataclasses.replace(variant, estimator=estimator))
    if relaxed:
        for row in make_rows(context, _measure(context, relaxed, settings)[: len(relaxed)]):
            yield row | {"setting_value": temperatures[row["estimator"]]}


def _measure(
    context: MeasurementContext, variants: Sequence[Variant], settings: StudySettings
) -> list[VariantMeasurement]:
    """Measure the variants and their references; with the exact gradient as reference, if it can be enumerated."""
    is_small = context.protocol.latent_dim <= count_enumerable(context.model.encoder.family)
    exact = [Variant("exact", variants[0].architecture, elbo, enumerated)] if is_small else []
    measured = measure_all(context, [*variants, *exact], lambda draws: settings.repeats, None)
    return [m for m in measured if m.variant.estimator.uses_noise]
