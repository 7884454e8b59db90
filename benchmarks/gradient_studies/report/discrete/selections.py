"""Squared bias, variance and cost of each estimator for discrete latents, over the seeds of gradients.csv."""

from __future__ import annotations

import math

import pandas as pd

from benchmarks.gradient_studies.columns import BIASED_Z, CHECKPOINTS
from benchmarks.gradient_studies.report.tables import select_over_seeds

TRAINED = CHECKPOINTS[-1]


def select_trained(table: pd.DataFrame, study: str = "discrete") -> pd.DataFrame:
    """Return the rows of the encoder's whole gradient in the trained reference model."""
    is_whole = (table["parameters"] == "encoder") & (table["layer"] == "") & (table["part"] == "latent")
    return table[is_whole & (table["study"] == study) & (table["checkpoint"] == TRAINED)]


def summarize_errors(rows: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds by variant and setting, in the order of the mean squared error.

    The columns are passes, variance, squared_bias, mean_squared_error and cosine, with `_se` for their standard errors,
    and is_biased: whether the difference to the exact gradient is above 5 standard errors. Only rows of the small
    models have them.
    """
    lines = []
    for key, group in rows[rows["seed"].notna()].groupby(["variant", "setting_value"], sort=False):
        line = dict(zip(("variant", "setting_value"), key, strict=True)) | {"passes": group["passes"].iloc[0]}
        for quantity, values in group.groupby("quantity"):
            line[quantity] = values["value"].mean()
            line[f"{quantity}_se"] = math.sqrt(values["se"].pow(2).sum()) / len(values)
        lines.append(line | {"is_biased": line.get("bias_z", 0) > BIASED_Z})
    summary = pd.DataFrame(lines)
    if "mean_squared_error" not in summary:
        return summary.iloc[:0]
    return summary.dropna(subset="mean_squared_error").sort_values("mean_squared_error", kind="stable")


def select_costs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return decoder passes relative to leave-one-out, for the ELBO of the large model, with intervals over seeds."""
    small = set(rows.loc[rows["quantity"] == "squared_bias", "latent_dim"])
    costs = select_over_seeds(rows[rows["objective"] == "elbo"], "exchange_rate_passes")
    return costs[~costs["latent_dim"].isin(small)]
