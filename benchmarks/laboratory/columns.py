"""The columns of gradients.csv, declared once. Needs no torch."""

from __future__ import annotations

from typing import Any

from benchmarks.metrics import Column

Row = dict[str, Any]
FLAG = "kurtosis"
BEST, BEST_AT_EDGE, DIVERGED = "best", "best at the edge", "diverged"

COLUMNS = (
    Column("study", "", "which question the row belongs to"),
    Column("dataset", "", "data set of the reference model; empty for the counter-example"),
    Column("seed", "", "of the reference model and the noise; empty for what is over all seeds"),
    Column(
        "checkpoint", "", "initial, early, middle or end of the reference model's training; an epoch of trained models"
    ),
    Column("variant", "", "name in the registry; 'pathwise OBJECTIVE' for a reference that no variant is"),
    Column("objective", "", "what the gradient is of"),
    Column("estimator", "", "how it is estimated"),
    Column("baseline", "", "of a score-function estimator"),
    Column("draws", "count", "latent draws per example, K"),
    Column("batch_size", "examples", "in a minibatch"),
    Column("latent_dim", "count", "latents of the reference model"),
    Column("setting", "", "what the study varies"),
    Column("setting_value", "", "its value"),
    Column("parameters", "", "encoder, decoder, or a parameter of the posterior (mean, log_scale); empty for an elbo"),
    Column("layer", "", "one layer of them; empty for all"),
    Column(
        "part",
        "",
        "latent (over the noise alone), minibatch (over its choice and binarization) or total; the split of an elbo",
    ),
    Column("quantity", "", "what was measured; see the table below"),
    Column("unit", "", "of value, se, low and high"),
    Column("value", "", "the measurement"),
    Column("se", "", "its standard error, where it has one"),
    Column("low", "", "lower end of its 95 % interval; of an elbo over seeds, which is their median, the lowest"),
    Column("high", "", "upper end; the highest"),
    Column("repeats", "count", "estimates behind it"),
    Column("kurtosis", "1", "of the repeats' sums; 3 for a normal distribution"),
    Column(
        "flag",
        "",
        "'kurtosis' where it exceeds 30: rare repeats decide, and the interval may be too narrow; 'best' for the "
        "learning rate that the validation split chooses; 'diverged' where seeds did",
    ),
    Column("passes", "count", "decoder passes per example and gradient"),
    Column("seconds", "s", "of one gradient of all parameters, a median"),
)
NAMES = tuple(column.name for column in COLUMNS)
TIMED = frozenset({"seconds", "variance_x_seconds", "exchange_rate_seconds"})

UNITS = {
    "variance": "nats²/parameter²",
    "snr": "1",
    "snr_floor": "1",
    "cosine": "1",
    "bias_z": "standard errors",
    "variance_x_seconds": "s nats²/parameter²",
    "variance_x_passes": "nats²/parameter²",
    "exchange_rate": "draws",
    "exchange_rate_seconds": "1",
    "slope": "1",
    "elbo": "nats/example",
}
MEANINGS = {
    "variance": "trace of the covariance of one minibatch gradient, the mean over B examples",
    "snr": "debiased ‖mean gradient‖² over the variance: negative where the mean drowns",
    "snr_floor": "two standard deviations of snr where the mean is 0, in the worst case: nothing below can be seen",
    "cosine": "of the angle between one estimate and the exact direction, a mean over repeats",
    "bias_z": "difference to the pathwise gradient of the same objective and noise; beyond 5 there is a bias",
    "variance_x_seconds": "latent variance times the seconds of one gradient",
    "variance_x_passes": "latent variance times the decoder passes of one gradient",
    "exchange_rate": "draws to average for the latent variance of one pathwise draw",
    "exchange_rate_seconds": "the same in the time of one pathwise gradient",
    "elbo": "of a trained model, by the common evaluator: at the end by learning rate, or on the way by its cost",
    "slope": "exponent of a power law in the setting; `part` says of what (snr, or a part of the variance)",
}


def interval(quantity: str, value: float, se: float) -> Row:
    """A value with its standard error and the normal 95 % interval."""
    return {"quantity": quantity, "value": value, "se": se, "low": value - 1.96 * se, "high": value + 1.96 * se}
