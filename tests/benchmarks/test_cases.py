"""Cases: what decides a cell's identity, and which settings contradict each other."""

import dataclasses

import pytest

from benchmarks import data, places, planning
from benchmarks.errors import UserError
from benchmarks.plugins import Entry
from benchmarks.settings import load
from vaezoo import NONE, VARIANTS, beta_elbo, score_function


def resolve(**overrides):
    return planning.resolve(load("quick", overrides))


def plan(variants=VARIANTS[:1], seeds=(0,), prepared=None, **overrides):
    entries = [v if isinstance(v, Entry) else Entry(v) for v in variants]
    return planning.plan(entries, resolve(**overrides), seeds, prepared or data.Prepared("folder", "checksum"))


def test_defaults_come_from_the_data_set():
    assert resolve().latent_dim == 10
    assert resolve(dataset="mnist5k").latent_dim == 20
    assert resolve(dataset="mnist5k", latent_dim=3).latent_dim == 3
    linear = resolve(dataset="linear-gaussian")
    assert (linear.likelihood, linear.binarization, linear.latent_dim) == ("gaussian", "none", 2)


def test_grey_likelihoods_see_grey_pixels_unless_told_otherwise():
    assert resolve(likelihood="continuous-bernoulli").binarization == "none"
    assert resolve(likelihood="gaussian").binarization == "none"
    assert resolve(likelihood="gaussian", binarization="static").binarization == "static"


def test_checkpoints_end_with_the_last_epoch():
    assert resolve(epochs=40, checkpoints=(0, 5, 80)).checkpoints == (0, 5, 40)
    assert resolve(epochs=2, checkpoints=(5,)).checkpoints == (2,)


def test_the_identity_is_stable():
    assert plan()[0].cell_id == plan()[0].cell_id
    assert plan(seeds=(0, 1))[0].protocol_id == plan(seeds=(0, 1))[1].protocol_id
    assert plan(seeds=(0, 1))[0].cell_id != plan(seeds=(0, 1))[1].cell_id


@pytest.mark.parametrize(
    "change",
    [{"epochs": 3}, {"learning_rate": 1e-4}, {"binarization": "static"}, {"likelihood": "gaussian"}, {"threads": 2},
     {"gradient_repeats": 3}, {"checkpoints": (0,)}, {"prepared": data.Prepared("folder", "other")}],
)  # fmt: skip
def test_every_setting_is_part_of_it(change):
    assert plan(**change)[0].protocol_id != plan()[0].protocol_id


@pytest.mark.parametrize(
    "change",
    [{"objective": beta_elbo(3.0)}, {"draws": 7}, {"estimator": score_function(NONE)}, {"name": "other"},
     {"architecture": VARIANTS[0].architecture}],
)  # fmt: skip
def test_a_variants_own_fields_are_part_of_it(change):
    changed = dataclasses.replace(VARIANTS[1], **change)
    assert plan([changed])[0].cell_id != plan([VARIANTS[1]])[0].cell_id


def test_source_from_outside_is_part_of_it():
    ids = {plan([Entry(VARIANTS[1], fingerprint=f)])[0].cell_id for f in ("", "1", "2")}
    assert len(ids) == 3


def test_where_the_data_lie_is_not():
    elsewhere = data.Prepared("elsewhere", "checksum")
    assert plan(prepared=elsewhere)[0].cell_id == plan()[0].cell_id


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"binarization": "none"}, "the likelihood bernoulli is one of binary data"),
        ({"dataset": "linear-gaussian", "likelihood": "bernoulli"}, "the likelihood bernoulli is one of binary data"),
        ({"dataset": "linear-gaussian", "likelihood": "continuous-bernoulli"}, "one of data in"),
        ({"binarization": "dynamic", "likelihood": "continuous-bernoulli"}, "is a density on grey values"),
        ({"likelihood": ""}, "unknown likelihood ''"),
        ({"dataset": "linear-gaussian", "binarization": "dynamic"}, "takes pixels as probabilities"),
        ({"dataset": "mnsit"}, "unknown dataset 'mnsit'; did you mean mnist"),
        ({"likelihood": "gausian"}, "unknown likelihood 'gausian'; did you mean gaussian"),
    ],
)
def test_contradictions_are_refused(settings, words):
    with pytest.raises(UserError, match=words):
        resolve(**settings)


def test_a_batch_larger_than_the_data_is_refused():
    prepared = data.prepare("digits", places.data_root())
    with pytest.raises(UserError, match="more than the 1258 training examples"):
        planning.check_batch(resolve(batch_size=1259), prepared)
    planning.check_batch(resolve(batch_size=1258), prepared)
