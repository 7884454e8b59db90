"""Trained models: the file of a model, and its use on arrays in the units of the data."""

import dataclasses
import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from vaezoo import ARCHITECTURES, VARIANTS, DataSpec, TrainedModel, Variant, build, elbo, load_model, serialize_model
from vaezoo.estimators import pathwise
from vaezoo.evaluation import log_likelihood, log_likelihood_bounds
from vaezoo.models import mlp_normal

BY_NAME = {variant.name: variant for variant in VARIANTS}
GREY = torch.rand(6, 4, 5, generator=torch.Generator().manual_seed(0))


def make_model(name="vae", likelihood="bernoulli", **fields):
    torch.manual_seed(1)
    spec = DataSpec((4, 5), likelihood, (7,))
    return TrainedModel(build(BY_NAME[name], spec, 3), name, spec, about={"dataset": "d", "seed": 4}, **fields)


def save(trained, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(serialize_model(trained))
    return path


@pytest.mark.parametrize("name", ["vae", "autoencoder", "reinforce-vae-nvil"])
@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: a.name)
def test_a_loaded_model_is_the_saved_model(tmp_path, name, architecture):
    spec = DataSpec((4, 5), "gaussian-learned", (7, 6), architecture, "tanh", "learned", 0.2)
    constants = (1.0, (0.5,) * 20, (2.0,) * 20, 3, False)
    saved = TrainedModel(build(BY_NAME[name], spec, 3), name, spec, *constants, {"seed": 4})
    loaded = load_model(save(saved, tmp_path))
    for field in dataclasses.fields(TrainedModel):
        if field.name != "model":
            assert getattr(loaded, field.name) == getattr(saved, field.name), field.name
    assert saved.model.state_dict().keys() == loaded.model.state_dict().keys()
    for key, value in saved.model.state_dict().items():
        assert torch.equal(value, loaded.model.state_dict()[key])
    assert torch.equal(saved.encode(GREY)[0], loaded.encode(GREY)[0])
    assert torch.equal(saved.sample(2, seed=3), loaded.sample(2, seed=3))


def test_a_file_contains_no_code(tmp_path):
    content = save(make_model(), tmp_path).read_bytes()
    assert b"pickle" not in content
    assert isinstance(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]), dict)


def test_the_same_image_in_each_type_has_the_same_code():
    trained, binary = make_model(maximum=16.0), GREY > 0.5
    codes = [trained.encode(x)[0] for x in (binary, binary.float(), binary.numpy().astype(int) * 16, binary.flatten(1))]
    assert all(torch.equal(codes[0], code) for code in codes)


def test_shapes_and_units_of_what_comes_out():
    trained = make_model(
        likelihood="gaussian", in_unit_interval=False, mean=tuple(map(float, range(20))), scale=(3.0,) * 20
    )
    mean, scale = trained.encode(GREY)
    assert mean.shape == scale.shape == (6, 3)
    assert (scale > 0).all()
    decoded = trained.decode(mean)
    assert decoded.shape == (6, 4, 5)
    inner = trained.model.decoder.mean(mean[None])[0].detach()
    torch.testing.assert_close(decoded.flatten(1), inner * 3 + torch.arange(20.0))


def test_encoding_standardises_by_the_constants_of_training():
    plain = make_model(likelihood="gaussian", in_unit_interval=False)
    scaled = dataclasses.replace(plain, mean=(2.0,) * 20, scale=(5.0,) * 20)
    torch.testing.assert_close(scaled.encode(2 + 5 * GREY)[0], plain.encode(GREY)[0])


def test_the_log_likelihood_is_the_evaluators_of_each_example():
    trained, x = make_model(), (GREY > 0.5).float()
    q = trained.model.encoder(x)
    expected, _ = log_likelihood(trained.model, x, q, 50, torch.Generator().manual_seed(7))
    bounds = trained.log_likelihood(x, draws=50, seed=7)
    assert bounds.shape == (6,)
    assert bounds.mean().item() == pytest.approx(expected, rel=1e-12)
    repeated = log_likelihood_bounds(trained.model, x, q, 50, torch.Generator().manual_seed(7))
    assert torch.equal(repeated, bounds)


def test_a_density_changes_with_the_unit():
    plain = make_model(likelihood="gaussian", in_unit_interval=False)
    scaled = dataclasses.replace(plain, mean=(2.0,) * 20, scale=(5.0,) * 20)
    difference = plain.log_likelihood(GREY) - scaled.log_likelihood(2 + 5 * GREY)
    torch.testing.assert_close(difference, torch.full((6,), 20 * math.log(5.0), dtype=torch.float64), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.encode(GREY[0]), ["[4, 5]", "x[None]"]),
        (lambda m: m.encode(torch.zeros(2, 6)), ["[2, 6]", "(4, 5)"]),
        (lambda m: m.encode(GREY * 255), ["pixels from 0 to 1"]),
        (lambda m: m.encode(np.full((1, 20), 300)), ["1.18", "from 0 to 255"]),
        (lambda m: make_model(likelihood="gaussian").encode(GREY * 255), ["pixels from 0 to 1"]),
        (lambda m: m.encode(torch.full((1, 20), math.nan)), ["infinite or NaN"]),
        (lambda m: m.decode(torch.zeros(2, 4)), ["[2, 4]", "[N, 3]"]),
        (lambda m: m.log_likelihood(GREY), ["binary", "x > 0.5"]),
        (lambda m: make_model("autoencoder").log_likelihood(GREY > 0.5), ["autoencoder", "likelihood"]),
    ],
)
def test_a_mistake_is_one_line(call, words):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        call(make_model())
    assert all(word in str(caught.value) for word in words), caught.value


MINE = Variant("mine", mlp_normal, elbo, pathwise)


def test_a_users_variant_is_given(tmp_path):
    spec = DataSpec((4, 5), "bernoulli", (7,))
    path = save(TrainedModel(build(MINE, spec, 3), "mine", spec), tmp_path)
    with pytest.raises(ValueError, match="does not define its variant mine"):
        load_model(path)
    assert load_model(path, MINE).variant == "mine"


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = save(make_model(), tmp_path)
    content = path.read_bytes()
    other = content.replace(rb"\"format\": 1", rb"\"format\": 9")
    assert load_model(path).variant == "vae"
    assert other != content
    for damaged in (b"", b"x" * 100, content[:50], content[:-1], content.replace(b"vaezoo", b"veazoo"), other):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="no model that this vaezoo can read"):
            load_model(path)


def test_shared_weights_are_saved(tmp_path):
    trained = make_model(likelihood="gaussian")
    trained.model.encoder.heads["mean"].bias = trained.model.encoder.heads["log_scale"].bias
    assert torch.equal(load_model(save(trained, tmp_path)).encode(GREY)[0], trained.encode(GREY)[0])


@pytest.mark.parametrize("convert", [np.asarray, lambda x: x.numpy()[::-1][::-1], lambda x: pd.DataFrame(x.flatten(1))])
def test_arrays_and_tables_of_any_layout_are_read(convert):
    trained = make_model()
    torch.testing.assert_close(trained.encode(convert(GREY))[0], trained.encode(GREY)[0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: m.sample(0), "count is 0"),
        (lambda m: m.log_likelihood(GREY > 0.5, draws=-1), "draws is -1"),
        (lambda m: m.encode("x"), "no array of numbers"),
        (lambda m: m.decode(torch.full((1, 3), math.nan)), "infinite or NaN"),
        (lambda m: m.encode(GREY + 1j), "complex"),
    ],
)
def test_what_is_no_number_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call(make_model())


def test_loading_leaves_the_random_numbers_of_the_user(tmp_path):
    path = save(make_model(), tmp_path)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load_model(path)
    assert torch.equal(torch.rand(3), expected)


def test_a_model_can_be_sent_to_another_process():
    trained = make_model()
    again = pickle.loads(pickle.dumps(trained))
    assert torch.equal(again.encode(GREY)[0], trained.encode(GREY)[0])
    assert hash(trained) != hash(again)
