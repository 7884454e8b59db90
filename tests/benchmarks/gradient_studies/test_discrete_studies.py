"""The studies of discrete latents against plain loops over states."""

import dataclasses

import pytest
import torch

from benchmarks.gradient_studies.discrete_studies import TEMPERATURES, count_enumerable
from benchmarks.gradient_studies.measurement import MeasurementContext
from benchmarks.gradient_studies.report import tables
from benchmarks.gradient_studies.report.discrete.selections import summarize_errors
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.settings import StudySettings
from tests.benchmarks.gradient_studies.test_study_settings import make_protocol
from tests.vaezoo.gradients.plain_loops import compute_errors
from vaezoo import VARIANTS, DataSpec, initialise, mlp_bernoulli
from vaezoo.distributions.families import BERNOULLI, CATEGORICAL, categorical

pytestmark = pytest.mark.usefixtures("unchecked_types")
LATENTS, BATCH = 3, 2
VARIANT_NAMES = ("bernoulli-none", "bernoulli-loo", "bernoulli-st", "bernoulli-reinmax", "bernoulli-gumbel")
CHOSEN = [v for v in VARIANTS if v.name in VARIANT_NAMES]
IMAGES = torch.rand(30, 9, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def context():
    model = mlp_bernoulli(DataSpec((3, 3), "bernoulli", (6,)), LATENTS)
    initialise(model, lambda name: make_generator(1, name))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter *= 4
    return MeasurementContext(model, IMAGES, make_protocol(batch_size=BATCH, latent_dim=LATENTS), 3, "end")


def make_rows(study, context, repeats):
    table = tables.make_frame(list(STUDIES[study].rows(context, CHOSEN, StudySettings(repeats=repeats))))
    return table[(table["parameters"] == "encoder") & (table["layer"] == "")]


def test_bias_and_variance_are_those_of_a_loop_over_the_states(context):
    rows = make_rows("discrete", context, 4000).assign(seed=0.0)
    assert set(rows["variant"]) == set(VARIANT_NAMES)  # the exact gradient is the reference, and no row
    errors = summarize_errors(rows).set_index("variant")
    for variant in CHOSEN:
        if variant.estimator.at_temperature:
            continue  # its estimates have more values than states
        line = errors.loc[variant.name]
        squared_bias, variance = compute_errors(context.model, context.minibatch(), variant.estimator, variant.draws)
        assert abs(line["squared_bias"] - squared_bias) < 4 * line["squared_bias_se"]
        assert abs(line["variance"] - variance) < 4 * line["variance_se"]
        assert line["is_biased"] == (variant.name in ("bernoulli-st", "bernoulli-reinmax"))
        assert line["mean_squared_error"] == pytest.approx(line["squared_bias"] + line["variance"])
    rates = rows[rows["quantity"] == "exchange_rate_passes"].set_index("variant")["value"]
    assert rates["bernoulli-loo"] == 1
    ratio = errors["variance"]["bernoulli-none"] / (2 * errors["variance"]["bernoulli-loo"])
    assert rates["bernoulli-none"] == pytest.approx(ratio)


def test_a_large_model_has_no_exact_reference(context, monkeypatch):
    monkeypatch.setattr("benchmarks.gradient_studies.discrete_studies.count_enumerable", lambda family: LATENTS - 1)
    large = dataclasses.replace(context, measured={})
    rows = make_rows("discrete", large, 20)
    assert not set(rows["quantity"]) & {"squared_bias", "mean_squared_error", "cosine", "bias_z"}
    assert set(rows["setting_value"]) == {LATENTS}


def test_each_temperature_is_measured(context):
    rows = make_rows("temperature", context, 400).assign(seed=0.0)
    assert set(rows["variant"]) == {"bernoulli-gumbel"}
    errors = summarize_errors(rows).set_index("setting_value").sort_index()
    assert errors.index.tolist() == sorted(TEMPERATURES)
    assert (errors["variance"].diff().dropna() < 0).all()
    names = rows.groupby("setting_value")["estimator"].unique()
    assert all(names[t].tolist() == [f"gumbel_softmax({t:g})"] for t in TEMPERATURES)
    at_default = make_rows("discrete", dataclasses.replace(context, measured={}), 400)
    expected = at_default[(at_default["variant"] == "bernoulli-gumbel") & (at_default["quantity"] == "variance")]
    assert errors["variance"][0.5] == pytest.approx(expected["value"].item(), rel=1e-6)


@pytest.mark.parametrize(("family", "count"), [(BERNOULLI, 10), (CATEGORICAL, 30), (categorical(32), 64)])
def test_small_models_have_at_most_1024_states(family, count):
    assert count_enumerable(family) == count
