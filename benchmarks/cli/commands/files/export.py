"""`export`: results in the formats of other tools."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

from benchmarks.cli import options
from benchmarks.cli.options import option
from benchmarks.common.errors import UserError, unknown

MLFLOW_SETTINGS = {  # no messages to its makers, and no minutes of waiting for a server
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
FORMATS = ("csv-long", "tensorboard", "mlflow")


def export(
    run: options.Run = "latest",
    to: Annotated[str, option("Write this format: csv-long, tensorboard or mlflow.", metavar="FORMAT")] = FORMATS[0],
    out: Annotated[
        str | None,
        option(
            "Write to this file (csv-long), folder (tensorboard), or store or server (mlflow).",
            "results-long.csv, tensorboard or mlflow.db in the run folder; for mlflow, MLFLOW_TRACKING_URI comes first",
            metavar="PATH",
        ),
    ] = None,
) -> None:
    """Write the results of a run for another tool: each metric of each cell at each checkpoint."""
    from benchmarks.reporting import results_table
    from benchmarks.reporting.export import long_table
    from benchmarks.runs import folders

    if to not in FORMATS:
        raise unknown("format", to, FORMATS)
    path = folders.find_results(run, Path("results"))
    results = results_table.read_results(path)
    if to == "csv-long":
        target = out or str(path.with_name("results-long.csv"))
        long_table.write_long_table(results, Path(target))
    elif to == "tensorboard":
        target = out or str(path.with_name("tensorboard"))
        if Path(target).exists():
            raise UserError(f"{target} exists, and TensorBoard would add the values to it; delete it, or give --out")
        _import("tensorboard", "tensorboard_events").write_events(results, Path(target))
    else:
        target = out or os.environ.get("MLFLOW_TRACKING_URI") or str(path.with_name("mlflow.db"))
        if "://" not in target:
            target = f"sqlite:///{Path(target).resolve()}"
        for name, value in MLFLOW_SETTINGS.items():
            os.environ.setdefault(name, value)
        module = _import("mlflow", "mlflow_runs")
        try:
            module.write_runs(results, target, path.resolve().parent.name)
        except module.MlflowException as error:
            raise UserError(f"--to mlflow: {' '.join(str(error).split())[:300]}; give another --out") from error
    print(target)


def _import(package: str, module: str) -> Any:
    try:
        return importlib.import_module(f"benchmarks.reporting.export.{module}")
    except ImportError as error:
        raise UserError(f"--to {package}: {error}; install it with pip install 'vaezoo[{package}]'") from error
