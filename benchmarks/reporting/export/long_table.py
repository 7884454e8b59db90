"""Results as a long table: one value in a row, as plotting libraries read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.common.atomic_files import write_bytes
from benchmarks.reporting.metrics import METRICS

IDENTITY = ["cell_id", "protocol_id", "variant", "dataset", "seed", "epoch", "step", "status"]
UNITS = {metric.name: metric.unit for metric in METRICS}


def make_long_table(results: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each value of a metric, with its unit; missing values have none."""
    metrics = [name for name in UNITS if name in results]
    table = results.melt(IDENTITY, metrics, var_name="metric", value_name="value").dropna(subset="value")
    table.insert(len(IDENTITY) + 1, "unit", table["metric"].map(UNITS))
    return table.astype({"seed": "Int64", "epoch": "Int64", "step": "Int64"})


def write_long_table(results: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, make_long_table(results).to_csv(index=False, lineterminator="\n").encode())


def split_cells(results: pd.DataFrame) -> Iterator[tuple[pd.Series, pd.DataFrame]]:
    """Yield the first row of each cell, and the long table of its values; cells without values are left out."""
    for _, rows in results.groupby("cell_id", sort=False):
        values = make_long_table(rows.dropna(subset="step"))
        if not values.empty:
            yield rows.iloc[0], values


def read_time(row: pd.Series) -> float:
    """Return the time when the cell started, in seconds since 1970; 0 if it is unknown."""
    started = pd.to_datetime(row["started"], utc=True, errors="coerce")
    return 0.0 if pd.isna(started) else float(started.timestamp())
