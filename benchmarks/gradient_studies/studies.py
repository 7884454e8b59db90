"""The studies of a reference model: the setting that each varies, the checkpoints, and the measured quantities."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmarks.gradient_studies.columns import CHECKPOINTS, Row, add_interval
from benchmarks.gradient_studies.discrete_studies import study_discrete, study_temperature
from benchmarks.gradient_studies.integrands import make_integrand_rows, make_square_rows
from benchmarks.gradient_studies.measurement import (
    MeasurementContext,
    VariantMeasurement,
    draw_images,
    measure_all,
    measure_minibatch_parts,
    variant_columns,
)
from benchmarks.gradient_studies.measurement_rows import make_paired_rows, make_rows
from benchmarks.planning.random_streams import draw_noise, make_generator
from benchmarks.planning.settings import StudySettings
from vaezoo import Variant
from vaezoo.distributions.posteriors import Posterior
from vaezoo.gradients import measure_fresh_variance
from vaezoo.gradients.encoder_jacobian import posterior_parameters

MIN_REPEATS = 100
MIN_PAIRS, PAIRED_SIZE = 20, 50
Variants = Sequence[Variant]


@dataclass(frozen=True)
class Study:
    """A study of a reference model.

    setting: name of the varied setting. checkpoints: those at which the study measures.
    rows: function from context, variants and settings to the rows of one checkpoint. is_discrete: whether the study is
    of variants with discrete latents, or of those with continuous latents; None for both. has_bias: whether it needs
    models with few latents, whose exact gradient is a sum over all states. is_default: whether it is made if none is
    named.
    """

    setting: str
    checkpoints: tuple[str, ...]
    rows: Callable[[MeasurementContext, Variants, StudySettings], Iterator[Row]]
    is_discrete: bool | None = False
    has_bias: bool = False
    is_default: bool = True


def study_training(context: MeasurementContext, variants: Variants, settings: StudySettings) -> Iterator[Row]:
    """Measure every variant, with the latent and the minibatch part of its variance."""
    parts = measure_minibatch_parts(context, variants, settings.examples)
    yield from make_rows(context, measure_all(context, variants, lambda draws: settings.repeats), parts)


def compare_pairs(
    context: MeasurementContext, variants: Variants, settings: StudySettings, against: str
) -> Iterator[Row]:
    """Measure every variant with the noise of the variant named `against`, and yield the ratios of their variances."""
    measured = measure_all(context, variants, lambda draws: settings.repeats, None)
    yield from make_paired_rows(measured[: len(variants)], against)  # the references are behind the variants


def _measure(context: MeasurementContext, variants: Variants, settings: StudySettings) -> list[VariantMeasurement]:
    """Measure the variants without their decoders' layers, with a number of decoder passes that is equal for all K."""
    return measure_all(context, variants, lambda draws: max(MIN_REPEATS, math.ceil(settings.repeats / draws)), None)


def study_latent_dim(context: MeasurementContext, variants: Variants, settings: StudySettings) -> Iterator[Row]:
    """Measure every variant; the reference models of this study differ in their number of latents."""
    for row in make_rows(context, _measure(context, variants, settings)):
        yield row | {"setting_value": context.protocol.latent_dim}


def study_draws(context: MeasurementContext, variants: Variants, settings: StudySettings) -> Iterator[Row]:
    """Measure each pair of objective and estimator with each number of draws."""
    distinct = list(reversed({(v.objective, v.estimator): v for v in reversed(variants)}.values()))
    by_draws = [
        dataclasses.replace(v, draws=count)
        for count in settings.draws
        for v in distinct
        if v.estimator.min_draws <= count
    ]
    for row in make_rows(context, _measure(context, by_draws, settings)):
        yield row | {"setting_value": row["draws"]}


def study_posterior_scale(context: MeasurementContext, variants: Variants, settings: StudySettings) -> Iterator[Row]:
    """Measure every variant with the scale of the approximate posterior multiplied by each factor."""
    for factor in settings.posterior_scales:
        scaled = context if factor == 1 else _scale_posterior(context, factor)
        for row in make_rows(scaled, _measure(scaled, variants, settings)):
            yield row | {"setting_value": factor}


def _scale_posterior(context: MeasurementContext, factor: float) -> MeasurementContext:
    def multiply_scale(encoder: nn.Module, x: object, q: Posterior) -> Posterior:
        if "log_scale" not in posterior_parameters(q):
            raise ValueError(
                f"{type(q).__name__} has no parameter log_scale to reduce; select other studies than posterior-scale"
            )
        return dataclasses.replace(q, log_scale=q.log_scale + math.log(factor))  # type: ignore[type-var, attr-defined]

    model = copy.deepcopy(context.model)
    model.encoder.register_forward_hook(multiply_scale)
    return dataclasses.replace(context, model=model, measured={}, fits={})


def study_batch_size(context: MeasurementContext, variants: Variants, settings: StudySettings) -> Iterator[Row]:
    """Measure the variance over noise and minibatch together, by new minibatches, and compute its two parts."""
    measured = _measure(context, variants, settings)
    parts = measure_minibatch_parts(context, variants, settings.examples)
    for count in settings.batch_sizes:
        scale = context.protocol.batch_size / count
        columns: Row = {"setting_value": count, "batch_size": count, "parameters": "encoder", "layer": ""}
        for m in measured:
            latent, part = m.measurement.moments["encoder", ""], parts[m.variant.objective, m.variant.draws]["encoder"]
            common = columns | variant_columns(m.variant) | {"passes": m.passes}
            noise = add_interval("variance", latent.variance * scale, latent.variance_se * scale)
            yield common | {"part": "latent"} | noise
            if m.variant.unbiased:
                minibatch = add_interval("variance", part.value / count, part.se / count)
                yield common | {"part": "minibatch"} | minibatch
        # the gradients of large minibatches vary less from pair to pair, so that fewer pairs suffice
        pairs = max(MIN_PAIRS, min(settings.pairs, settings.pairs * PAIRED_SIZE // count))
        yield from _fresh_rows(context, [m.variant for m in measured], columns, pairs)


def _fresh_rows(context: MeasurementContext, variants: Variants, columns: Row, pairs: int) -> Iterator[Row]:
    size = columns["batch_size"]
    protocol = dataclasses.replace(context.protocol, batch_size=size)
    for draws in sorted({v.draws for v in variants}):
        source = make_generator(context.seed, f"fresh/{context.checkpoint}/{size}/{draws}")

        def draw_fresh(source: torch.Generator = source, draws: int = draws) -> tuple[torch.Tensor, torch.Tensor]:
            return draw_images(context, size, source), draw_noise(protocol, draws, source)

        by_name = {v.name: v for v in variants if v.draws == draws}
        fitted = {name: context.fit(v) for name, v in by_name.items()}
        for name, variance in measure_fresh_variance(context.model, fitted, draw_fresh, pairs).items():
            common = columns | variant_columns(by_name[name]) | {"part": "total", "repeats": 2 * pairs}
            yield common | add_interval("variance", variance.value, variance.se)


def study_counter_example(context: MeasurementContext, variants: Variants, settings: StudySettings) -> Iterator[Row]:
    """Measure every variant on f(z) = cos(kz), for which the score function has the lower variance if k is large."""
    for frequency in settings.frequencies:
        for row in make_integrand_rows(variants, frequency, settings.integrand_draws, context.seed):
            yield row | {"setting_value": frequency}


def study_integrand(context: MeasurementContext, variants: Variants, settings: StudySettings) -> Iterator[Row]:
    """Measure the gradient of every variant for a function of the settings, and its variance, per coordinate."""
    if settings.integrand is None:
        raise ValueError("the preset has no function f; add a table [gradients.integrand]")
    inputs = settings.integrand, settings.integrand_draws, context.seed
    for row in make_square_rows(context.model.encoder.family, variants, *inputs):
        yield row | {"setting_value": settings.integrand.parameter}


STUDIES: dict[str, Study] = {
    "training": Study("checkpoint", CHECKPOINTS, study_training),
    "latent-dim": Study("latent_dim", ("middle",), study_latent_dim),
    "draws": Study("draws", ("middle",), study_draws),
    "batch-size": Study("batch_size", ("middle",), study_batch_size),
    "posterior-scale": Study("posterior_scale", ("middle",), study_posterior_scale),
    "counter-example": Study("frequency", ("initial",), study_counter_example),
    "discrete": Study("latent_dim", ("initial", "end"), study_discrete, is_discrete=True),
    "temperature": Study("temperature", ("end",), study_temperature, is_discrete=True, has_bias=True),
    "integrand": Study("parameter", ("initial",), study_integrand, is_discrete=None, is_default=False),
}
