"""Planner: defaults of the protocol, the identity of cells, and contradictory settings."""

import dataclasses
import functools

import pytest

from benchmarks.common.errors import UserError
from benchmarks.planning import cases, planner
from benchmarks.planning.protocols import checks
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from tests import planned
from tests.planned import PREPARED
from vaezoo import NO_BASELINE, VARIANTS, beta_elbo, mlp_normal, score_function


def resolve(**overrides):
    return planned.resolve(load_settings("quick", overrides))


def plan(variants=VARIANTS[:1], seeds=(0,), prepared=None, **overrides):
    entries = [v if isinstance(v, RegisteredVariant) else RegisteredVariant(v) for v in variants]
    return planner.plan_cells(entries, resolve(**overrides), seeds, prepared or PREPARED)


def test_defaults_come_from_the_data_set():
    assert resolve().latent_dim == 10
    assert resolve(dataset="mnist5k").latent_dim == 20
    assert resolve(dataset="mnist5k", latent_dim=3).latent_dim == 3
    linear = resolve(dataset="linear-gaussian")
    assert (linear.likelihood, linear.binarization, linear.latent_dim) == ("gaussian", "none", 2)


def test_likelihoods_of_grey_pixels_disable_binarization_by_default():
    assert resolve(likelihood="continuous-bernoulli").binarization == "none"
    assert resolve(likelihood="gaussian").binarization == "none"
    assert resolve(likelihood="gaussian", binarization="static").binarization == "static"


def test_checkpoints_end_with_the_last_epoch():
    assert resolve(epochs=40, checkpoints=(0, 5, 80)).checkpoints == (0, 5, 40)
    assert resolve(epochs=2, checkpoints=(5,)).checkpoints == (2,)


def test_identity_is_stable():
    assert plan()[0].cell_id == plan()[0].cell_id
    assert plan(seeds=(0, 1))[0].protocol_id == plan(seeds=(0, 1))[1].protocol_id
    assert plan(seeds=(0, 1))[0].cell_id != plan(seeds=(0, 1))[1].cell_id


@pytest.mark.parametrize(
    "change",
    [{"epochs": 3}, {"learning_rate": 1e-4}, {"binarization": "static"}, {"likelihood": "gaussian"}, {"threads": 2},
     {"gradient_repeats": 3}, {"checkpoints": (0,)}, {"prepared": dataclasses.replace(PREPARED, checksum="other")}],
)  # fmt: skip
def test_identity_contains_every_setting(change):
    assert plan(**change)[0].protocol_id != plan()[0].protocol_id


@pytest.mark.parametrize(
    "change",
    [{"objective": beta_elbo(3.0)}, {"draws": 7}, {"estimator": score_function(NO_BASELINE)}, {"name": "other"},
     {"architecture": VARIANTS[0].architecture}],
)  # fmt: skip
def test_identity_contains_the_fields_of_the_variant(change):
    changed = dataclasses.replace(VARIANTS[1], **change)
    assert plan([changed])[0].cell_id != plan([VARIANTS[1]])[0].cell_id


def test_identity_contains_the_plugin_source():
    ids = {plan([RegisteredVariant(VARIANTS[1], fingerprint=f)])[0].cell_id for f in ("", "1", "2")}
    assert len(ids) == 3


def test_a_new_setting_leaves_older_ids_as_they_are():
    """The id of the first cell of the quick preset, as in the first version of the protocol."""
    described = cases.describe_protocol(resolve())
    assert "preprocessing" not in described
    assert cases.describe_protocol(dataclasses.replace(resolve(), preprocessing="standardised")) == described | {
        "preprocessing": "standardised"
    }


def test_identity_does_not_contain_the_data_folder():
    elsewhere = dataclasses.replace(PREPARED, folder="elsewhere")
    assert plan(prepared=elsewhere)[0].cell_id == plan()[0].cell_id


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"binarization": "none"}, "the likelihood bernoulli is for binary data"),
        ({"dataset": "linear-gaussian", "likelihood": "bernoulli"}, "the likelihood bernoulli is for binary data"),
        ({"dataset": "linear-gaussian", "likelihood": "continuous-bernoulli"}, "is for data in"),
        ({"binarization": "dynamic", "likelihood": "continuous-bernoulli"}, "is for grey pixels"),
        ({"likelihood": ""}, "unknown likelihood ''"),
        ({"dataset": "linear-gaussian", "binarization": "dynamic"}, "needs pixels in"),
        ({"dataset": "mnsit"}, "unknown dataset 'mnsit'; did you mean mnist"),
        ({"likelihood": "gausian"}, "unknown likelihood 'gausian'; did you mean gaussian"),
    ],
)
def test_contradictory_settings_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        resolve(**settings)


def test_a_batch_larger_than_the_data_is_refused():
    prepared = planned.prepare("digits")
    with pytest.raises(UserError, match="larger than the 1258 training examples"):
        checks.check_counts(resolve(batch_size=1259), prepared)
    checks.check_counts(resolve(batch_size=1258), prepared)


def test_identity_does_not_depend_on_the_order_of_its_fields():
    assert cases.hash_identity({"a": 1, "b": {"c": 2, "d": 3}}) == cases.hash_identity({"b": {"d": 3, "c": 2}, "a": 1})


def test_identity_contains_shape_and_hidden_widths():
    ids = {
        plan(prepared=dataclasses.replace(PREPARED, facts=dataclasses.replace(PREPARED.facts, **change)))[0].protocol_id
        for change in ({}, {"hidden": (101,)}, {"shape": (64,)})
    }
    assert len(ids) == 3


def test_versions_of_a_plug_in_are_comparable_but_not_reused():
    first, second = (plan([RegisteredVariant(VARIANTS[1], "text", fingerprint)])[0] for fingerprint in ("1", "2"))
    assert first.protocol_id == second.protocol_id
    assert first.cell_id != second.cell_id


def test_an_interrupted_run_has_all_variants_of_its_first_seeds():
    planned = [(case.seed, case.variant) for case in plan(VARIANTS[:2], seeds=(3, 1))]
    assert planned == [(seed, variant.name) for seed in (3, 1) for variant in VARIANTS[:2]]


def test_columns_name_the_mode_of_the_training_step():
    case = plan()[0]
    assert case.columns["mode"] == "eager"
    assert dataclasses.replace(case, step="step.pt2").columns["mode"] == "compiled"


def test_architectures_that_are_no_plain_functions_have_names():
    class Network:
        def __call__(self, spec, latent_dim):
            return mlp_normal(spec, latent_dim)

    partial = functools.partial(functools.partial(mlp_normal, "spec"), latent_dim=3)
    assert planner.name_function(mlp_normal) == "mlp_normal"
    assert planner.name_function(partial) == "mlp_normal('spec', latent_dim=3)"
    assert planner.name_function(Network()) == "Network"
