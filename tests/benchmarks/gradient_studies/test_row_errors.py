"""Values and errors in gradients.csv against textbook formulas: each quantity, and the rows over seeds.

`ORACLES` has a formula for each quantity of one seed. Other tests: `elbo` in `test_trained_models`, `slope`
below, `variance_ratio_*` in `test_paired_ratios`.
"""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from benchmarks.gradient_studies import measurement
from benchmarks.gradient_studies.columns import EXCHANGE_RATES, MEANINGS, UNITS, VARIANCE_RATIOS
from benchmarks.gradient_studies.measurement import VariantMeasurement
from benchmarks.gradient_studies.measurement_rows import make_rows
from benchmarks.gradient_studies.report import tables
from vaezoo import VARIANTS, FittedVariant, pathwise
from vaezoo.gradients import Measurement, Moments, ValueWithError

BATCH, REPEATS = 7, 12
BY_NAME = {v.name: v for v in VARIANTS}
SOURCE = np.random.default_rng(0)
SUMS = {"vae": SOURCE.gamma(2.0, size=REPEATS), "reinforce-vae-loo": 9 * SOURCE.gamma(1.0, size=REPEATS)}
SUMS["vae"][0] = 40  # the heavier tail is that of the reference
DURATIONS = {"vae": (0.2, 0.3, 0.5), "reinforce-vae-loo": (0.7, 0.6, 0.9)}  # medians 0.3 and 0.7
MINIBATCH = ValueWithError(210.0, 35.0)  # of one example
SQUARED_BIAS = ValueWithError(2.5, 0.75)


def moments(values):
    return Moments(values.mean(), stats.sem(values), 0.25, torch.from_numpy(values))


def make_measurement(name, passes):
    every = {("encoder", ""): moments(SUMS[name]), ("encoder", "heads.mean"): moments(SUMS[name] / 3)}
    numbers = Measurement(every, 1.5, ValueWithError(0.8, 0.05), "joint", SQUARED_BIAS)
    return VariantMeasurement(BY_NAME[name], REPEATS, numbers, DURATIONS[name], passes)


@pytest.fixture(scope="module")
def rows():
    """The rows of `reinforce-vae-loo`, by quantity and part; its layer's row has the part "layer"."""
    context = SimpleNamespace(protocol=SimpleNamespace(batch_size=BATCH), reference=pathwise)
    objective = BY_NAME["vae"].objective
    parts = {(objective, draws): {"encoder": MINIBATCH} for draws in (1, 2)}
    every = list(make_rows(context, [make_measurement("vae", 1), make_measurement("reinforce-vae-loo", 2)], parts))
    table = tables.make_frame([row | {"study": "training"} for row in every])
    table = table[table["variant"] == "reinforce-vae-loo"]
    table["part"] = table["part"].where(table["layer"] == "", "layer")
    return table.set_index(["quantity", "part"])


def normal_interval(value, se):
    half = stats.norm.ppf(0.975) * se
    return value, se, value - half, value + half


def ratio_interval(cost, cost_se=0.0, cost_half=0.0):
    """The ratio of the means times `cost`; the error of its logarithm is that of the difference of the repeats.

    cost_se, cost_half: standard error and half-width of the logarithm of the cost.
    """
    values, reference = SUMS["reinforce-vae-loo"], SUMS["vae"]
    ratio = cost * values.mean() / reference.mean()
    se = stats.sem(values / values.mean() - reference / reference.mean())
    half = np.hypot(stats.norm.ppf(0.975) * se, cost_half)
    return ratio, ratio * np.hypot(se, cost_se), ratio * math.exp(-half), ratio * math.exp(half)


VALUES = SUMS["reinforce-vae-loo"]
VARIANCE = VALUES.mean(), stats.sem(VALUES)
PART = MINIBATCH.value / BATCH, MINIBATCH.se / BATCH
ROUNDS_SE = stats.sem(np.log(np.divide(DURATIONS["reinforce-vae-loo"], DURATIONS["vae"])))
NOTHING = (math.nan,) * 3
ORACLES = {
    ("variance", "latent"): normal_interval(*VARIANCE),
    ("variance", "layer"): normal_interval(VARIANCE[0] / 3, VARIANCE[1] / 3),
    ("variance", "minibatch"): normal_interval(*PART),
    ("variance", "total"): normal_interval(VARIANCE[0] + PART[0], np.hypot(VARIANCE[1], PART[1])),
    ("snr", "latent"): (0.25, *NOTHING),
    ("snr_floor", "latent"): (2 * np.sqrt(2) / REPEATS, *NOTHING),
    ("cosine", "latent"): normal_interval(0.8, 0.05),
    ("bias_z", "latent"): (1.5, *NOTHING),
    ("squared_bias", "latent"): normal_interval(SQUARED_BIAS.value, SQUARED_BIAS.se),
    ("mean_squared_error", "latent"): normal_interval(
        SQUARED_BIAS.value + VARIANCE[0], np.hypot(SQUARED_BIAS.se, VARIANCE[1])
    ),
    ("variance_x_seconds", "latent"): normal_interval(VARIANCE[0] * 0.7, VARIANCE[1] * 0.7),
    ("variance_x_passes", "latent"): normal_interval(VARIANCE[0] * 2, VARIANCE[1] * 2),
    ("exchange_rate", "latent"): ratio_interval(2 / 1),
    ("exchange_rate_passes", "latent"): ratio_interval(2 / 1),
    ("exchange_rate_seconds", "latent"): ratio_interval(0.7 / 0.3, ROUNDS_SE, stats.t.ppf(0.975, 2) * ROUNDS_SE),
}


def test_every_quantity_has_an_oracle(rows):
    assert set(rows.index) == set(ORACLES)
    assert (
        {quantity for quantity, _ in ORACLES}
        | {"elbo", "slope", "gradient", "gradient_variance", *VARIANCE_RATIOS.values()}
        == set(UNITS)
        == set(MEANINGS)
    )


@pytest.mark.parametrize("key", ORACLES, ids="-".join)
def test_value_error_and_interval(key, rows):
    row = rows.loc[key]
    assert tuple(row[["value", "se", "low", "high"]]) == pytest.approx(ORACLES[key], rel=1e-4, nan_ok=True)
    assert (row["repeats"], row["passes"], row["seconds"], row["draws"]) == (REPEATS, 2, 0.7, 2)


def test_the_kurtosis_of_a_ratio_is_the_larger_one_and_is_flagged_above_30(rows):
    kurtoses = {name: stats.kurtosis(values, fisher=False) for name, values in SUMS.items()}
    assert rows.loc[("variance", "latent"), "kurtosis"].item() == pytest.approx(kurtoses["reinforce-vae-loo"])
    assert rows.loc[("exchange_rate", "latent"), "kurtosis"].item() == pytest.approx(kurtoses["vae"])
    assert set(rows["flag"]) == {""}
    heavy = moments(np.r_[np.full(40, 1.0), 1e3])
    numbers = Measurement({("encoder", ""): heavy}, None, None, "joint")
    context = SimpleNamespace(protocol=SimpleNamespace(batch_size=BATCH), reference=pathwise)
    (row, *_) = make_rows(context, [VariantMeasurement(BY_NAME["vae"], 41, numbers, (1.0, 1.0, 1.0), 1)])
    assert (row["flag"], row["kurtosis"] > 30) == ("kurtosis", True)


def test_the_seconds_of_a_gradient_are_the_median_of_three(monkeypatch):
    """Each variant is timed in turn; only the gradient is timed."""
    looks = iter([0, 5, 10, 11, 20, 22, 30, 34, 40, 49, 50, 53])  # durations 5, 2 and 9; 1, 4 and 3
    monkeypatch.setattr(measurement.time, "perf_counter", lambda: next(looks))
    monkeypatch.setattr(measurement, "minibatch_gradient", lambda *_: None)
    context = SimpleNamespace(
        model=None, minibatch=lambda: [0], noise=lambda *_: lambda rows: [0], protocol=SimpleNamespace(device="cpu")
    )
    variants = {name: FittedVariant(BY_NAME[name]) for name in ("vae", "iwae")}
    durations = measurement._time_gradients(context, variants)
    assert durations == {"vae": (5, 2, 9), "iwae": (1, 4, 3)}
    numbers = Measurement({}, None, None, "joint")
    assert VariantMeasurement(BY_NAME["vae"], REPEATS, numbers, durations["vae"], 1).seconds == 5


def study_row(study, seed, value, quantity, part="latent", **columns):
    common = {"dataset": "digits", "checkpoint": "middle", "variant": "vae", "objective": "elbo", "layer": ""}
    common |= {"parameters": "encoder", "estimator": "pathwise", "baseline": "", "setting": study, "setting_value": 1}
    common |= {"draws": 1, "study": study, "seed": seed, "part": part, "quantity": quantity, "unit": UNITS[quantity]}
    return common | {"value": value} | columns


def write(folder, rows):
    tables.write_gradients(folder, [{"rows": rows}])
    return tables.read_gradients(folder / "gradients.csv")


@pytest.mark.parametrize("quantity", EXCHANGE_RATES.values())
def test_an_exchange_rate_over_seeds_is_a_geometric_mean_with_the_t_interval_of_logarithms(quantity, tmp_path):
    rates = [10.0, 25.0, 14.0, 80.0]
    rows = [study_row("training", s, r, quantity, kurtosis=3.0 + s, flag="kurtosis" if s == 2 else "")
            for s, r in enumerate(rates)]  # fmt: skip
    table = write(tmp_path, rows)
    (over_seeds,) = table[table["seed"].isna()].itertuples()
    interval = stats.t.interval(0.95, 3, np.mean(np.log(rates)), stats.sem(np.log(rates)))
    assert (over_seeds.value, over_seeds.low, over_seeds.high) == pytest.approx((stats.gmean(rates), *np.exp(interval)))
    assert (over_seeds.kurtosis, over_seeds.flag) == (6.0, "kurtosis")


@pytest.mark.parametrize(("study", "quantity", "part"), tables.FITTED_QUANTITIES)
def test_a_slope_is_fitted_for_each_seed_and_averaged_with_a_t_interval(study, quantity, part, tmp_path):
    source, settings = np.random.default_rng(1), [1.0, 2.0, 5.0, 20.0]
    values = {seed: [x ** (1 - seed) * source.lognormal(0, 0.1) for x in settings] for seed in range(3)}
    rows = [
        study_row(study, seed, value, quantity, part, setting_value=x)
        for seed, line in values.items()
        for x, value in zip(settings, line, strict=True)
    ]
    others = [study_row(study, 0, 5.0 * x, quantity, "other", setting_value=x) for x in settings]
    table = write(tmp_path, rows + others)
    slopes = table[table["quantity"] == "slope"]
    assert set(slopes["part"]) == {part if quantity == "variance" else quantity}
    lines = [stats.linregress(np.log(settings), np.log(line)) for line in values.values()]
    half = stats.t.ppf(0.975, 2) * np.array([line.stderr for line in lines])
    by_seed, exponents = slopes[slopes["seed"].notna()], np.array([line.slope for line in lines])
    np.testing.assert_allclose(by_seed[["value", "low", "high"]], np.c_[exponents, exponents - half, exponents + half])
    interval = stats.t.interval(0.95, 2, exponents.mean(), stats.sem(exponents))
    (over_seeds,) = slopes[slopes["seed"].isna()].itertuples()
    assert (over_seeds.value, over_seeds.low, over_seeds.high) == pytest.approx((exponents.mean(), *interval))
    assert pd.isna(over_seeds.se)
