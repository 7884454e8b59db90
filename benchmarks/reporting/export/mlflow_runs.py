"""Results as runs of MLflow: one for each cell, with its settings as parameters and its checkpoints as metrics."""

from __future__ import annotations

import logging

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException as MlflowException

from benchmarks.reporting.export.long_table import read_time, split_cells
from benchmarks.reporting.results_table import PROVENANCE, SETTINGS

BATCH = 500  # metrics in one request; MLflow accepts 1,000
MEASURED = ("train_seconds", "peak_memory_mib")  # settings that are no parameters
MILLISECONDS = 1000
MAX_RUNS = 50_000  # that MLflow returns


def write_runs(results: pd.DataFrame, uri: str, experiment: str) -> None:
    """Write the cells to an experiment of an MLflow server or store; cells that it has are left as they are."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    client = MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name(experiment)
    identifier = known.experiment_id if known else client.create_experiment(experiment)
    finished = client.search_runs([identifier], "attributes.status = 'FINISHED'", max_results=MAX_RUNS)
    finished_ids = {run.data.tags.get("cell_id") for run in finished}
    parameters = [column.name for column in SETTINGS if column.name not in MEASURED]
    tags = [column.name for column in PROVENANCE if column.name != "error"]
    for first, values in split_cells(results):
        if first["cell_id"] in finished_ids:
            continue
        start = int(read_time(first) * MILLISECONDS)
        name = f"{first['variant']} seed {first['seed']:.0f}"
        run = client.create_run(identifier, start_time=start, run_name=name).info.run_id
        names = ["variant", "dataset", "seed", *parameters]
        texts = {key: str(first[key]) for key in [*names, *tags] if not pd.isna(first[key])}
        client.log_batch(
            run,
            params=[Param(key, texts[key]) for key in names if key in texts],
            tags=[RunTag(key, texts[key]) for key in tags if key in texts],
        )
        metrics = [Metric(row.metric, row.value, start, int(row.step)) for row in values.itertuples()]
        for index in range(0, len(metrics), BATCH):
            client.log_batch(run, metrics=metrics[index : index + BATCH])
        client.set_terminated(run, end_time=start)
