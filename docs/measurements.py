"""The numbers in the prose of README and docs, by key, from the committed results."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common.seed_statistics import geometric_mean
from benchmarks.gradient_studies.report.tables import (
    format_digits,
    format_draws,
    read_gradients,
    select_best_rates,
    select_over_seeds,
)
from benchmarks.reporting import formats, results_table
from benchmarks.reporting.metrics import METRICS

RESULTS = Path(__file__).parents[1] / "results"
GAUSSIAN = ("point_mass", "diagonal_normal")  # posteriors
TRAINING_EXAMPLES = 3500  # of mnist5k


def read_run(name: str) -> pd.DataFrame:
    """Return the results of a committed run."""
    return results_table.read_results(RESULTS / name / "results.csv")


@functools.cache
def read_laboratory() -> pd.DataFrame:
    """Return the committed gradient studies."""
    return read_gradients(RESULTS / "gradients" / "gradients.csv")


def format_tenths(value: float) -> str:
    """Return a value with one decimal; -0.0 is 0.0."""
    return f"{round(value, 1) + 0:,.1f}"


@functools.cache
def compute_numbers() -> dict[str, str]:
    """Return the text of each key."""
    results = read_run("default")
    final = results[results["epoch"] == results["epoch"].max()]
    numbers = {
        "run.train": f"{TRAINING_EXAMPLES:,}",
        "run.processor": _read_processor("default"),
        "run.seeds": str(final["seed"].nunique()),
        "run.epochs": f"{final['epoch'].iloc[0]:.0f}",
        "run.torch": final["torch"].iloc[0],
        "run.commit": final["commit"].iloc[0],
        "run.minutes": f"{_measure_minutes(results):.0f}",
    }
    for variant, rows in final.groupby("variant"):
        numbers |= _describe_final(str(variant), rows)
        if rows["posterior"].iloc[0] in GAUSSIAN:  # pictures of all seeds are committed of these only
            numbers |= _describe_codes(str(variant), rows)
    for variant, rows in results[results["epoch"] == 0].groupby("variant"):
        numbers[f"{variant}.reconstruction_error.initial"] = format_tenths(rows["reconstruction_error"].median())
    for name in ("learning-rate-0.0003", "learning-rate-0.003"):
        rows = read_run(name)
        medians = rows[rows["epoch"] == rows["epoch"].max()].groupby("variant")["elbo"].median().dropna()
        rate = name.removeprefix("learning-")
        numbers |= {f"{variant}.elbo.{rate}": format_tenths(value) for variant, value in medians.items()}
    numbers |= _describe_networks()
    laboratory = read_laboratory()
    numbers["lab.seeds"] = str(laboratory.loc[laboratory["study"] == "training", "seed"].nunique())
    parts = (_describe_exchange_rates, _describe_parts, _describe_slopes, _describe_trained)
    return functools.reduce(lambda merged, describe: merged | describe(laboratory), parts, numbers)


def _describe_networks() -> dict[str, str]:
    """Return ELBO and log-likelihood with convolutions and with perceptrons under the preset conv, and the gains."""
    finals = {}
    for name in ("default", "conv", "conv-mlp"):
        rows = read_run(name)
        last = rows[(rows["epoch"] == rows["epoch"].max()) & (rows["status"] == "ok")]
        finals[name] = last.groupby("variant")[["elbo", "log_likelihood"]].median().dropna()
    numbers = {
        f"{variant}.{metric}.{name}": format_tenths(row[metric])
        for name in ("conv", "conv-mlp")
        for variant, row in finals[name].iterrows()
        for metric in ("elbo", "log_likelihood")
    }
    gains = finals["conv"]["elbo"] - finals["default"]["elbo"]
    return numbers | {f"{variant}.gain.conv": format_tenths(gain) for variant, gain in gains.dropna().items()}


def _measure_minutes(results: pd.DataFrame) -> float:
    times = pd.to_datetime(results["started"]).min(), pd.to_datetime(results["ended"]).max()
    return float((times[1] - times[0]).total_seconds() / 60)


def _describe_final(variant: str, rows: pd.DataFrame) -> dict[str, str]:
    """Return median, minimum and maximum of each metric at the last epoch, and the values of the first seed."""
    numbers = {}
    for metric in METRICS:
        values = rows[metric.name].dropna()
        if values.empty:
            continue
        text: Callable[[float], str] = format_tenths
        if metric.scale == "log" or abs(values.median()) >= 1e4:
            text = formats.format_scientific
        if metric.name == "active_units":
            text = "{:.0f}".format
        key = f"{variant}.{metric.name}"
        numbers |= {key: text(values.median()), f"{key}.min": text(values.min()), f"{key}.max": text(values.max())}
    first = rows.sort_values("seed").iloc[0]
    for name in ("reconstruction_error", "kl", "elbo"):
        numbers[f"{variant}.{name}.seed0"] = f"{first[name]:.3f}"
    numbers[f"{variant}.loss.seed0"] = f"{-first['elbo']:.3f}"
    return numbers


def _describe_codes(variant: str, rows: pd.DataFrame) -> dict[str, str]:
    """Return the root mean square of the codes of test images and the mean scale of q, medians over seeds."""
    sizes, scales = [], []
    for cell_id in rows["cell_id"]:
        with np.load(RESULTS / "default" / "cells" / f"{cell_id}.npz") as arrays:
            sizes.append(np.sqrt(np.square(arrays["codes"].astype(float)).mean()))
            scales.append(arrays["scales"].astype(float).mean())
    return {
        f"{variant}.code_size": format_tenths(float(np.median(sizes))),
        f"{variant}.code_scale": f"{np.median(scales):.2f}",
    }


def _read_processor(name: str) -> str:
    environment: dict[str, str] = json.loads((RESULTS / name / "environment.json").read_text(encoding="utf-8"))
    return environment["processor"]


def _describe_exchange_rates(table: pd.DataFrame) -> dict[str, str]:
    """Return the exchange rates in draws at each stage, and their extremes."""
    rates = select_over_seeds(table[table["study"] == "training"], "exchange_rate")
    numbers = {}
    for variant, rows in rates.groupby("variant"):
        by_stage = dict(zip(rows["checkpoint"], rows["value"], strict=True))
        numbers |= {f"{variant}.draws.{stage}": format_digits(value) for stage, value in by_stage.items()}
        for name, value in (("lowest", min(by_stage.values())), ("highest", max(by_stage.values()))):
            numbers[f"{variant}.draws.{name}"] = format_draws(value)
    return numbers


def _describe_parts(table: pd.DataFrame) -> dict[str, str]:
    """Return the variance from the latent noise over that from the minibatch, geometric means over seeds."""
    rows = table[(table["study"] == "training") & (table["quantity"] == "variance") & table["seed"].notna()]
    rows = rows[(rows["parameters"] == "encoder") & (rows["layer"] == "") & (rows["value"] > 0)]
    means = rows.groupby(["variant", "checkpoint", "part"])["value"].agg(lambda v: geometric_mean(v.tolist()).value)
    ratios = (means.unstack()["latent"] / means.unstack()["minibatch"]).dropna()
    return {
        f"{variant}.latent_to_minibatch.{stage}": f"{ratio:,.1f}"
        for (variant, stage), ratio in ratios.to_dict().items()
    }


def _describe_slopes(table: pd.DataFrame) -> dict[str, str]:
    """Return the exponents of the power laws in each study."""
    rows = select_over_seeds(table, "slope")
    return {f"{row.variant}.slope.{row.study}.{row.part}": format_digits(row.value) for row in rows.itertuples()}


def _describe_trained(table: pd.DataFrame) -> dict[str, str]:
    """Return the test ELBO at each variant's best learning rate, and how far it is from that of `vae`."""
    elbos = select_best_rates(table).set_index("variant")["value"]
    numbers = {}
    for variant, elbo in elbos.items():
        difference = elbo - elbos["vae"]
        numbers |= {
            f"{variant}.trained.elbo": format_tenths(elbo),
            f"{variant}.trained.gap": format_tenths(-difference),
            f"{variant}.trained.gain": format_tenths(difference),
        }
    return numbers
