"""One row a metric and accepted baseline, so that what changes slowly shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.csvs import numbers, read_table, write_table
from benchmarks.errors import UserError
from benchmarks.files import Record
from benchmarks.formats import decimal
from benchmarks.metrics import BY_NAME, METRICS, Metric
from benchmarks.regressions.comparison import COMPARED, TINY, by_seed
from benchmarks.regressions.groups import groups
from benchmarks.regressions.speed import GATING
from benchmarks.statistics import interval

FILE = "history.csv"
COLUMNS = (
    "started", "commit", "torch", "processor", "dataset", "variant", "protocol_id", "metric", "unit", "scale", "seeds",
    "lost", "mean", "half_width", "median", "min", "max",
)  # fmt: skip
WORDS = ("started", "commit", "torch", "processor", "dataset", "variant", "protocol_id", "metric", "unit", "scale")
LEAST = math.log(TINY) + 1  # the logarithm of what is 0 in every seed
SPEED = tuple(metric.name for metric in GATING)
USUAL = ("elbo", "gradient_variance", "processor_throughput")
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


def with_new(path: Path, new: Sequence[Record]) -> list[Record]:
    """The rows of the file and these, in the place of those of the same commit and protocol."""
    old = read(path).to_dict("records") if path.is_file() else []
    again = {(row["commit"], row["protocol_id"]) for row in new}
    kept = [
        {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in old
        if (row["commit"], row["protocol_id"]) not in again
    ]
    return [*kept, *new]


def write(path: Path, rows: Sequence[Record]) -> None:
    """The file anew."""
    write_table(path, COLUMNS, rows)


def read(path: Path) -> pd.DataFrame:
    """The table, or a `UserError` where it is none."""
    table = read_table(path, COLUMNS, {}, WORDS)
    for name in (name for name in COLUMNS if name not in WORDS):
        values = numbers(table[name])
        wrong = table.index[values.isna() & table[name].notna()]
        if len(wrong):
            raise UserError(f"{path}, line {wrong[0] + 2}: {name} is {table[name][wrong[0]]}, which is no number")
        table[name] = values
    return table


def of_runs(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of several results.csv, oldest first."""
    found = [row for results in runs for row in rows(results)]
    return pd.DataFrame(found, columns=list(COLUMNS)).sort_values("started", kind="stable", ignore_index=True)


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """Of each data set and variant the rows of its latest protocol: others are no history of it."""
    latest = table.groupby(["dataset", "variant"])["protocol_id"].transform("last")
    return table[table["protocol_id"] == latest].reset_index(drop=True)


def render(table: pd.DataFrame, names: Sequence[str]) -> str:
    """For each data set and metric: a line a variant, a column a run; mean and 95 % half-width over seeds."""
    blocks = [
        _block(str(dataset), BY_NAME[name], own[own["metric"] == name])
        for dataset, own in table.groupby("dataset", sort=False)
        for name in names
        if (own["metric"] == name).any()
    ]
    return "\n\n".join(blocks)


def _block(dataset: str, metric: Metric, table: pd.DataFrame) -> str:
    moments = list(dict.fromkeys(zip(table["started"], table["commit"], strict=True)))
    when, which = zip(*(label(*moment) for moment in moments), strict=True)
    lines = [["", *when], ["variant", *which]]
    for variant, own in table.groupby("variant", sort=False):
        cells = {(r["started"], r["commit"]): _cell(metric, r) for r in own.to_dict("records")}
        lines.append([str(variant), *(cells.get(moment, "") for moment in moments)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    logs = ", natural logarithm" if metric.scale == "log" else ""
    head = f"{dataset}: {metric.title}{logs} ({metric.unit}; mean ± 95 % half-width over seeds)"
    texts = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([head, *texts])


def label(started: object, commit: object) -> tuple[str, str]:
    """When and of which code a run is, shortened; a + where some of it was not committed."""
    head, plus, _ = str(commit).partition("+")
    return str(started)[:16].replace("T", " "), head[:8] + plus


def _cell(metric: Metric, row: Record) -> str:
    if metric.scale == "log" and row["mean"] <= LEAST:
        return "variance 0"
    digits = 2 if metric.scale == "log" else max(metric.decimals, 3 if metric.unit == "1" else 0)
    half = "" if math.isnan(row["half_width"]) else f" ± {decimal(row['half_width'], digits)}"
    lost = f" ({row['lost']:.0f} lost)" if row["lost"] else ""
    return f"{decimal(row['mean'], digits)}{half}{lost}"
