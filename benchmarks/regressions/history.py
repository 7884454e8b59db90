"""One row a metric and accepted baseline, so that what changes slowly shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.csvs import read_table, write_table
from benchmarks.files import Record
from benchmarks.metrics import METRICS
from benchmarks.regressions.comparison import COMPARED, by_seed
from benchmarks.regressions.groups import groups
from benchmarks.statistics import interval

FILE = "history.csv"
COLUMNS = (
    "started", "commit", "torch", "processor", "dataset", "variant", "protocol_id", "metric", "unit", "scale", "seeds",
    "lost", "mean", "half_width", "median", "min", "max",
)  # fmt: skip
WORDS = ("started", "commit", "torch", "processor", "dataset", "variant", "protocol_id", "metric", "unit", "scale")
SPEED = ("machine_fraction", "throughput")
SHOWN = (*COMPARED, *(metric for metric in METRICS if metric.name in SPEED))


def rows(results: pd.DataFrame) -> Iterator[Record]:
    """Of a run: each metric that is compared, at the checkpoint where it is, over the seeds that are whole.

    Where the scale is log, mean and half-width are those of the natural logarithm.
    """
    about = results.drop_duplicates(["dataset", "variant"]).set_index(["dataset", "variant"])
    for key, group in groups(results).items():
        first = about.loc[key]
        for metric in SHOWN:
            found = list(by_seed(group, metric).values())
            if not found:
                continue
            i = interval(found)
            yield {
                "started": results["started"].min(),
                **{name: first[name] for name in ("commit", "torch", "processor", "protocol_id")},
                "dataset": key[0],
                "variant": key[1],
                "metric": metric.name,
                "unit": metric.unit,
                "scale": metric.scale,
                "seeds": len(found),
                "lost": group.cells - len(found),
                **{name: getattr(i, name) for name in ("mean", "half_width", "median", "min", "max")},
            }


def append(path: Path, new: Sequence[Record]) -> None:
    """Add the rows, in the place of those of the same commit and protocol."""
    old = read(path).to_dict("records") if path.is_file() else []
    again = {(row["commit"], row["protocol_id"]) for row in new}
    kept = [
        {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in old
        if (row["commit"], row["protocol_id"]) not in again
    ]
    write_table(path, COLUMNS, [*kept, *new])


def read(path: Path) -> pd.DataFrame:
    """The table."""
    return read_table(path, COLUMNS, {}, WORDS)
