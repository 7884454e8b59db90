"""Rows of gradients.csv from measurements: variances, signal-to-noise ratio, bias, cost and exchange rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.common.seed_statistics import log_ratio, t_half_width
from benchmarks.gradient_studies.columns import EXCHANGE_RATES, KURTOSIS_FLAG, VARIANCE_RATIOS, Row, add_interval
from benchmarks.gradient_studies.measurement import (
    MeasurementContext,
    MinibatchParts,
    VariantMeasurement,
    is_reference,
    reference_draws,
    variant_columns,
)

HEAVY_KURTOSIS = 30  # above it a few repeats dominate the variance, and intervals may be too narrow


def make_rows(
    context: MeasurementContext, measured: Sequence[VariantMeasurement], minibatch_parts: MinibatchParts | None = None
) -> Iterator[Row]:
    """Yield the rows of all quantities of each variant. minibatch_parts: from `measure_minibatch_parts`."""
    size = context.protocol.batch_size
    for m in measured:
        variant, measurement = m.variant, m.measurement
        minibatch = (minibatch_parts or {}).get((variant.objective, variant.draws), {})
        common = variant_columns(variant) | {"repeats": m.repeats, "passes": m.passes, "seconds": m.seconds}
        for (parameters, layer), moments in measurement.moments.items():
            columns = common | {"parameters": parameters, "layer": layer, "part": "latent"}
            variance = add_interval("variance", moments.variance, moments.variance_se)
            yield columns | variance | _tail_columns(moments.kurtosis)
            if layer:
                continue
            if moments.snr is not None:
                yield columns | {"quantity": "snr", "value": moments.snr}
                yield columns | {"quantity": "snr_floor", "value": snr_floor(m.repeats)}
            if parameters in minibatch and variant.unbiased:
                value, se = minibatch[parameters].value / size, minibatch[parameters].se / size
                yield columns | {"part": "minibatch"} | add_interval("variance", value, se)
                total_se = math.hypot(se, moments.variance_se)
                yield columns | {"part": "total"} | add_interval("variance", value + moments.variance, total_se)
        encoder = measurement.moments["encoder", ""]
        columns = common | {"parameters": "encoder", "layer": "", "part": "latent"}
        if measurement.cosine is not None:
            yield columns | add_interval("cosine", measurement.cosine.value, measurement.cosine.se)
        if measurement.bias is not None:
            yield columns | {"quantity": "bias_z", "value": measurement.bias}
        if (squared_bias := measurement.squared_bias) is not None:
            yield columns | add_interval("squared_bias", squared_bias.value, squared_bias.se)
            error = math.hypot(squared_bias.se, encoder.variance_se)
            yield columns | add_interval("mean_squared_error", squared_bias.value + encoder.variance, error)
        for quantity, factor in (("variance_x_seconds", m.seconds), ("variance_x_passes", m.passes)):
            yield columns | add_interval(quantity, encoder.variance * factor, encoder.variance_se * factor)
        estimator = context.reference
        draws = reference_draws(variant, estimator)
        reference = next((other for other in measured if is_reference(other.variant, variant, draws, estimator)), None)
        if reference is not None:
            yield from _variance_ratios(columns, m, reference, EXCHANGE_RATES)


def make_paired_rows(measured: Sequence[VariantMeasurement], against: str) -> Iterator[Row]:
    """Yield the variance ratios between each variant and the one named `against`, with equal noise."""
    reference = next(m for m in measured if m.variant.name == against)
    for m in measured:
        if m is not reference:
            costs = {"repeats": m.repeats, "passes": m.passes, "seconds": m.seconds}
            columns = variant_columns(m.variant) | costs | {"parameters": "encoder", "layer": "", "part": "latent"}
            yield from _variance_ratios(columns | {"against": against}, m, reference, VARIANCE_RATIOS)


def _tail_columns(kurtosis: float) -> Row:
    return {"kurtosis": kurtosis, "flag": KURTOSIS_FLAG if kurtosis > HEAVY_KURTOSIS else ""}


def _variance_ratios(
    columns: Row, measured: VariantMeasurement, reference: VariantMeasurement, quantities: Mapping[str, str]
) -> Iterator[Row]:
    """Yield C V / (C' V') of a variant and another one, for each cost C in `quantities`; nothing if a variance is 0.

    Seconds are known from a few rounds only. So the t-interval of the ratio of durations is part of their interval.
    """
    moments, reference_moments = (m.measurement.moments["encoder", ""] for m in (measured, reference))
    if not (moments.variance > 0 and reference_moments.variance > 0):
        return
    logarithm, se = log_ratio(moments.sums.numpy(), reference_moments.sums.numpy())
    tails = _tail_columns(max(moments.kurtosis, reference_moments.kurtosis))
    costs = {
        "draws": measured.variant.draws / reference.variant.draws,
        "decoder passes": measured.passes / reference.passes,
        "seconds": measured.seconds / reference.seconds,
    }
    pairs = zip(measured.durations, reference.durations, strict=True)
    rounds = [math.log(duration / reference_duration) for duration, reference_duration in pairs]
    errors = dict.fromkeys(costs, (se, 1.96 * se))  # standard error and half-width, of the logarithm
    timing_error = statistics.stdev(rounds) / math.sqrt(len(rounds))
    errors["seconds"] = math.hypot(se, timing_error), math.hypot(1.96 * se, t_half_width(rounds))
    for cost, quantity in quantities.items():
        value, (error, half) = math.exp(logarithm) * costs[cost], errors[cost]
        low, high = (math.exp(logarithm + side * half) * costs[cost] for side in (-1, 1))
        yield columns | {"quantity": quantity, "value": value, "se": value * error, "low": low, "high": high} | tails


def snr_floor(repeats: int) -> float:
    """Return two standard deviations of snr for a mean gradient of 0 and noise in one direction, the worst case."""
    return 2 * math.sqrt(2) / repeats
