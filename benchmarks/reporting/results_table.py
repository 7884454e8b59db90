"""Define the columns of results.csv; write, read and check the file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.atomic_files import NAME_PATTERN, WORD_PATTERN, Record
from benchmarks.common.errors import UserError
from benchmarks.reporting.csv_tables import Column, Kind, read_table, write_table
from benchmarks.reporting.metrics import METRICS, find_inconsistency

FINISHED_STATUSES = ("ok", "diverged")
STATUSES = (*FINISHED_STATUSES, "failed", "timeout", "out-of-memory", "killed")
PATTERNS = {"name": NAME_PATTERN, "word": WORD_PATTERN}

IDENTITY = (
    Column("variant", "", "name of the variant in the registry", "name"),
    Column("dataset", "", "name of the data set", "name"),
    Column("seed", "", "seed of initial weights, order of examples, latent noise and dynamic binarization", "number"),
    Column("epoch", "epochs", "passes over the training data until this checkpoint; 0 is before training", "number"),
    Column("step", "steps", "optimizer steps until this checkpoint", "number"),
    Column(
        "status", "", "ok, diverged (loss, parameter or metric not finite), failed, timeout, out-of-memory or killed"
    ),
)

SETTINGS = (
    Column("train_seconds", "s", "time in optimizer steps until this checkpoint", "number"),
    Column("peak_memory_mib", "MiB", "largest resident memory of the cell's process until this checkpoint", "number"),
    Column("latent_dim", "count", "number of latent variables", "number"),
    Column("draws", "count", "latent draws per example and optimizer step", "number"),
    Column("batch_size", "examples", "examples per minibatch, in training and for gradient_variance", "number"),
    Column("learning_rate", "1", "learning rate; see schedule", "number"),
    Column("likelihood", "", "distribution p(x|z); empty if a plug-in fails before its model is built", "word"),
    Column("binarization", "", "dynamic (new pixels at each step), static (drawn once) or none"),
    Column(
        "preprocessing",
        "",
        "none; standardised: each dimension minus its mean, divided by its scale; dequantised(N): pixels of N "
        "levels plus uniform noise, new at each step",
    ),
    Column("held_out", "examples", "random part of the training split that is used for validation", "number"),
    Column("order", "", "order of training examples: shuffled (new in each epoch), or fixed as in the data"),
    Column("dimensions", "count", "numbers in one example", "number"),
    Column("architecture", "", "networks of encoder and decoder: mlp, mlp-2, conv, or one of a plug-in", "name"),
    Column("hidden", "", "widths of the encoder's hidden layers (of conv: channels), or none; reversed in the decoder"),
    Column("activation", "", "function after each hidden layer"),
    Column("initialisation", "", "distribution of initial weights: uniform, as in torch, or glorot"),
    Column("output_bias", "", "initial bias of the decoder's last layer: drawn, or data, so that E[x|z] is their mean"),
    Column("optimizer", "", "adam, rmsprop or centred-rmsprop, with the constants that differ from their defaults"),
    Column("schedule", "", "factor of the learning rate during training: constant, warm-up, cosine or piecewise"),
    Column("kl_schedule", "", "weight of the KL in the objective during training, in the same form"),
    Column("prior", "", "p(z): standard-normal or uniform, or learned-normal and others with trained parameters"),
    Column("free_bits", "nats", "smallest term of the KL for each latent in the training objective", "number"),
    Column("evaluation_draws", "count", "draws per test image for elbo and both reconstruction errors", "number"),
    Column("log_likelihood_draws", "count", "draws per test image for log_likelihood", "number"),
    Column("gradient_repeats", "count", "gradient estimates for gradient_variance", "number"),
    Column("threads", "count", "threads of the cell's process", "number"),
    Column("device", "", "cpu or cuda"),
    Column("precision", "", "number type of matrix products in training: float32 or bfloat16; others use float32"),
    Column("objective", "", "objective that training maximizes", "word"),
    Column("estimator", "", "estimator of the objective's gradient", "word"),
    Column("baseline", "", "baseline (control variate) of a score-function estimator", "word"),
    Column(
        "support", "", "values of a pixel that the likelihood allows: binary (0 or 1), unit (0 to 1) or real", "word"
    ),
    Column("posterior", "", "family of the approximate posterior q(z|x)", "word"),
)

PROVENANCE = (
    Column("started", "UTC", "start of the cell"),
    Column("ended", "UTC", "end of the cell"),
    Column("processor_seconds", "s", "processor time of the cell's process until this checkpoint", "number"),
    Column("processor", "", "name of the CPU"),
    Column("torch", "", "version of PyTorch", "label"),
    Column("mode", "", "execution of the training step: eager or compiled"),
    Column("commit", "", "commit of the code, with + and a hash if it has changes; without git a hash of it", "label"),
    Column(
        "plugin_source",
        "",
        "hash of a plug-in's source and of the modules that it imports outside of installed packages",
        "label",
    ),
    Column("plugin_repository", "", "repository of the plug-in file, or name of the installed package", "label"),
    Column("plugin_commit", "", "commit of that repository, + as in commit, or version of the package", "label"),
    Column("data_checksum", "", "SHA-256 of the decoded data, shortened"),
    Column("protocol_id", "", "hash of the variant's fields except the source, the data and the protocol"),
    Column("error", "", "error message, one line"),
    Column("cell_id", "", "hash of the variant's fields, the data, the protocol and the seed; names the files", "name"),
)

COLUMNS = (*IDENTITY, *METRICS, *SETTINGS, *PROVENANCE)
RESULT_COLUMNS = tuple(column.name for column in COLUMNS)
RESULT_KINDS: dict[str, Kind] = {column.name: getattr(column, "kind", "number") for column in COLUMNS}
ADDED_COLUMNS = {  # first schema version whose tables all have the column
    "validation_elbo": 2,
    **dict.fromkeys(("precision", "flops_per_second", "machine_fraction", "mode", "processor"), 2),
    "processor_throughput": 3,
    **dict.fromkeys(("plugin_source", "plugin_repository", "plugin_commit"), 4),
    **dict.fromkeys(("support", "posterior"), 4),
    **dict.fromkeys(("dimensions", "preprocessing", "architecture", "hidden", "activation"), 5),
    **dict.fromkeys(("initialisation", "output_bias", "optimizer", "schedule", "kl_schedule"), 5),
    **dict.fromkeys(("prior", "free_bits", "held_out"), 6),
    "order": 7,
}


def record_rows(record: Record) -> list[Record]:
    """Return the rows of results.csv of one cell, one for each checkpoint."""
    return [{**record["common"], **row} for row in record["rows"]]


def write_results(folder: Path, records: Iterable[Record]) -> None:
    """Write results.csv, sorted by variant, data set, seed and epoch, so that the order of cells has no effect."""
    rows = [row for record in records for row in record_rows(record)]
    order = {name: i for i, name in enumerate(dict.fromkeys(row["variant"] for row in rows))}

    def place(row: Record) -> tuple[int, str, int, float]:
        epoch = row.get("epoch")  # the row of a failed cell has no epoch
        return order[row["variant"]], row["dataset"], row["seed"], math.inf if epoch is None else epoch

    write_table(folder / "results.csv", RESULT_COLUMNS, sorted(rows, key=place))


def read_results(path: Path) -> pd.DataFrame:
    """Read a results.csv. Raises `UserError` if columns are missing or a row is invalid."""
    table = read_table(path, RESULT_KINDS, ADDED_COLUMNS)
    if table.empty:
        raise UserError(f"{path} has no rows, so there is nothing to show; finish the run, or give another run")
    for fault, rows in _find_faults(table).items():
        if rows.any():
            line = int(rows.to_numpy().argmax()) + 2
            raise UserError(f"{path}, line {line} {fault}; give a results.csv that was written by a run")
    return table


def list_absent(results: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Return the columns of which no complete checkpoint has a value; an older table, for example, lacks the column."""
    complete = results[results["status"] == "ok"]
    return [name for name in names if not complete.empty and complete[name].isna().all()]


def _find_faults(table: pd.DataFrame) -> dict[str, pd.Series]:
    required = ["variant", "dataset", "seed", "cell_id"]
    faults = {f"has no {' or '.join(required)}": table[required].isna().any(axis=1)}
    for name, kind in RESULT_KINDS.items():
        if kind in PATTERNS:
            is_valid = table[name].isna() | table[name].astype(str).str.fullmatch(PATTERNS[kind].pattern)
            faults[f"has a {name} with forbidden characters"] = ~is_valid
    checkpoint = ["dataset", "variant", "protocol_id", "seed", "epoch"]
    return faults | {
        f"has a status that is not one of {', '.join(STATUSES)}": ~table["status"].isin(STATUSES),
        "is ok but has no epoch": (table["status"] == "ok") & table["epoch"].isna(),
        "has a seed that is not a whole number": (table["seed"] % 1 != 0) | (table["seed"].abs() >= 2**53),
        "has a variance below 0": (table[["gradient_variance", "decoder_gradient_variance"]] < 0).any(axis=1),
        "repeats a checkpoint of a cell": table.duplicated(["cell_id", "epoch"]),
        "repeats a seed under another cell_id": table.duplicated(checkpoint),
        "comes after a later checkpoint of its cell": table["epoch"] < table.groupby("cell_id")["epoch"].cummax(),
    }


def find_contradictions(results: pd.DataFrame) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each row whose numbers contradict each other, with the reason."""
    names = ["elbo", "elbo_se", "reconstruction_error", "kl", "log_likelihood", "log_likelihood_se"]
    columns = ["variant", "dataset", "seed", "epoch", "support", *names]
    rows = results.loc[results["status"] == "ok", columns].astype(dict.fromkeys(names, float))
    for row in rows.to_dict("records"):
        numbers = {name: None if math.isnan(row[name]) else row[name] for name in names}
        reason = find_inconsistency({**numbers, "support": row["support"]})
        if reason:
            yield {str(name): value for name, value in row.items()}, reason
