"""history.csv: one row per metric, variant and reference run, to find slow changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.common.atomic_files import Record
from benchmarks.common.seed_statistics import summarize_values
from benchmarks.comparison.run_comparison import COMPARED_METRICS, SMALLEST_VALUE, get_scaled_values
from benchmarks.comparison.run_groups import group_results
from benchmarks.comparison.speed import GATING_SPEED_METRICS
from benchmarks.reporting.csv_tables import Kind, read_table
from benchmarks.reporting.formats import format_decimal, text_table
from benchmarks.reporting.metrics import METRIC_BY_NAME, METRICS, Metric

HISTORY_FILE = "history.csv"
HISTORY_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("started", "commit", "torch", "processor", "dataset", "variant", "protocol_id"), "text"),
    "plugin_commit": "text",
    **dict.fromkeys(("metric", "unit", "scale"), "text"),
    **dict.fromkeys(("dimensions", "seeds", "lost", "mean", "half_width", "median", "min", "max"), "unbounded"),
}
ADDED_COLUMNS = {"plugin_commit": 4, "dimensions": 5}  # schema version that introduced the column
IDENTITY = ("commit", "plugin_commit", "protocol_id")  # equal in the rows that a new run replaces
LOG_OF_ZERO = math.log(SMALLEST_VALUE) + 1  # means below it are shown as variance 0
SPEED_NAMES = tuple(metric.name for metric in GATING_SPEED_METRICS)
DEFAULT_METRICS = ("elbo", "gradient_variance", "processor_throughput")
HISTORY_METRICS = (*COMPARED_METRICS, *(metric for metric in METRICS if metric.name in SPEED_NAMES))


def make_rows(results: pd.DataFrame) -> Iterator[Record]:
    """Yield the rows of a run: each compared metric at its checkpoint, over the complete cells.

    If the scale is "log", mean and half-width are those of the natural logarithm.
    """
    first_rows = results.drop_duplicates(["dataset", "variant"]).set_index(["dataset", "variant"])
    for key, group in group_results(results).items():
        first = first_rows.loc[key]
        for metric in HISTORY_METRICS:
            values = list(get_scaled_values(group, metric).values())
            if not values:
                continue
            interval = summarize_values(values)
            yield {
                "started": results["started"].min(),
                **{name: first[name] for name in ("commit", "torch", "processor", "protocol_id", "plugin_commit")},
                "dataset": key[0],
                "dimensions": group.settings.get("dimensions"),
                "variant": key[1],
                "metric": metric.name,
                "unit": metric.unit,
                "scale": metric.scale,
                "seeds": len(values),
                "lost": group.cells - len(values),
                **{name: getattr(interval, name) for name in ("mean", "half_width", "median", "min", "max")},
            }


def merge_history(path: Path, new: Sequence[Record]) -> list[Record]:
    """Return the rows of the file and the new ones, which replace rows of the same commits and protocol."""
    old = read_history(path).to_dict("records") if path.is_file() else []
    replaced = {_identify(row) for row in new}
    return [*(row for row in old if _identify(row) not in replaced), *new]


def _identify(row: Record) -> tuple[str, ...]:
    return tuple("" if row[name] != row[name] else row[name] for name in IDENTITY)  # older tables have NaN


def read_history(path: Path) -> pd.DataFrame:
    """Read a history.csv; raise `UserError` if it is invalid."""
    return read_table(path, HISTORY_KINDS, ADDED_COLUMNS)


def build_history(runs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the history of several runs, oldest first."""
    rows = [row for results in runs for row in make_rows(results)]
    return pd.DataFrame(rows, columns=list(HISTORY_KINDS)).sort_values("started", kind="stable", ignore_index=True)


def keep_latest_protocol(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of each variant's latest protocol; rows of other protocols are not comparable."""
    latest = table.groupby(["dataset", "variant"])["protocol_id"].transform("last")
    return table[table["protocol_id"] == latest].reset_index(drop=True)


def render_history(table: pd.DataFrame, names: Sequence[str]) -> str:
    """Return a table for each data set and metric: variants by runs; mean ± 95 % half-width over seeds."""
    blocks = [
        _render_metric(str(dataset), METRIC_BY_NAME[name], rows[rows["metric"] == name])
        for dataset, rows in table.groupby("dataset", sort=False)
        for name in names
        if (rows["metric"] == name).any()
    ]
    return "\n\n".join(blocks)


def _render_metric(dataset: str, metric: Metric, table: pd.DataFrame) -> str:
    runs = list(dict.fromkeys(zip(table["started"], table["commit"], strict=True)))
    header = ["variant", *("\n".join(format_run_label(*run)) for run in runs)]
    rows = []
    for variant, variant_rows in table.groupby("variant", sort=False):
        texts = {(r["started"], r["commit"]): _format_mean(metric, r) for r in variant_rows.to_dict("records")}
        rows.append([str(variant), *(texts.get(run, "") for run in runs)])
    logarithm = ", natural logarithm" if metric.scale == "log" else ""
    title = f"{dataset}: {metric.title}{logarithm} ({metric.unit}; mean ± 95 % half-width over seeds)"
    return f"{title}\n{text_table(header, rows)}"


def format_run_label(started: object, commit: object) -> tuple[str, str]:
    """Return the start time and the short commit of a run; a + marks code with uncommitted changes."""
    head, plus, _ = str(commit).partition("+")
    return str(started)[:16].replace("T", " "), head[:8] + plus


def _format_mean(metric: Metric, row: Record) -> str:
    if metric.scale == "log" and row["mean"] <= LOG_OF_ZERO:
        return "variance 0"
    digits = 2 if metric.scale == "log" else max(metric.decimals, 3 if metric.unit == "1" else 0)
    half = "" if math.isnan(row["half_width"]) else f" ± {format_decimal(row['half_width'], digits)}"
    lost = f" ({row['lost']:.0f} lost)" if row["lost"] else ""
    return f"{format_decimal(row['mean'], digits)}{half}{lost}"
