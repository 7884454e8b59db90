"""Tables of the laboratory in markdown, for the documentation. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from benchmarks.laboratory.columns import COLUMNS, MEANINGS, UNITS
from benchmarks.laboratory.tables import chosen_rates, findings, nats, number, over_seeds
from benchmarks.statistics import geometric

CHECKPOINTS = ("initial", "early", "middle", "end")


def _markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sentences(table: pd.DataFrame) -> str:
    """The findings, a list."""
    return "\n".join(f"- {sentence}" for sentence in findings(table))


def exchange(table: pd.DataFrame) -> str:
    """Exchange rates of every estimator at the four checkpoints, with 95 % intervals over seeds."""
    rows = over_seeds(table[table["study"] == "training"], "exchange_rate")
    found = []
    for name, own in rows.groupby("variant", sort=False):
        at = own.set_index("checkpoint")
        cells = [number(at["value"][c], at["low"][c], at["high"][c]) + _dagger(at["flag"][c]) for c in CHECKPOINTS]
        found.append([f"`{name}`", at["objective"].iloc[0], f"{at['draws'].iloc[0]:.0f}", *cells])
    return _markdown(["variant", "objective", "draws", *CHECKPOINTS], found)


def _dagger(flag: str) -> str:
    return "†" if flag else ""


def parts(table: pd.DataFrame) -> str:
    """What one gradient at the initial weights and at the end consists of: geometric means over seeds."""
    rows = table[(table["study"] == "training") & (table["parameters"] == "encoder") & (table["layer"] == "")]
    head = ["variant", "checkpoint", "latent noise", "minibatch", "signal-to-noise", "cosine", "variance x passes"]
    found = []
    for (name, checkpoint), own in rows[rows["checkpoint"].isin(["initial", "end"])].groupby(
        ["variant", "checkpoint"], sort=False
    ):
        cells = [
            _middle(own, "variance", "latent"),
            _middle(own, "variance", "minibatch"),
            _signal(own),
            _mean(own, "cosine"),
            _middle(own, "variance_x_passes", "latent"),
        ]
        found.append([f"`{name}`", str(checkpoint), *cells])
    return _markdown(head, found)


def _values(own: pd.DataFrame, quantity: str, part: str = "latent") -> list[float]:
    chosen = own[(own["quantity"] == quantity) & (own["part"] == part) & own["seed"].notna()]
    values: list[float] = chosen["value"].dropna().tolist()
    return values


def _middle(own: pd.DataFrame, quantity: str, part: str) -> str:
    values = _values(own, quantity, part)
    return number(geometric(values).value) if values and min(values) > 0 else "0" if values else ""


def _mean(own: pd.DataFrame, quantity: str) -> str:
    values = _values(own, quantity)
    return f"{sum(values) / len(values):.3f}" if values else ""


def _signal(own: pd.DataFrame) -> str:
    """Below the floor nothing is claimed."""
    values, floor = _values(own, "snr"), _values(own, "snr_floor")
    if not values:
        return ""
    mean = sum(values) / len(values)
    return number(mean) if mean > floor[0] else f"< {floor[0]:.2g}"


def slopes(table: pd.DataFrame) -> str:
    """Exponents of the fitted power laws with 95 % intervals over seeds."""
    rows = over_seeds(table, "slope")
    columns = list(dict.fromkeys(zip(rows["study"], rows["part"], strict=True)))
    names = {"latent": "variance", "total": "variance", "snr": "signal-to-noise"}
    found = []
    for name, own in rows.groupby("variant", sort=False):
        at = {(r.study, r.part): number(r.value, r.low, r.high) for r in own.itertuples()}
        found.append([f"`{name}`", *(at.get(column, "") for column in columns)])
    return _markdown(["variant", *(f"{study}: {names[part]}" for study, part in columns)], found)


def trained(table: pd.DataFrame) -> str:
    """What was trained: variance times passes at the middle of the reference's training, and the ELBO by rate."""
    study = table[(table["study"] == "learning-rate") & (table["part"] == "test") & table["seed"].isna()]
    rates = sorted(study["setting_value"].unique())
    best = chosen_rates(table).set_index("variant")["setting_value"]
    training = table[(table["study"] == "training") & (table["checkpoint"] == "middle")]
    found = []
    for name, own in study.groupby("variant", sort=False):
        at = own.set_index("setting_value")
        work = _middle(training[training["variant"] == name], "variance_x_passes", "latent")
        cells = [_elbo(at, rate, rate == best.get(name)) for rate in rates]
        found.append([f"`{name}`", own["objective"].iloc[0], work, *cells])
    if not found:
        return ""
    return _markdown(["variant", "trained on", "variance x passes, middle", *(f"{rate:g}" for rate in rates)], found)


def _elbo(at: pd.DataFrame, rate: float, chosen: bool) -> str:
    """The rate that the validation split chooses is bold."""
    if rate not in at.index or pd.isna(at["value"][rate]):
        return "diverged" if rate in at.index else ""
    text = nats(at["value"][rate], at["low"][rate], at["high"][rate])
    return f"**{text}**" if chosen else text


def columns(table: pd.DataFrame) -> str:
    """Every column of gradients.csv, and every quantity with its unit."""
    rows = [[f"`{column.name}`", column.unit, column.meaning.replace("|", "\\|")] for column in COLUMNS]
    quantities = [[f"`{name}`", UNITS[name], meaning] for name, meaning in MEANINGS.items()]
    return (
        f"{_markdown(['column', 'unit', 'meaning'], rows)}\n\n{_markdown(['quantity', 'unit', 'meaning'], quantities)}"
    )


BLOCKS: dict[str, Callable[[pd.DataFrame], str]] = {
    "findings": sentences,
    "exchange": exchange,
    "parts": parts,
    "slopes": slopes,
    "trained": trained,
    "columns": columns,
}


def filled(text: str, table: pd.DataFrame) -> str:
    """The page with each block between its markers made anew: <!-- NAME --> ... <!-- end -->."""
    for name, make in BLOCKS.items():
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        if start:
            _, end, after = rest.partition("<!-- end -->")
            text = f"{before}{start}{make(table)}\n{end}{after}"
    return text
