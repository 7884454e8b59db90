"""The columns of gradients.csv with their units and meanings."""

from __future__ import annotations

from typing import Any

from benchmarks.reporting.csv_tables import Column

Row = dict[str, Any]
KURTOSIS_FLAG = "kurtosis"
BIASED_Z = 5  # standard errors; an estimator whose bias_z is larger is called biased
BEST, BEST_AT_EDGE, DIVERGED = "best", "best at the edge", "diverged"
CHECKPOINTS = ("initial", "early", "middle", "end")

COLUMNS = (
    Column("study", "", "study that made the row"),
    Column("dataset", "", "data set of the reference model or of the trained models"),
    Column("seed", "", "seed of the model and the noise; empty in rows over all seeds", "unbounded"),
    Column(
        "checkpoint", "", "initial, early, middle or end of the reference model's training; epoch of trained models"
    ),
    Column(
        "variant",
        "",
        "registered name; 'pathwise OBJECTIVE' for a reference estimate that is not a registered variant; "
        "'closed form' for exact values of the counter-example",
    ),
    Column("objective", "", "objective that is differentiated"),
    Column("estimator", "", "estimator of the gradient"),
    Column("baseline", "", "control variate of a score-function estimator"),
    Column("draws", "count", "latent draws per example, K", "unbounded"),
    Column("batch_size", "examples", "examples in a minibatch, B", "unbounded"),
    Column("latent_dim", "count", "latent variables of the model", "unbounded"),
    Column("likelihood", "", "distribution p(x|z) of trained models; empty in the other studies"),
    Column("setting", "", "name of the setting that the study varies"),
    Column("setting_value", "", "value of that setting", "unbounded"),
    Column("parameters", "", "encoder, decoder, or a posterior parameter (mean, log_scale); empty for an ELBO"),
    Column("layer", "", "layer of these parameters; empty for all layers together"),
    Column(
        "part",
        "",
        "source of the variance: latent (noise only), minibatch (choice and binarization of the examples) or total; "
        "for an ELBO the split of the data set; for a slope the fitted quantity",
    ),
    Column("quantity", "", "measured quantity; see the table below"),
    Column("against", "", "reference variant of a variance ratio; empty for other quantities"),
    Column("unit", "", "unit of value, se, low and high"),
    Column("value", "", "measured value", "unbounded"),
    Column("se", "", "standard error of value; empty for values without one", "unbounded"),
    Column("low", "", "lower end of the 95 % interval; for an ELBO over seeds the minimum", "unbounded"),
    Column("high", "", "upper end of the 95 % interval; for an ELBO over seeds the maximum", "unbounded"),
    Column("repeats", "count", "gradient estimates from which value was computed", "unbounded"),
    Column(
        "kurtosis", "1", "kurtosis of the squared deviations of the repeats; 3 for a normal distribution", "unbounded"
    ),
    Column(
        "flag",
        "",
        "'kurtosis' if the kurtosis exceeds 30, so that the interval may be too narrow; 'best' for the learning rate "
        "chosen on the validation split; 'best at the edge' if that rate is the smallest or largest tried; 'diverged' "
        "if a seed diverged",
    ),
    Column("passes", "count", "decoder passes per example and gradient", "unbounded"),
    Column("seconds", "s", "median duration of one gradient of all parameters", "unbounded"),
)
COLUMN_NAMES = tuple(column.name for column in COLUMNS)
KINDS = {column.name: column.kind for column in COLUMNS}
ADDED_COLUMNS = {"against": 4, "likelihood": 4}  # schema version that introduced the column
# by cost: latent variance times cost, divided by that of the reference, or of the variant in `against`
EXCHANGE_RATES = {
    "draws": "exchange_rate",
    "decoder passes": "exchange_rate_passes",
    "seconds": "exchange_rate_seconds",
}
VARIANCE_RATIOS = {
    "draws": "variance_ratio_draws",
    "decoder passes": "variance_ratio_passes",
    "seconds": "variance_ratio_seconds",
}
TIMED_QUANTITIES = frozenset({"seconds", "variance_x_seconds", "exchange_rate_seconds", "variance_ratio_seconds"})

UNITS = {
    "variance": "nats²/parameter²",
    "gradient": "nats/parameter",
    "gradient_variance": "nats²/parameter²",
    "snr": "1",
    "snr_floor": "1",
    "cosine": "1",
    "squared_bias": "nats²/parameter²",
    "mean_squared_error": "nats²/parameter²",
    "bias_z": "standard errors",
    "variance_x_seconds": "s nats²/parameter²",
    "variance_x_passes": "nats²/parameter²",
    "exchange_rate": "draws",
    "exchange_rate_passes": "1",
    "exchange_rate_seconds": "1",
    "variance_ratio_draws": "1",
    "variance_ratio_passes": "1",
    "variance_ratio_seconds": "1",
    "slope": "1",
    "elbo": "nats/example",
}
MEANINGS = {
    "variance": "trace of the covariance of one minibatch gradient (mean over B examples)",
    "gradient": "mean over all estimates and coordinates",
    "gradient_variance": "variance of one estimate, mean over the coordinates",
    "snr": "debiased squared norm of the mean gradient, divided by the variance; negative if noise exceeds the mean",
    "snr_floor": "smallest detectable snr: two standard deviations of snr for a mean gradient of 0, in the worst case",
    "cosine": "cosine of the angle between one estimate and the exact gradient, mean over repeats",
    "squared_bias": "debiased squared norm of the difference between the mean gradient and the exact one, which is a "
    "sum over all states of discrete latents; negative if noise exceeds it",
    "mean_squared_error": "variance plus squared bias",
    "bias_z": "difference to the reference gradient of the same objective; above 5 the estimator is biased",
    "variance_x_seconds": "latent variance times the seconds of one gradient",
    "variance_x_passes": "latent variance times the decoder passes of one gradient",
    "exchange_rate": "draws whose average has the latent variance of one draw of the reference, which is the pathwise "
    "gradient, or leave-one-out for discrete latents",
    "exchange_rate_passes": "decoder passes to reach the latent variance of the reference, divided by its "
    "decoder passes",
    "exchange_rate_seconds": "time to reach the latent variance of the reference, divided by its duration",
    "variance_ratio_draws": "draws to reach the latent variance of one gradient of the variant in `against`, divided "
    "by that gradient's draws; below 1 the row's variant is better",
    "variance_ratio_passes": "the same in decoder passes",
    "variance_ratio_seconds": "the same in seconds",
    "elbo": "ELBO of a trained model: at the end of training by learning rate, or at each checkpoint by cost",
    "slope": "exponent of a power law in the setting, fitted to the quantity that `part` names",
}


def add_interval(quantity: str, value: float, se: float) -> Row:
    """Return the columns of a value with its standard error and the normal 95 % interval."""
    return {"quantity": quantity, "value": value, "se": se, "low": value - 1.96 * se, "high": value + 1.96 * se}
