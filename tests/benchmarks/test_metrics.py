"""The declarations: complete, and the README's table is made from them."""

from pathlib import Path

import pytest

from benchmarks.metrics import COLUMNS, METRICS, RESULT_COLUMNS, TABLE, inconsistency, markdown

GOOD = {"elbo": -110.0, "reconstruction_error": 85.0, "kl": 25.0, "elbo_se": 0.05, "log_likelihood": -105.0,
        "log_likelihood_se": 0.1}  # fmt: skip


def test_every_column_is_declared_once():
    assert len(set(RESULT_COLUMNS)) == len(RESULT_COLUMNS)
    assert set(TABLE) <= {metric.name for metric in METRICS}
    for column in COLUMNS:
        assert column.meaning, column.name


def test_the_columns_of_the_contract_are_there():
    contract = (
        "variant,dataset,seed,epoch,step,status,elbo,elbo_se,reconstruction_error,reconstruction_mse,kl,log_likelihood,"
        "log_likelihood_se,exact_log_likelihood,validation_elbo,active_units,gradient_variance,gradient_variance_se,"
        "decoder_gradient_variance,gradient_snr,throughput,train_seconds,peak_memory_mib,latent_dim,draws,batch_size,"
        "learning_rate,likelihood,binarization,evaluation_draws,log_likelihood_draws,gradient_repeats,threads,device,"
        "started,ended,processor_seconds,torch,commit,data_checksum,protocol_id,error,cell_id"
    )
    assert set(contract.split(",")) <= set(RESULT_COLUMNS)


def test_the_readmes_table_is_current():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert markdown() in readme, "paste the output of: python -c 'from benchmarks.metrics import *; print(markdown())'"


def test_a_consistent_row_passes():
    assert inconsistency(GOOD) is None
    assert inconsistency({"elbo": None, "reconstruction_error": 80.0, "kl": None}) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kl": 25.001}, "is not -"),
        ({"kl": float("nan")}, "is not -"),
        ({"log_likelihood": -111.0}, "exceeds"),
        ({"log_likelihood": float("nan")}, "exceeds"),
    ],
)
def test_a_row_that_contradicts_itself_is_found(change, reason):
    assert reason in inconsistency(GOOD | change)
