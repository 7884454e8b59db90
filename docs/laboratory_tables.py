"""Tables of the gradient studies in Markdown, for the documentation."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from benchmarks.common.seed_statistics import geometric_mean
from benchmarks.gradient_studies.columns import CHECKPOINTS, COLUMNS, MEANINGS, UNITS
from benchmarks.gradient_studies.report import panels, tables
from benchmarks.gradient_studies.report.discrete import selections
from benchmarks.gradient_studies.report.findings import list_findings
from benchmarks.reporting.formats import markdown_table


def exchange_markdown(table: pd.DataFrame) -> str:
    """Return the exchange rates of all variants at the four checkpoints, with 95 % intervals over seeds."""
    rows = tables.select_over_seeds(table[table["study"] == "training"], "exchange_rate")
    lines = []
    for name, rates in rows.groupby("variant", sort=False):
        by_checkpoint = rates.set_index("checkpoint").loc[list(CHECKPOINTS)]
        texts = [
            tables.format_digits(row.value, row.low, row.high) + ("†" if row.flag else "")
            for row in by_checkpoint.itertuples()
        ]
        lines.append([f"`{name}`", rates["objective"].iloc[0], f"{rates['draws'].iloc[0]:.0f}", *texts])
    return markdown_table(["variant", "objective", "draws", *CHECKPOINTS], lines)


def parts_markdown(table: pd.DataFrame) -> str:
    """Return variance, signal-to-noise ratio and cosine at the initial weights and at the end, means over seeds."""
    rows = table[(table["study"] == "training") & (table["parameters"] == "encoder") & (table["layer"] == "")]
    rows = rows[rows["checkpoint"].isin(["initial", "end"])]
    lines = []
    for (name, checkpoint), group in rows.groupby(["variant", "checkpoint"], sort=False):
        cosines, ratios, floors = (_list_values(group, quantity) for quantity in ("cosine", "snr", "snr_floor"))
        lines.append(
            [
                f"`{name}`",
                str(checkpoint),
                _format_geometric_mean(_list_values(group, "variance")),
                _format_geometric_mean(_list_values(group, "variance", "minibatch")),
                _format_ratio(sum(ratios) / len(ratios), floors[0]) if ratios else "",
                f"{sum(cosines) / len(cosines):.3f}" if cosines else "",
                _format_geometric_mean(_list_values(group, "variance_x_passes")),
            ]
        )
    head = ["variant", "checkpoint", "latent noise", "minibatch", "signal-to-noise", "cosine", "variance x passes"]
    return markdown_table(head, lines)


def _list_values(rows: pd.DataFrame, quantity: str, part: str = "latent") -> list[float]:
    by_seed = rows[(rows["quantity"] == quantity) & (rows["part"] == part) & rows["seed"].notna()]
    values: list[float] = by_seed["value"].dropna().tolist()
    return values


def _format_geometric_mean(values: list[float]) -> str:
    if values and min(values) > 0:
        return tables.format_digits(geometric_mean(values).value)
    return "0" if values else ""


def _format_ratio(value: float, floor: float) -> str:
    return tables.format_digits(value) if value > floor else f"< {floor:.2g}"


def slopes_markdown(table: pd.DataFrame) -> str:
    """Return the exponents of the fitted power laws with 95 % intervals over seeds."""
    rows = tables.select_over_seeds(table, "slope")
    columns = list(dict.fromkeys(zip(rows["study"], rows["part"], strict=True)))
    names = {"latent": "variance", "total": "variance", "snr": "signal-to-noise"}
    lines = []
    for name, slopes in rows.groupby("variant", sort=False):
        texts = {(r.study, r.part): tables.format_digits(r.value, r.low, r.high) for r in slopes.itertuples()}
        lines.append([f"`{name}`", *(texts.get(column, "") for column in columns)])
    return markdown_table(["variant", *(f"{study}: {names[part]}" for study, part in columns)], lines)


def trained_markdown(table: pd.DataFrame) -> str:
    """Return variance times passes at the middle of the reference model's training, and test ELBO by learning rate."""
    study = table[(table["study"] == "learning-rate") & (table["part"] == "test") & table["seed"].isna()]
    rates = sorted(study["setting_value"].unique())
    best = tables.select_best_rates(table).set_index("variant")["setting_value"]
    training = table[(table["study"] == "training") & (table["checkpoint"] == "middle")]
    lines = []
    for name, elbos in study.groupby("variant", sort=False):
        by_rate = elbos.set_index("setting_value")
        work = _format_geometric_mean(_list_values(training[training["variant"] == name], "variance_x_passes"))
        texts = [_format_elbo(by_rate, rate, rate == best.get(name)) for rate in rates]
        lines.append([f"`{name}`", elbos["objective"].iloc[0], work, *texts])
    return markdown_table(["variant", "trained on", "variance x passes, middle", *(f"{r:g}" for r in rates)], lines)


def _format_elbo(by_rate: pd.DataFrame, rate: float, is_best: bool) -> str:
    """Return the ELBO with its range; bold at the learning rate that the validation split chose."""
    if rate not in by_rate.index or pd.isna(by_rate["value"][rate]):
        return "diverged" if rate in by_rate.index else ""
    text = tables.format_nats(by_rate["value"][rate], by_rate["low"][rate], by_rate["high"][rate])
    return f"**{text}**" if is_best else text


def columns_markdown(table: pd.DataFrame) -> str:
    """Return the columns of gradients.csv and the quantities, with units and meanings."""
    columns = [[f"`{column.name}`", column.unit, column.meaning] for column in COLUMNS]
    quantities = [[f"`{name}`", UNITS[name], meaning] for name, meaning in MEANINGS.items()]
    lists = (("column", columns), ("quantity", quantities))
    return "\n\n".join(markdown_table([head, "unit", "meaning"], lines) for head, lines in lists)


def _of_elbo(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the variants that maximise the ELBO with a closed-form KL."""
    return table[table["objective"] == "elbo"]


def reinforce_markdown(table: pd.DataFrame) -> str:
    """Return the exchange rates of REINFORCE for the ELBO."""
    return exchange_markdown(_of_elbo(table)[lambda rows: rows["estimator"] == "score_function"])


def trained_elbo_markdown(table: pd.DataFrame) -> str:
    """Return the table of trained models for the variants that maximise the ELBO."""
    return trained_markdown(_of_elbo(table))


def _format_error(value: float, se: float) -> str:
    """Return a value with its 95 % interval, or the upper limit of a value that is not seen."""
    half = 1.96 * se
    is_seen = value > half
    texts = map(tables.format_digits, (value, half) if is_seen else (value + half,))
    return " ± ".join(texts) if is_seen else f"< {next(texts)}"


def discrete_markdown(table: pd.DataFrame) -> str:
    """Return error and cost of each estimator for discrete latents in the trained model, with 95 % intervals."""
    rows = selections.select_trained(table)
    lines = []
    for part in (group for _, group in panels.split_families(rows)):
        costs = selections.select_costs(part).set_index("variant")
        for line in selections.summarize_errors(part).itertuples():
            values = (
                _format_error(getattr(line, quantity), getattr(line, f"{quantity}_se"))
                for quantity in ("squared_bias", "variance", "mean_squared_error")
            )
            cost = tables.format_digits(*costs.loc[line.variant, ["value", "low", "high"]])
            lines.append([f"`{line.variant}`", f"{line.passes:.0f}", *values, f"{line.cosine:.3f}", cost])
    head = ["variant", "passes", "squared bias", "variance", "mean squared error", "cosine", "cost at D = 200"]
    return markdown_table(head, lines)


BLOCKS: dict[str, Callable[[pd.DataFrame], str]] = {
    "findings": lambda table: "\n".join(f"- {sentence}" for sentence in list_findings(table)),
    "exchange": exchange_markdown,
    "exchange-reinforce": reinforce_markdown,
    "parts": parts_markdown,
    "slopes": slopes_markdown,
    "trained": trained_markdown,
    "trained-elbo": trained_elbo_markdown,
    "columns": columns_markdown,
    "discrete": discrete_markdown,
}
