"""The contents of a page: the rows of a run, its variants and metrics, and three sentences that sum it up."""

from __future__ import annotations

import base64
import gzip
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from scipy.special import stdtrit

from benchmarks.common.atomic_files import Record
from benchmarks.common.seed_statistics import Interval
from benchmarks.reporting import formats, summaries
from benchmarks.reporting.descriptions import describe_variant
from benchmarks.reporting.figures import looks
from benchmarks.reporting.metrics import METRIC_BY_NAME, METRICS, TABLE_METRICS, Metric
from benchmarks.reporting.page.pictures import Pictures
from benchmarks.reporting.summaries import DrawsForOne, Summary

MAX_CELLS = 500  # curves of a run with more cells have quantiles over seeds
QUANTILES = {"minimum": 0, "lower quartile": 0.25, "median": 0.5, "upper quartile": 0.75, "maximum": 1}
INDECISIVE = frozenset({  # options that do not change the results of a seed
    "--all", "--executor", "--memory", "--name", "--out", "--scheduler", "--seeds", "--snapshot", "--timeout",
    "--workers",
})  # fmt: skip
ROW_COLUMNS = ("variant", "dataset", "seed", "epoch", "step", "status", "train_seconds", "batch_size", "draws")


@dataclass(frozen=True)
class Extras:
    """What a page can have beyond its run.

    laboratory: lines of the exchange rates by stage: variant, stage, value, low, high, text. stages: in their order.
    rates: draws for one, from the same studies. verdicts: a comparison with another run. published: values of papers:
    metric, variant, value, label.
    """

    laboratory: Sequence[Record] = ()
    stages: Sequence[str] = ()
    rates: DrawsForOne | None = None
    verdicts: Record | None = field(default=None)
    published: Sequence[Record] = ()


def collect_contents(
    results: pd.DataFrame, variants: Sequence[Summary], path: Path, pictures: Pictures, extras: Extras
) -> Record:
    """Return all that the scripts of the page read. variants: summaries over seeds. path: of results.csv."""
    used = [metric for metric in METRICS if results[metric.name].notna().any()]
    first_metric = "elbo" if results["elbo"].notna().any() else "reconstruction_error"
    table, quantiles = _encode_rows(results, path)
    rates = extras.rates or summaries.describe_draws_for_one(_first_dataset(results))
    return _describe_selection(results, path, extras) | {
        "first_metric": first_metric,
        "table_metrics": [name for name in TABLE_METRICS if name in {metric.name for metric in used}],
        "metrics": [
            {"name": m.name, "title": m.title, "unit": m.unit, "direction": m.direction, "scale": m.scale}
            | {"meaning": m.meaning, "decimals": m.decimals}
            for m in used
        ],
        "csv": table,
        "quantiles": quantiles,
        "t": {df: float(stdtrit(df, 0.975)) for df in range(1, results["seed"].nunique())},
        "hero": _list_hero_lines(results, variants, rates, first_metric),
        "hero_note": f"Draws for one: {rates.meaning}. Other numbers: median and range over seeds.",
        "hero_title": f"{METRIC_BY_NAME[first_metric].title}, {METRIC_BY_NAME[first_metric].unit}",
        "verdicts": sorted({verdict["verdict"] for verdict in (extras.verdicts or {"list": []})["list"]}),
        "pictured": [[name, list(by_seed)] for name, by_seed in pictures.items()],
    }


def collect_study_contents(table: pd.DataFrame, path: Path, extras: Extras) -> Record:
    """Return what the scripts of the page of gradient studies read: there are no rows, metrics and pictures."""
    is_variant = ~table["variant"].str.contains(" ")  # names of references have spaces
    empty: Record = {name: [] for name in ("table_metrics", "metrics", "quantiles", "pictured", "verdicts")}
    rows = {"csv": _compress(b"variant,dataset,seed,status\n"), "first_metric": "", "t": {}}
    return _describe_selection(table[is_variant], path, extras) | empty | rows


def _describe_selection(rows: pd.DataFrame, path: Path, extras: Extras) -> Record:
    """Return the variants with their looks, and the lines of gradient studies."""
    names = list(dict.fromkeys(rows["variant"]))
    return {
        "name": path.parent.name,
        "datasets": list(dict.fromkeys(rows["dataset"])),
        "variants": _describe_variants(rows),
        "families": looks.split_families(names),
        "story": looks.choose_story(names),
        "colours": looks.read_table()["estimators"],
        "laboratory": list(extras.laboratory),
        "stages": list(extras.stages),
        "published": list(extras.published),
    }


def describe_options(command: Sequence[str]) -> str:
    """Return the options that decide the results, as text with a space before each; without variants and seeds."""
    words = [part for word in command for part in word.split("=", 1)]
    pairs = [pair for pair in itertools.pairwise(words) if pair[0].startswith("--") and not pair[1].startswith("--")]
    return "".join(f" {name} {value}" for name, value in pairs if name not in INDECISIVE)


def _first_dataset(results: pd.DataFrame) -> pd.DataFrame:
    return results[results["dataset"] == results["dataset"].iloc[0]]


def _describe_variants(results: pd.DataFrame) -> Record:
    fields = ["objective", "estimator", "baseline"]
    first = results.drop_duplicates("variant").set_index("variant")[[*fields, "draws"]]
    colours = looks.assign_looks(list(first.index))
    first[fields] = first[fields].astype(object).fillna("").astype(str)
    first["draws"] = first["draws"].fillna(1).astype(int)
    return {
        str(row.Index): {
            "color": colours[str(row.Index)]["color"],
            "how": describe_variant(row.objective, row.estimator, row.baseline, row.draws),
        }
        for row in first.itertuples()
    }


def _encode_rows(results: pd.DataFrame, path: Path) -> tuple[str, list[str]]:
    """Return the rows as compressed CSV, and the names of the quantiles that stand for seeds.

    The rows are the file's bytes. Of a run with many cells they are quantiles over seeds, and each seed's last row.
    """
    if results["cell_id"].nunique() <= MAX_CELLS:
        return _compress(path.read_bytes()), []
    metrics = [metric.name for metric in METRICS if results[metric.name].notna().any()]
    columns = [*ROW_COLUMNS, *metrics]
    keys = ["variant", "dataset", "epoch"]
    grouped = results[results["status"] == "ok"].groupby(keys, sort=False)
    numbers = ["step", "train_seconds", "batch_size", "draws", *metrics]
    parts = [
        grouped[numbers].quantile(share).reset_index().assign(seed=name, status="ok")
        for name, share in QUANTILES.items()
    ]
    last = results.groupby("cell_id", sort=False).tail(1)
    return _compress(pd.concat([*parts, last])[columns].to_csv(index=False).encode(errors="backslashreplace")), list(
        QUANTILES
    )


def _compress(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _list_hero_lines(
    results: pd.DataFrame, variants: Sequence[Summary], rates: DrawsForOne, metric: str
) -> list[Record]:
    names = list(dict.fromkeys(results["variant"]))
    by_name = {s.variant: s for s in variants if s.dataset == results["dataset"].iloc[0]}
    descriptions = _describe_variants(results)
    story = looks.choose_story(names)
    return [
        {
            "variant": name,
            "how": descriptions[name]["how"],
            "draws": rates.texts.get(name, ""),
            "value": formats.format_number(METRIC_BY_NAME[metric], by_name[name].metrics[metric].median),
            "range": _format_range(METRIC_BY_NAME[metric], by_name[name].metrics[metric]),
        }
        for name in [*story, *(name for name in names if name not in story)]
        if name in by_name
    ]


def _format_range(metric: Metric, interval: Interval) -> str:
    """Return minimum and maximum over seeds; empty without values."""
    ends = [formats.format_number(metric, end) for end in (interval.min, interval.max)]
    return " to ".join(ends) if interval.n else ""
