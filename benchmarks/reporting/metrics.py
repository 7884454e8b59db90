"""Metrics: name, unit, meaning, tolerance. Tables, figures, `compare` and the documentation use these definitions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["higher", "lower", "none"]
NATS = "nats/example"
DEFAULT_DIMENSIONS = 28 * 28
SMALL_DATA_TOLERANCE = {"digits": 0.25, "linear-gaussian": 0.1}  # nats; for other data it follows from the dimensions


@dataclass(frozen=True)
class Metric:
    """Describe a measured number.

    direction: "higher" or "lower" if that is better, "none" if neither is.
    scale: scale of the axis in figures; "log" also means that `compare` uses differences of natural logarithms.
    tolerance: smallest difference that matters (of logarithms for scale "log"); 0 if unknown.
    gates: whether a worse value may change the exit code of `compare`.
    instead_of: name of a metric; if a model does not have it, this metric gates instead.
    checkpoint: checkpoint at which `compare` uses the metric.
    """

    name: str
    unit: str
    direction: Direction
    meaning: str
    title: str
    scale: Literal["linear", "log"] = "linear"
    tolerance: float = 0.0
    gates: bool = False
    instead_of: str = ""
    checkpoint: Literal["first", "last"] = "last"
    decimals: int = 2

    def tolerance_on(self, dataset: str, dimensions: float = math.nan) -> float:
        """Return the tolerance for a data set of this number of dimensions; NaN if it is unknown.

        Nats are sums over dimensions, so the tolerance is that of 28 x 28 dimensions times the root of their ratio.
        """
        if not self.tolerance or self.unit != NATS:
            return self.tolerance
        if dataset in SMALL_DATA_TOLERANCE:
            return SMALL_DATA_TOLERANCE[dataset]
        ratio = dimensions / DEFAULT_DIMENSIONS if dimensions > 0 else 1.0
        return float(f"{self.tolerance * math.sqrt(ratio):.2g}")


METRICS = (
    Metric("elbo", NATS, "higher", title="ELBO", tolerance=0.5, gates=True,
        meaning="evidence lower bound, E_q[log p(x|z)] - KL(q‖p); beta = 1 for all variants"),
    Metric("elbo_se", NATS, "none", title="Monte Carlo error of the ELBO", decimals=4,
        meaning="Monte Carlo standard error of elbo over draws; test images, binarization and seed are fixed"),
    Metric("reconstruction_error", NATS, "lower", title="reconstruction error", tolerance=0.5, instead_of="elbo",
        meaning="-E_q[log p(x|z)], with z sampled from q(z|x), not its mean"),
    Metric("reconstruction_mse", "1", "lower", title="squared error per pixel", tolerance=0.001, decimals=4,
        meaning="mean squared error per pixel between the model's input x and E[x|z], with z sampled from q(z|x)"),
    Metric("kl", NATS, "none", title="KL", tolerance=0.5,
        meaning="KL(q(z|x)‖p(z)), mean over the test images"),
    Metric("log_likelihood", NATS, "higher", title="log-likelihood", tolerance=0.5,
        meaning="importance-weighted lower bound of log p(x); the draws are independent of those of elbo"),
    Metric("log_likelihood_se", NATS, "none", title="Monte Carlo error of the log-likelihood", decimals=4,
        meaning="Monte Carlo standard error of log_likelihood, by the jackknife over draws"),
    Metric("exact_log_likelihood", NATS, "none", title="exact log-likelihood",
        meaning="log p(x) of the test data under the model that generated them; empty if it cannot be computed"),
    Metric("validation_elbo", NATS, "higher", title="ELBO (validation split)",
        meaning="ELBO on the validation split, used to choose settings; empty if the data set has no validation split"),
    Metric("active_units", "count", "none", title="active units", decimals=1,
        meaning="number of latent variables with Var_x(E_q[z]) > 0.01"),
    Metric("gradient_variance", "nats²/parameter²", "lower", title="gradient variance (encoder)",
        scale="log", tolerance=0.2, gates=True, checkpoint="first",
        meaning="trace of the covariance of one minibatch gradient estimate in the encoder's parameters, "
        "over the latent noise; parameters and minibatch are fixed"),
    Metric("gradient_variance_se", "nats²/parameter²", "none", title="standard error of the gradient variance",
        scale="log", meaning="standard error of gradient_variance over the repeated gradient estimates"),
    Metric("decoder_gradient_variance", "nats²/parameter²", "lower", title="gradient variance (decoder)",
        scale="log", tolerance=0.2, checkpoint="first",
        meaning="the same as gradient_variance, in the decoder's parameters"),
    Metric("gradient_snr", "1", "higher", title="gradient signal-to-noise ratio", decimals=4,
        meaning="debiased ‖mean gradient‖² / gradient_variance of the encoder; "
        "negative if the mean is smaller than the noise"),
    Metric("throughput", "examples/s", "higher", title="throughput", decimals=0,
        meaning="training examples per second in optimizer steps, without warm-up; median over epochs"),
    Metric("processor_throughput", "examples/s", "higher", title="throughput by processor time", decimals=0,
        meaning="training examples per second of processor time, little affected by other processes; empty on a GPU"),
    Metric("flops_per_second", "1/s", "higher", title="floating-point operations per second", decimals=0,
        meaning="throughput times the floating-point operations per example: "
        "matrix products of forward and backward pass"),
    Metric("machine_fraction", "1", "higher", title="fraction of the machine's matrix-product rate",
        meaning="flops_per_second divided by the rate of large float32 matrix products, measured in the same process"),
)  # fmt: skip

METRIC_BY_NAME = {metric.name: metric for metric in METRICS}
TIMINGS = frozenset({
    "throughput", "processor_throughput", "flops_per_second", "machine_fraction", "train_seconds", "processor_seconds",
    "peak_memory_mib",
})  # fmt: skip
TABLE_METRICS = ("elbo", "reconstruction_error", "kl", "log_likelihood")


def find_inconsistency(row: Mapping[str, Any]) -> str | None:
    """Return why the row of an `ok` checkpoint is impossible, or None.

    elbo must equal -(reconstruction_error + kl), and must not exceed log_likelihood by more than the noise. Binary
    pixels have probabilities, so that reconstruction_error is at least 0.
    """
    elbo, error, kl = row.get("elbo"), row.get("reconstruction_error"), row.get("kl")
    if row.get("support") == "binary" and error is not None and error < -1e-3:
        return f"reconstruction_error {error:.6g} is below 0, but probabilities of binary pixels are at most 1"
    if elbo is None or error is None or kl is None:
        return None
    if not abs(elbo + error + kl) <= 1e-9 * (1 + abs(elbo)):
        return f"elbo {elbo:.10g} is not -(reconstruction_error {error:.10g} + kl {kl:.10g})"
    bound = row.get("log_likelihood")
    if bound is None:
        return None
    slack = 5 * math.hypot(row.get("elbo_se") or 0.0, row.get("log_likelihood_se") or 0.0) + 1e-3
    if not elbo <= bound + slack:
        return f"elbo {elbo:.6g} exceeds log_likelihood {bound:.6g} by more than {slack:.3g}"
    return None
