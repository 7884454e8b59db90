"""Measurements and rows of the studies on a small model, without a run."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch

from benchmarks.gradient_studies import integrands, measurement, studies
from benchmarks.gradient_studies.columns import add_interval
from benchmarks.gradient_studies.measurement import MeasurementContext, VariantMeasurement
from benchmarks.gradient_studies.measurement_rows import make_rows
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.settings import StudySettings
from vaezoo import VARIANTS, DataSpec, FittedVariant, elbo_mc, initialise, mlp_normal
from vaezoo.gradients import Measurement, Moments, ValueWithError

BY_NAME = {variant.name: variant for variant in VARIANTS}


@pytest.fixture
def context():
    model = mlp_normal(DataSpec((3, 3), "bernoulli", (4,)), 2)
    initialise(model, lambda name: make_generator(0, name))
    protocol = SimpleNamespace(batch_size=3, latent_dim=2, device="cpu", binarization="none")
    return MeasurementContext(model, torch.zeros(6, 9), protocol, 0, "initial")


def make_measurement(name, variance, repeats=4, seconds=1.0):
    """A variant whose repeats have this variance and half or one and a half of it."""
    sums = torch.tensor([0.5, 1.5] * (repeats // 2), dtype=torch.float64) * variance
    moments = Moments(variance, sums.std().item() / repeats**0.5, 0.1, sums)
    result = Measurement({("encoder", ""): moments}, None, None, "joint")
    return VariantMeasurement(BY_NAME[name], repeats, result, (seconds, seconds), BY_NAME[name].draws)


def test_an_interval_has_1_96_standard_errors_on_both_sides():
    row = add_interval("variance", 3.0, 0.5)
    assert row == {"quantity": "variance", "value": 3.0, "se": 0.5, "low": 3 - 0.98, "high": 3 + 0.98}


def test_draws_and_examples_have_separate_noise_that_more_draws_begin_with(context):
    several, single = context.noise(3, 5)(slice(0, 2)), context.noise(1, 5)(slice(0, 3))
    assert several.shape == (5, 3, 2, 2)
    assert torch.equal(several[:, :1], single[:, :, :2])
    streams = several.permute(1, 2, 0, 3).reshape(6, -1)
    assert len({tuple(stream.tolist()) for stream in streams}) == 6


def test_a_baseline_is_fitted_once_for_each_objective_and_estimator(context, monkeypatch):
    fitted = []

    def fit(variant, model, images, protocol, seed):
        fitted.append((variant.objective.name, variant.estimator.baseline_name, variant.draws))
        return FittedVariant(variant)

    monkeypatch.setattr(measurement, "fit_baseline", fit)
    variant = BY_NAME["reinforce-vae-ema"]
    changes = ({}, {"draws": 5}, {"objective": elbo_mc}, {"estimator": BY_NAME["reinforce-vae-nvil"].estimator})
    for change in changes:
        assert context.fit(dataclasses.replace(variant, **change)).variant.draws == change.get("draws", 1)
    assert fitted == [("elbo", "moving_average", 1), ("elbo_mc", "moving_average", 1), ("elbo", "learned", 1)]


def test_an_integrand_has_as_many_repeats_as_asked(monkeypatch):
    monkeypatch.setattr(integrands, "DRAWS_PER_CHUNK", 100)
    moments = integrands.measure_integrand(BY_NAME["vae"], lambda z: z, 150, seed=0)
    assert len(moments.sums) == 150


def test_exchange_rates_multiply_the_variance_by_the_cost(context):
    rows = make_rows(
        context, [make_measurement("vae", 2.0, seconds=3.0), make_measurement("reinforce-vae-loo", 10.0, seconds=6.0)]
    )
    rates = {(row["variant"], row["quantity"]): row for row in rows}
    for name, by_draws, by_seconds in (("vae", 1, 1), ("reinforce-vae-loo", 2 * 5, 2 * 5)):
        assert rates[name, "exchange_rate"]["value"] == pytest.approx(by_draws)
        assert rates[name, "exchange_rate_seconds"]["value"] == pytest.approx(by_seconds)
        assert rates[name, "exchange_rate_passes"]["value"] == pytest.approx(by_draws)
        assert rates[name, "variance_x_passes"]["value"] == pytest.approx(by_draws * 2)


def test_a_narrower_posterior_is_another_model_with_measurements_of_its_own(context):
    context.measured["key"], context.fits["key"] = [], None
    scaled = studies._scale_posterior(context, 0.5)
    x = torch.zeros(3, 9)
    q, narrow = context.model.encoder(x), scaled.model.encoder(x)
    torch.testing.assert_close(narrow.scale, 0.5 * q.scale)
    assert torch.equal(narrow.mean, q.mean)
    assert (scaled.measured, scaled.fits) == ({}, {})
    assert "key" in context.measured


def test_the_parts_of_the_variance_fall_with_the_size_of_the_minibatch(context, monkeypatch):
    variant = BY_NAME["vae"]
    part = {"encoder": ValueWithError(24.0, 2.4)}
    monkeypatch.setattr(studies, "_measure", lambda *_: [make_measurement("vae", 2.0)])
    monkeypatch.setattr(studies, "measure_minibatch_parts", lambda *_: {(variant.objective, variant.draws): part})
    monkeypatch.setattr(studies, "_fresh_rows", lambda *_: iter(()))
    rows = list(studies.study_batch_size(context, [variant], StudySettings(batch_sizes=(3, 12))))
    values = {(row["batch_size"], row["part"]): row["value"] for row in rows}
    expected = {(3, "latent"): 2.0, (12, "latent"): 0.5, (3, "minibatch"): 8.0, (12, "minibatch"): 2.0}
    assert values == pytest.approx(expected)


def test_variances_of_a_row_add_up_with_their_errors(context):
    variant = BY_NAME["vae"]
    parts = {(variant.objective, 1): {"encoder": ValueWithError(30.0, 9.0)}}
    rows = list(make_rows(context, [make_measurement("vae", 2.0)], parts))
    by_part = {row["part"]: row for row in rows if row["quantity"] == "variance"}
    latent, minibatch, total = (by_part[name] for name in ("latent", "minibatch", "total"))
    assert (minibatch["value"], minibatch["se"]) == (10.0, 3.0)
    assert total["value"] == 12.0
    assert total["se"] == pytest.approx(math.hypot(3.0, latent["se"]))
