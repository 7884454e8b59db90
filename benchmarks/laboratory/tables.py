"""gradients.csv from the probes' records, what is over all seeds, and the findings in words. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from benchmarks.csvs import numbers, read_table, write_table
from benchmarks.errors import UserError
from benchmarks.files import Record
from benchmarks.laboratory.columns import BEST, BEST_AT_EDGE, NAMES, UNITS, Row
from benchmarks.statistics import geometric, slope, t_half_width

FILE = "gradients.csv"
WHO = ["variant", "objective", "estimator", "baseline"]
WHERE = ["study", "dataset", "checkpoint", "setting"]
NUMBERS = (
    *("seed", "draws", "batch_size", "latent_dim", "setting_value", "value", "se", "low", "high"),
    *("repeats", "kurtosis", "passes", "seconds"),
)
EXCHANGE = ("exchange_rate", "exchange_rate_seconds")
SLOPES = {
    "latent-dim": (("variance", "latent"),),
    "draws": (("variance", "latent"), ("snr", "latent")),
    "batch-size": (("variance", "total"),),
    "posterior-scale": (("variance", "latent"),),
}


def write(folder: Path, records: Iterable[Record]) -> None:
    """gradients.csv: the rows of every probe that ended well, then what is over all seeds."""
    rows = [row for record in records if record["status"] == "ok" for row in record["rows"]]
    rows.sort(key=lambda row: (row["study"], math.inf if row["seed"] is None else row["seed"]))
    if not rows:
        return
    table = frame(rows)
    whole = [*rows, *_over_seeds(table), *_slopes(table)]
    write_table(folder / FILE, NAMES, whole)


def frame(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a table with every column; absent words are empty, absent numbers NaN."""
    table = pd.DataFrame(list(rows), columns=list(NAMES))
    text = [name for name in NAMES if name not in NUMBERS]
    return table.assign(
        **{name: table[name].astype(object).where(table[name].notna(), "").astype(str) for name in text},
        **{name: numbers(table[name]) for name in NUMBERS},
    )


def read(path: Path) -> pd.DataFrame:
    """A gradients.csv as a table, or a `UserError` where it is none."""
    found = read_table(path, NAMES, {}, [name for name in NAMES if name not in NUMBERS])
    try:
        blank = (found[["study", "dataset", "quantity", "variant"]].fillna("") == "").any(axis=1)
        if blank.any():
            line = int(blank.to_numpy().argmax()) + 2
            raise UserError(
                f"{path}, line {line} has no study, data set, quantity or variant; "
                "give a gradients.csv as it was written"
            )
        return frame(found.to_dict("records"))
    except ValueError as error:
        raise UserError(f"can't read {path}: {' '.join(str(error).split())}; is it whole?") from error


def _over_seeds(table: pd.DataFrame) -> Iterator[Row]:
    """Exchange rates: the geometric mean over seeds with a t-interval of the logarithms."""
    chosen = table[table["quantity"].isin(EXCHANGE) & (table["value"] > 0)]
    keys = [
        *WHERE,
        "setting_value",
        *WHO,
        "draws",
        "batch_size",
        "latent_dim",
        "parameters",
        "part",
        "quantity",
        "unit",
    ]
    for key, group in chosen.groupby(keys, sort=False, dropna=False):
        if len(group) < 2:
            continue
        ratio = geometric(group["value"].tolist())
        flag = next((flag for flag in group["flag"] if flag), "")
        found = {"value": ratio.value, "low": ratio.low, "high": ratio.high, "kurtosis": group["kurtosis"].max()}
        yield dict(zip(keys, key, strict=True)) | found | {"flag": flag, "passes": group["passes"].iloc[0]}


def _slopes(table: pd.DataFrame) -> Iterator[Row]:
    """Exponents of power laws in the setting: of each seed, and their mean with a t-interval."""
    for study, wanted in SLOPES.items():
        for quantity, part in wanted:
            rows = table[(table["study"] == study) & (table["quantity"] == quantity) & (table["part"] == part)]
            rows = rows[(rows["parameters"] == "encoder") & (rows["layer"] == "") & (rows["value"] > 0)]
            for key, group in rows.groupby([*WHERE, *WHO], sort=False):
                yield from _slope_rows(dict(zip([*WHERE, *WHO], key, strict=True)), group, quantity, part)


def _slope_rows(common: Row, group: pd.DataFrame, quantity: str, part: str) -> Iterator[Row]:
    common = common | {"parameters": "encoder", "part": part if quantity == "variance" else quantity}
    common |= {"quantity": "slope", "unit": UNITS["slope"]}
    values = []
    for seed, own in group.groupby("seed"):
        if len(own) >= 2:
            found = slope(own["setting_value"].tolist(), own["value"].tolist())
            values.append(found.value)
            yield common | {"seed": seed, "value": found.value, "low": found.low, "high": found.high}
    if len(values) >= 2:
        mean, half = sum(values) / len(values), t_half_width(values)
        yield common | {"value": mean, "low": mean - half, "high": mean + half}


def over_seeds(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Rows of one quantity over all seeds; of the one seed where there is no other."""
    rows = table[table["quantity"] == quantity]
    whole = rows[rows["seed"].isna()]
    return whole if len(whole) else rows


def findings(table: pd.DataFrame) -> list[str]:
    """What was found, a sentence each; numbers with their 95 % intervals."""
    return [*_exchange_sentences(table), *_bias_sentences(table), *_crossing(table), *_trained_sentences(table)]


def _exchange_sentences(table: pd.DataFrame) -> Iterator[str]:
    rows = over_seeds(table[table["study"] == "training"], "exchange_rate")
    rows = rows[(rows["estimator"] == "score_function") & (rows["objective"] == "elbo")]
    for (dataset, baseline), own in rows.groupby(["dataset", "baseline"], sort=False):
        own = own[own["draws"] == own["draws"].min()]
        parts = [f"{number(row.value, row.low, row.high)} ({row.checkpoint})" for row in own.itertuples()]
        flagged = ", heavy tails where flagged" if (own["flag"] != "").any() else ""
        yield (
            f"{dataset}: to match the gradient variance of one reparameterized draw, average so many draws of "
            f"REINFORCE with baseline {baseline}: {'; '.join(parts)}{flagged}."
        )


def _bias_sentences(table: pd.DataFrame) -> Iterator[str]:
    rows = table[(table["quantity"] == "bias_z") & (table["study"] == "training")]
    if rows.empty:
        return
    worst = rows.groupby("variant", sort=False)["value"].max()
    biased = [f"{name} (z up to {z:,.0f})" for name, z in worst.items() if z > 5]
    others = worst[worst <= 5]
    rest = f"; z is at most {others.max():.1f} elsewhere" if len(others) else ""
    yield f"bias against pathwise gradients is found in {', '.join(biased) or 'no variant'}{rest}."


def _crossing(table: pd.DataFrame) -> Iterator[str]:
    rows = table[(table["study"] == "counter-example") & (table["quantity"] == "variance")]
    own = rows[rows["variant"] == "closed form"].drop_duplicates(["estimator", "setting_value"])
    wide = own.pivot(index="setting_value", columns="estimator", values="value")
    if {"pathwise", "score_function"} <= set(wide.columns):
        wins = wide.index[wide["score_function"] < wide["pathwise"]]
        if len(wins):
            last = wide.loc[wins[-1]]
            yield (
                f"counter-example: for f(z) = cos(kz) the score function has the lower variance from k = {wins[0]:g} "
                f"on; at k = {wins[-1]:g} {number(last['score_function'])} against {number(last['pathwise'])}."
            )


def chosen_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Test ELBO of each variant at the learning rate that the validation split chooses: median over seeds, range."""
    rows = table[(table["study"] == "learning-rate") & (table["part"] == "test") & (table["seed"].isna())]
    rates = table[(table["study"] == "learning-rate") & (table["part"] == "validation") & table["seed"].isna()]
    best = rates[rates["flag"].str.startswith(BEST)].set_index("variant")["setting_value"]
    return rows[rows["setting_value"] == rows["variant"].map(best)]


def _trained_sentences(table: pd.DataFrame) -> Iterator[str]:
    """Whether a lower variance buys a better model, each estimator of the ELBO at its own best learning rate."""
    rows = chosen_rates(table)
    for dataset, own in rows[rows["objective"] == "elbo"].groupby("dataset", sort=False):
        ranked = own.sort_values("value", ascending=False)
        edge = {BEST_AT_EDGE: ", the edge of those tried"}
        parts = [
            f"{row.variant} {nats(row.value, row.low, row.high)} ({row.setting_value:g}{edge.get(row.flag, '')})"
            for row in ranked.itertuples()
        ]
        what = "test ELBO at each estimator's own best learning rate, median and range over seeds"
        yield f"{dataset}: {what}: {'; '.join(parts)}."


def nats(value: float, low: float, high: float) -> str:
    """One decimal, with a range."""
    return f"{value:,.1f} [{low:,.1f}, {high:,.1f}]"


def number(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """Three digits, with an interval where there is one."""
    if math.isnan(low) or math.isnan(high):
        return _digits(value)
    return f"{_digits(value)} [{_digits(low)}, {_digits(high)}]"


def _digits(value: float) -> str:
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 1e7 or abs(value) < 1e-3:
        return f"{value:.2e}"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{float(f'{value:.3g}'):,.{decimals}f}"
