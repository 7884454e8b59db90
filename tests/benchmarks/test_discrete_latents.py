"""Variants with discrete latents through the harness: plans, cells, traced steps and fitted control variates."""

from pathlib import Path

import pytest
import torch

from benchmarks.common.errors import UserError
from benchmarks.planning import model_specs, planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.training import baseline_fitting, cell, state
from benchmarks.training.baseline_fitting import fit_baseline
from benchmarks.training.compilation import trace_step
from benchmarks.training.step import initial_optimizer, take_step
from tests.conftest import normal
from vaezoo import VARIANTS as REGISTERED
from vaezoo import Variant, build, elbo
from vaezoo.estimators import disarm, rebar, relax
from vaezoo.models import DataSpec, mlp_bernoulli, mlp_categorical

VARIANTS = {
    "disarm": Variant("disarm", mlp_bernoulli, elbo, disarm, latent_dim=6),
    "relax": Variant("relax", mlp_bernoulli, elbo, relax, latent_dim=6),
    "rebar": Variant("rebar", mlp_categorical, elbo, rebar, latent_dim=20),
}
ONE_EPOCH = {"epochs": 1}
EACH = pytest.mark.parametrize("name", VARIANTS)
PLUGIN = """
from vaezoo import Variant, elbo
from vaezoo.estimators import disarm
from vaezoo.models import mlp_bernoulli

VARIANTS = [Variant("mine", mlp_bernoulli, elbo, disarm, latent_dim=6)]
"""


def plan_case(tiny, name, **overrides):
    protocol, prepared = planner.prepare(load_settings(tiny, overrides))
    variant = VARIANTS[name]
    return planner.plan_cells(
        [RegisteredVariant(variant)], protocol, (0,), prepared, latent_dims=[variant.latent_dim or 1]
    )[0]


def test_a_variants_number_of_latents_is_used_where_the_user_names_none(tiny, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN)
    preset = tmp_path / "preset.toml"
    preset.write_text(Path(tiny).read_text().replace("latent_dim = 10\n", ""))
    by_variant = {}
    for latent_dim in (None, 4):
        settings = load_settings(str(preset), {"latent_dim": latent_dim, "seeds": (0, 1)})
        cases = planner.plan_run(settings, ["vae", "mine"], [plugin])
        assert [(case.seed, case.variant) for case in cases] == [(0, "vae"), (0, "mine"), (1, "vae"), (1, "mine")]
        by_variant[latent_dim] = {case.variant: case.protocol.latent_dim for case in cases}
        assert len({case.cell_id for case in cases}) == 4
    assert by_variant == {None: {"vae": by_variant[None]["vae"], "mine": 6}, 4: {"vae": 4, "mine": 4}}
    assert by_variant[None]["vae"] not in (4, 6)


@pytest.mark.parametrize(("family", "architecture"), [("gaussian", "mlp_"), ("bernoulli", "mlp_bernoulli")])
def test_a_family_selects_its_variants(family, architecture, tiny, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(PLUGIN)
    cases = planner.plan_run(load_settings(tiny, {}), [], [plugin], family=family)
    chosen = {case.variant for case in cases}
    discrete = {v.name for v in REGISTERED if v.latent_dim}
    bernoulli = {v.name for v in REGISTERED if v.architecture is mlp_bernoulli} | {"mine"}
    assert chosen == (bernoulli if family == "bernoulli" else {v.name for v in REGISTERED} - discrete)
    assert {case.fields["architecture"].startswith(architecture) for case in cases} == {True}


def test_a_variant_without_a_family_is_named(tiny, tmp_path, capsys):
    """Its model can't be built, so its latents are unknown."""
    plugin = tmp_path / "broken.py"
    plugin.write_text(PLUGIN.replace("mlp_bernoulli, elbo", "lambda spec, latent_dim: 1 / 0, elbo"))
    cases = planner.plan_run(load_settings(tiny, {}), [], [plugin], family="gaussian")
    assert "vae" in {case.variant for case in cases}
    assert "left out: mine, whose model can't be built; 'run mine' prints the reason" in capsys.readouterr().err


def test_an_unknown_family_is_named(tiny):
    with pytest.raises(UserError, match=r"unknown family 'poisson'.* known: bernoulli, categorical, gaussian"):
        planner.plan_run(load_settings(tiny, {}), [], [], family="poisson")


def train(tiny, name, monkeypatch, **overrides):
    variant = VARIANTS[name]
    monkeypatch.setattr(planner, "find_registered", lambda case: RegisteredVariant(variant))
    monkeypatch.setattr(baseline_fitting, "FITTING_STEPS", 10)
    record, attachments = cell.train_and_measure(plan_case(tiny, name, **overrides))
    assert record["status"] == "ok", record
    return record, attachments


@EACH
def test_a_cell_has_all_metrics_and_the_same_bits_again(name, tiny, monkeypatch):
    first, attachments = train(tiny, name, monkeypatch, **ONE_EPOCH)
    again, _ = train(tiny, name, monkeypatch, **ONE_EPOCH)
    columns = ("elbo", "kl", "log_likelihood", "gradient_variance", "decoder_gradient_variance", "active_units")
    for row, other in zip(first["rows"], again["rows"], strict=True):
        assert [row[c] for c in columns] == [other[c] for c in columns]
        assert abs(row["elbo"] + row["reconstruction_error"] + row["kl"]) < 1e-9 * (1 + abs(row["elbo"]))
        assert row["elbo"] <= row["log_likelihood"] + 5 * row["log_likelihood_se"] + 1e-3
        assert row["gradient_variance"] > 0
    assert (
        first["common"]["posterior"]
        == VARIANTS[name].architecture(DataSpec((8, 8), "bernoulli"), 20).encoder.family.name
    )
    assert first["common"]["prior"] == "uniform"
    assert set(attachments.arrays) >= {"samples"}


@pytest.mark.parametrize(("name", "prior"), [("disarm", "learned-bernoulli"), ("rebar", "learned-categorical")])
def test_the_prior_can_be_learned(name, prior, tiny, monkeypatch):
    record, _ = train(tiny, name, monkeypatch, prior="learned", epochs=1, gradient_repeats=2)
    assert record["common"]["prior"] == prior


@EACH
def test_the_traced_step_is_the_plain_step(name):
    """Also with the second derivatives that train a control variate."""
    variant, spec, latents = VARIANTS[name], DataSpec((8, 8), "bernoulli", (12,)), VARIANTS[name].latent_dim
    torch.manual_seed(0)
    model = build(variant, spec, latents)
    x, noise = (normal(10, 8, 8, seed=1) > 0).float(), normal(variant.draws, 10, latents, seed=2).float()
    graph, _ = trace_step(variant, model, x, noise, torch.ones(1), "float32")
    traced = initial_optimizer([p.detach().clone() for p in model.parameters()], 1e-3).tensors
    graph(traced, torch.zeros(()), x, noise, torch.ones(1))
    optimizer = initial_optimizer(model.parameters(), 1e-3)
    take_step(variant, model, optimizer, torch.zeros(()), "float32", x, noise, torch.ones(1))
    for actual, expected in zip(traced, optimizer.tensors, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_control_variate_is_fitted_before_its_variance_is_measured(tiny, monkeypatch):
    case = plan_case(tiny, "relax")
    monkeypatch.setattr(planner, "find_registered", lambda case: RegisteredVariant(VARIANTS["relax"]))
    setup = state.setup_training(VARIANTS["relax"], model_specs.read_spec(case), case.protocol, case.data_folder, 0)
    fitted = fit_baseline(setup.variant, setup.model, setup.data.train, setup.protocol, 0)
    before, after = setup.model.baseline.log_temperature, fitted.baseline.log_temperature
    assert before != after
    assert fitted.average == 0
