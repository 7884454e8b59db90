"""Rows of gradients.csv from measurements: variances, signal-to-noise ratio, bias, cost and exchange rates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.common.seed_statistics import log_ratio
from benchmarks.gradient_studies.columns import KURTOSIS_FLAG, Row, add_interval
from benchmarks.gradient_studies.measurement import (
    MeasurementContext,
    MinibatchParts,
    VariantMeasurement,
    fewest_draws,
    is_reference,
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
        for quantity, factor in (("variance_x_seconds", m.seconds), ("variance_x_passes", m.passes)):
            yield columns | add_interval(quantity, encoder.variance * factor, encoder.variance_se * factor)
        draws = fewest_draws(variant)
        reference = next((other for other in measured if is_reference(other.variant, variant, draws)), None)
        if reference is not None and encoder.variance > 0:
            yield from _exchange_rates(columns, m, reference)


def _tail_columns(kurtosis: float) -> Row:
    return {"kurtosis": kurtosis, "flag": KURTOSIS_FLAG if kurtosis > HEAVY_KURTOSIS else ""}


def _exchange_rates(columns: Row, measured: VariantMeasurement, reference: VariantMeasurement) -> Iterator[Row]:
    """Yield K V_K / (K' V_K') of the variant and its reference, and the same ratio with seconds instead of draws."""
    moments, reference_moments = (m.measurement.moments["encoder", ""] for m in (measured, reference))
    logarithm, se = log_ratio(moments.sums.numpy(), reference_moments.sums.numpy())
    tails = _tail_columns(max(moments.kurtosis, reference_moments.kurtosis))
    for quantity, cost in (
        ("exchange_rate", measured.variant.draws / reference.variant.draws),
        ("exchange_rate_seconds", measured.seconds / reference.seconds),
    ):
        value = math.exp(logarithm) * cost
        low, high = (math.exp(logarithm + side * 1.96 * se) * cost for side in (-1, 1))
        yield columns | {"quantity": quantity, "value": value, "se": value * se, "low": low, "high": high} | tails


def snr_floor(repeats: int) -> float:
    """Return two standard deviations of snr for a mean gradient of 0 and noise in one direction, the worst case."""
    return 2 * math.sqrt(2) / repeats
