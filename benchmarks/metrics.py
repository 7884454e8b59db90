"""Every column of results.csv, declared once; tables, figures, comparison and the README are made from this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "none"]
NATS = "nats/example"
SMALL_DATA = {"digits": 0.25, "linear-gaussian": 0.1}  # nats that matter on data of fewer dimensions than 28 x 28


@dataclass(frozen=True)
class Metric:
    """A measured number.

    direction: which way is better, if either is. scale: how figures draw it, and whether differences are taken in
    logarithms. tolerance: the smallest difference that matters, absolute (in natural logarithms where scale is log);
    0 where none is known. gates: whether a comparison of runs may fail on it. instead_of: the metric in whose place it
    gates, of models that have not that one. checkpoint: at which one they are compared.
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

    def tolerance_on(self, dataset: str) -> float:
        """The tolerance on that data set: nats are sums over dimensions; where these are few, fewer nats matter."""
        return SMALL_DATA.get(dataset, self.tolerance) if self.tolerance and self.unit == NATS else self.tolerance


@dataclass(frozen=True)
class Column:
    """A column that identifies, sets or traces a measurement."""

    name: str
    unit: str
    meaning: str


IDENTITY = (
    Column("variant", "", "name in the registry"),
    Column("dataset", "", "data set"),
    Column("seed", "", "decides initial weights, batches, noise and dynamic binarization"),
    Column("epoch", "epochs", "passes over the training data at this checkpoint; 0 is before training"),
    Column("step", "steps", "optimizer steps at this checkpoint"),
    Column("status", "", "ok, diverged (non-finite loss or parameters), failed, timeout, out-of-memory or killed"),
)

METRICS = (
    Metric(
        "elbo",
        NATS,
        "higher",
        "evidence lower bound, E_q[log p(x|z)] - KL(q‖p), with beta = 1 whatever was trained",
        "ELBO",
        tolerance=0.5,
        gates=True,
    ),
    Metric(
        "elbo_se",
        NATS,
        "none",
        "Monte Carlo error of elbo over draws, test images and their binarization held fixed (no spread over seeds)",
        "Monte Carlo error of the ELBO",
        decimals=4,
    ),
    Metric(
        "reconstruction_error",
        NATS,
        "lower",
        "-E_q[log p(x|z)], z sampled from q (not its mean)",
        "reconstruction error",
        tolerance=0.5,
        instead_of="elbo",
    ),
    Metric(
        "reconstruction_mse",
        "1",
        "lower",
        "mean squared error per pixel between x as the model sees it and E[x|z], z sampled",
        "squared error per pixel",
        tolerance=0.001,
        decimals=4,
    ),
    Metric("kl", NATS, "none", "KL(q(z|x)‖p(z)), averaged over the test images", "KL", tolerance=0.5),
    Metric(
        "log_likelihood",
        NATS,
        "higher",
        "importance-weighted bound of log p(x), with draws of its own",
        "log-likelihood",
        tolerance=0.5,
    ),
    Metric(
        "log_likelihood_se",
        NATS,
        "none",
        "Monte Carlo error of log_likelihood, by the jackknife over draws",
        "Monte Carlo error of the log-likelihood",
        decimals=4,
    ),
    Metric(
        "exact_log_likelihood",
        NATS,
        "none",
        "log p(x) of the test data under the model that made them; empty where nobody knows it",
        "exact log-likelihood",
    ),
    Metric(
        "validation_elbo",
        NATS,
        "higher",
        "the ELBO on the validation split, for the choice of settings; empty where a data set has no such split",
        "ELBO (validation split)",
    ),
    Metric("active_units", "count", "none", "latents with Var_x(E_q[z]) > 0.01", "active units", decimals=1),
    Metric(
        "gradient_variance",
        "nats²/parameter²",
        "lower",
        "variance over the latent noise of one minibatch gradient estimate in the encoder's parameters, "
        "at fixed parameters and minibatch",
        "gradient variance (encoder)",
        scale="log",
        tolerance=0.2,
        gates=True,
        checkpoint="first",
    ),
    Metric(
        "gradient_variance_se",
        "nats²/parameter²",
        "none",
        "standard error of gradient_variance, over the repeats",
        "standard error of the gradient variance",
        scale="log",
    ),
    Metric(
        "decoder_gradient_variance",
        "nats²/parameter²",
        "lower",
        "the same variance in the decoder's parameters",
        "gradient variance (decoder)",
        scale="log",
        tolerance=0.2,
        checkpoint="first",
    ),
    Metric(
        "gradient_snr",
        "1",
        "higher",
        "debiased ‖mean gradient‖² / gradient_variance, encoder; negative where the mean drowns in the noise",
        "gradient signal-to-noise ratio",
        decimals=4,
    ),
    Metric(
        "throughput",
        "examples/s",
        "higher",
        "training examples per second: optimizer steps only, warm-up excluded, median over epochs",
        "throughput",
        decimals=0,
    ),
    Metric(
        "processor_throughput",
        "examples/s",
        "higher",
        "the same by processor time, which other work on the machine hardly changes; empty on a GPU",
        "throughput by processor time",
        decimals=0,
    ),
    Metric(
        "flops_per_second",
        "1/s",
        "higher",
        "throughput times the floating-point operations of an example's matrix products, there and back",
        "floating-point operations",
        decimals=0,
    ),
    Metric(
        "machine_fraction",
        "1",
        "higher",
        "flops_per_second over the rate of large float32 matrix products, measured by the same process beside training",
        "fraction of the machine's rate",
        decimals=2,
    ),
)

SETTINGS = (
    Column("train_seconds", "s", "time spent in optimizer steps up to this checkpoint"),
    Column("peak_memory_mib", "MiB", "largest resident memory of the cell's process so far"),
    Column("latent_dim", "count", "latents"),
    Column("draws", "count", "latent draws per example and step"),
    Column("batch_size", "examples", "minibatch; also that of gradient_variance"),
    Column("learning_rate", "1", "of Adam"),
    Column("likelihood", "", "p(x|z)"),
    Column("binarization", "", "dynamic (drawn anew at each step), static (drawn once) or none"),
    Column("evaluation_draws", "count", "draws per test image behind elbo and the reconstruction errors"),
    Column("log_likelihood_draws", "count", "draws per test image behind log_likelihood"),
    Column("gradient_repeats", "count", "gradient estimates behind gradient_variance"),
    Column("threads", "count", "of the cell's process"),
    Column("device", "", "cpu or cuda"),
    Column("precision", "", "of the matrix products of training: float32 or bfloat16; all else is float32"),
    Column("objective", "", "what was maximised"),
    Column("estimator", "", "how its gradient was estimated"),
    Column("baseline", "", "of a score-function estimator"),
)

PROVENANCE = (
    Column("started", "UTC", "when the cell started"),
    Column("ended", "UTC", "when the cell ended"),
    Column("processor_seconds", "s", "processor time of the cell's process so far"),
    Column("processor", "", "model of the machine's first"),
    Column("torch", "", "its version"),
    Column("mode", "", "how the training step ran: eager, or compiled as a whole"),
    Column("commit", "", "of the project's code, with a mark of uncommitted changes; without git a hash of it"),
    Column("data_checksum", "", "SHA-256 of the decoded data, shortened"),
    Column("protocol_id", "", "hash of the variant's fields, the data and the protocol"),
    Column("error", "", "what went wrong, in one line"),
    Column("cell_id", "", "hash of the same and the seed; the name of the cell's file"),
)

COLUMNS = (*IDENTITY, *METRICS, *SETTINGS, *PROVENANCE)
RESULT_COLUMNS = tuple(column.name for column in COLUMNS)
ADDED = {  # columns by the schema that they came with
    **dict.fromkeys(("precision", "flops_per_second", "machine_fraction", "mode", "processor"), 2),
    "processor_throughput": 3,
}
BY_NAME = {metric.name: metric for metric in METRICS}
TIMINGS = frozenset(
    {
        "throughput",
        "processor_throughput",
        "flops_per_second",
        "machine_fraction",
        "train_seconds",
        "processor_seconds",
        "peak_memory_mib",
    }
)
TABLE = (
    "elbo",
    "reconstruction_error",
    "kl",
    "log_likelihood",
    "active_units",
    "gradient_variance",
    "throughput",
)


def inconsistency(row: Mapping[str, float | None]) -> str | None:
    """Why the row of an `ok` checkpoint can't be true, or None: the two identities of DESIGN section 2."""
    elbo, error, kl = row.get("elbo"), row.get("reconstruction_error"), row.get("kl")
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


def markdown() -> str:
    """The table of all columns for the README."""
    arrows = {"higher": " ↑", "lower": " ↓", "none": ""}
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    for column in COLUMNS:
        arrow = arrows[column.direction] if isinstance(column, Metric) else ""
        meaning = column.meaning.replace("|", "\\|")
        lines.append(f"| `{column.name}`{arrow} | {column.unit} | {meaning} |")
    return "\n".join(lines)
