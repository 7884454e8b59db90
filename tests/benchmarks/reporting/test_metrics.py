"""Definitions of metrics and columns, and the consistency check of a row."""

import pytest

from benchmarks.reporting.metrics import METRICS, NATS, TABLE_METRICS, find_inconsistency
from benchmarks.reporting.results_table import COLUMNS, RESULT_COLUMNS

CONSISTENT = {"elbo": -110.0, "reconstruction_error": 85.0, "kl": 25.0, "elbo_se": 0.05, "log_likelihood": -105.0,
        "log_likelihood_se": 0.1}  # fmt: skip


def test_only_tolerances_in_nats_are_smaller_for_small_data():
    for metric in METRICS:
        on_digits = metric.tolerance_on("digits")
        assert (
            on_digits < metric.tolerance if metric.tolerance and metric.unit == NATS else on_digits == metric.tolerance
        )
        assert metric.tolerance_on("mnist5k") == metric.tolerance


def test_every_column_is_declared_once():
    assert len(set(RESULT_COLUMNS)) == len(RESULT_COLUMNS)
    assert set(TABLE_METRICS) <= {metric.name for metric in METRICS}
    for column in COLUMNS:
        assert column.meaning, column.name


def test_results_have_all_documented_columns():
    documented = (
        "variant,dataset,seed,epoch,step,status,elbo,elbo_se,reconstruction_error,reconstruction_mse,kl,log_likelihood,"
        "log_likelihood_se,exact_log_likelihood,validation_elbo,active_units,gradient_variance,gradient_variance_se,"
        "decoder_gradient_variance,gradient_snr,throughput,train_seconds,peak_memory_mib,latent_dim,draws,batch_size,"
        "learning_rate,likelihood,binarization,evaluation_draws,log_likelihood_draws,gradient_repeats,threads,device,"
        "started,ended,processor_seconds,torch,commit,data_checksum,protocol_id,error,cell_id"
    )
    assert set(documented.split(",")) <= set(RESULT_COLUMNS)


def test_a_consistent_row_passes():
    assert find_inconsistency(CONSISTENT) is None
    assert find_inconsistency({"elbo": None, "reconstruction_error": 80.0, "kl": None}) is None
    assert find_inconsistency({"support": "real", "elbo": None, "reconstruction_error": -80.0, "kl": None}) is None


def test_a_bound_may_be_exceeded_by_five_standard_errors():
    """Of the difference of elbo and log_likelihood, and a thousandth for rounding."""
    slack = 5 * (0.05**2 + 0.1**2) ** 0.5 + 1e-3
    for factor, reason in ((0.99, type(None)), (1.01, str)):
        assert isinstance(find_inconsistency(CONSISTENT | {"log_likelihood": -110.0 - factor * slack}), reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kl": 25.001}, "is not -"),
        ({"kl": float("nan")}, "is not -"),
        ({"log_likelihood": -111.0}, "exceeds"),
        ({"log_likelihood": float("nan")}, "exceeds"),
        (
            {"support": "binary", "elbo": 15.0, "reconstruction_error": -40.0},
            "probabilities of binary pixels are at most 1",
        ),
    ],
)
def test_an_inconsistent_row_is_found(change, reason):
    assert reason in find_inconsistency(CONSISTENT | change)
