"""Prior, free bits, held-out examples and dequantised pixels: fields of the protocol."""

import contextlib
import dataclasses
import math

import numpy as np
import pytest
import torch

from benchmarks.common.errors import UserError
from benchmarks.planning import planner
from benchmarks.planning.cases import describe_protocol
from benchmarks.planning.data.catalogue import find_dataset
from benchmarks.planning.data.tensors import draw_minibatch, load_dataset
from benchmarks.planning.protocols import checks, resolution
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.training import cell, compilation, state
from benchmarks.training.step import take_step
from tests.planned import prepare, resolve
from vaezoo import VARIANTS, evaluate, load_model

BY_NAME = {v.name: v for v in VARIANTS}
GREY = {"preprocessing": "dequantised", "likelihood": "continuous-bernoulli"}
LEVELS = 17  # of the digits


@pytest.fixture
def plan(tiny):
    """Return a function that plans a cell of three epochs."""

    def make(name="vae", **settings):
        protocol, prepared = planner.prepare(load_settings(tiny, {"epochs": 3, **settings}))
        return planner.plan_cells([RegisteredVariant(BY_NAME[name])], protocol, (0,), prepared, 0.0)[0]

    return make


@pytest.fixture(scope="module")
def grey_file(tmp_path_factory):
    """Grey images without a validation split."""
    path = tmp_path_factory.mktemp("data") / "grey.npz"
    np.savez(path, train=np.random.RandomState(0).randint(0, 256, (500, 4, 5)).astype(np.uint8))
    return str(path)


@pytest.fixture
def protocol(tiny):
    return lambda **settings: resolve(load_settings(tiny, settings))


def test_defaults_are_no_part_of_the_identity(protocol):
    assert not {"prior", "free_bits", "held_out", "preprocessing"} & set(describe_protocol(protocol()))


@pytest.mark.parametrize(
    "settings",
    [{"prior": "learned"}, {"free_bits": 0.3}, GREY],
    ids=lambda settings: next(iter(settings)),
)
def test_each_field_trains_is_recorded_and_has_an_identity_of_its_own(plan, settings):
    case = plan(**settings)
    record, _ = cell.train_and_measure(case)
    assert record["status"] == "ok", record["log"]
    assert case.protocol_id != plan(**{} if settings is not GREY else GREY | {"preprocessing": "none"}).protocol_id
    for key, value in settings.items():
        assert str(record["common"][key]).startswith(str(value))
    elbos = [row["elbo"] for row in record["rows"]]
    assert elbos[-1] > elbos[0]


@pytest.mark.parametrize("settings", [{"prior": "learned"}, {"free_bits": 0.3}])
@pytest.mark.parametrize("name", ["beta-vae"])
def test_the_traced_step_is_the_plain_one(plan, settings, name):
    plain, traced = (state.initial_state(state.setup_case(plan(name, **settings))) for _ in range(2))
    setup = state.setup_case(plan(name, **settings))
    x, progress = setup.data.test[:50], torch.ones(1)
    noise = torch.randn(1, 50, 10, generator=torch.Generator().manual_seed(0))
    graph, _ = compilation.trace_step(setup.variant, traced.model, x, noise, progress, "float32")
    for _ in range(3):
        expected = take_step(setup.variant, plain.model, plain.optimizer, plain.average, "float32", x, noise, progress)
        loss = graph([t.detach() for t in traced.optimizer.tensors], traced.average, x, noise, progress)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for a, b in zip(plain.model.parameters(), traced.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_the_parameters_of_a_prior_are_trained_saved_and_loaded(plan, tmp_path):
    case = dataclasses.replace(plan(prior="learned"), keep_model=True)
    record, attachments = cell.train_and_measure(case)
    path = tmp_path / "m.safetensors"
    path.write_bytes(attachments.model)
    loaded = load_model(path).model
    assert loaded.prior.mean.abs().min() > 0
    data = load_dataset(case.data_folder, case.protocol)
    metrics = evaluate(loaded, data.test, make_generator(0, "evaluation/3"), 16, case.protocol.log_likelihood_draws)
    assert metrics["kl"] == record["rows"][-1]["kl"]


def test_the_compiled_step_of_another_prior_or_free_bits_is_another_program(plan, monkeypatch):
    monkeypatch.setattr(compilation, "MIN_SAVED_SECONDS", 0.0)
    monkeypatch.setattr(compilation, "SECONDS_SAVED_PER_STEP", 1.0)
    settings = ({}, {"prior": "learned"}, {"free_bits": 0.3}, {"free_bits": 0.4})
    assert len({compilation.choose_step_path(plan(**fields)) for fields in settings}) == 4


def test_held_out_examples_are_a_random_part_of_training_the_same_for_all_seeds(protocol, grey_file, plan):
    prepared = prepare(grey_file)
    complete = load_dataset(prepared.folder, protocol(dataset=grey_file, binarization="none", likelihood="gaussian"))
    parts = load_dataset(
        prepared.folder, protocol(dataset=grey_file, binarization="none", likelihood="gaussian", held_out=150)
    )
    assert len(parts.validation) == 150
    assert len(parts.train) == len(complete.train) - 150
    joined = torch.cat([parts.train, parts.validation])
    assert torch.equal(joined.sort(0).values, complete.train.sort(0).values)
    assert not torch.equal(parts.train, complete.train[:-150])
    again = load_dataset(
        prepared.folder,
        protocol(dataset=grey_file, binarization="none", likelihood="gaussian", held_out=150, seeds=[5]),
    )
    assert torch.equal(again.validation, parts.validation)
    assert torch.equal(parts.test, complete.test)
    record, _ = cell.train_and_measure(plan(dataset=grey_file, held_out=150))
    assert record["rows"][-1]["validation_elbo"] < 0
    assert record["common"]["held_out"] == 150


def test_too_many_held_out_examples_are_refused(plan, grey_file):
    with pytest.raises(UserError, match=r"larger than the 0 training examples of grey\.npz; hold out less than 400"):
        plan(dataset=grey_file, held_out=400)


def test_dequantised_pixels_are_uniform_within_their_level(protocol):
    prepared, settings = prepare("digits"), protocol(**GREY)
    assert settings.preprocessing == f"dequantised({LEVELS})"
    data = load_dataset(prepared.folder, settings)
    stored = torch.from_numpy(np.load(f"{prepared.folder}/train.npy").astype(np.float32))
    first, second = (draw_minibatch(data.train, settings, make_generator(0, purpose)) for purpose in "ab")
    noise = first * LEVELS - stored[: len(first)]
    assert noise.min() >= -1e-5
    assert noise.max() <= 1 + 1e-5
    z = (noise.double().mean() - 0.5) * math.sqrt(12 * noise.numel())
    assert abs(z) < 5
    assert (first != second).float().mean() > 0.99  # new at each step
    tested = np.load(f"{prepared.folder}/test.npy")
    torch.testing.assert_close((data.test * LEVELS).floor().numpy(), tested.astype(np.float32))


def test_a_density_of_one_is_a_uniform_distribution_over_the_levels(plan):
    """With all weights 0, q is the prior and the density is 1, so log P(x) is minus the log of the number of images."""
    case = plan(**GREY)
    setup = state.setup_case(case)
    for parameter in setup.model.parameters():
        parameter.data.zero_()
    metrics = cell.evaluate_model(setup.model, setup.data, case.protocol, 0, 0)
    assert metrics["elbo"] == pytest.approx(-64 * math.log(LEVELS), rel=1e-6)
    assert metrics["log_likelihood"] == pytest.approx(-64 * math.log(LEVELS), rel=1e-6)
    assert metrics["kl"] == pytest.approx(0, abs=1e-6)


def test_a_kept_model_of_dequantised_pixels_reads_and_returns_levels(plan, tmp_path):
    case = dataclasses.replace(plan(**GREY), keep_model=True)
    path = tmp_path / "m.safetensors"
    path.write_bytes(cell.train_and_measure(case)[1].model)
    trained, data = load_model(path), load_dataset(case.data_folder, case.protocol)
    levels = np.load(f"{case.data_folder}/test.npy")[:50].astype(int)
    middle = ((torch.from_numpy(levels).float() + 0.5) / LEVELS).flatten(1)
    torch.testing.assert_close(trained.encode(levels)[0], trained.model.encoder(middle).mean, rtol=1.3e-6, atol=2e-6)
    torch.testing.assert_close(trained.encode(middle)[0], trained.model.encoder(middle).mean)
    assert 0 <= trained.sample(9).min() < trained.sample(9).max() <= 1
    bounds = trained.log_likelihood(levels, draws=20)
    assert (bounds < 0).all()  # of a probability
    part = dataclasses.replace(data, test=data.test[:50])
    metrics = cell.evaluate_model(trained.model, part, case.protocol, 0, 3)
    spread = (bounds - trained.log_likelihood(levels, draws=20, seed=1)).std() / 50**0.5
    assert abs(bounds.mean() - metrics["log_likelihood"]) < 5 * max(spread.item(), 0.1)


def test_the_output_bias_of_dequantised_pixels_has_the_mean_of_their_noise(plan):
    setup = state.setup_case(plan(**GREY, output_bias="data"))
    setup.model.decoder.network[-1].weight.data.zero_()
    mean = setup.model.decoder.mean(torch.zeros(1, 1, 10))[0, 0]
    expected = (setup.data.train + 0.5 / LEVELS).mean(0).clamp(1e-3, 1 - 1e-3)
    torch.testing.assert_close(mean, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"preprocessing": "dequantised"}, "dequantised is for densities of grey pixels"),
        ({"preprocessing": "dequantised", "dataset": "linear-gaussian"}, "needs whole numbers"),
        ({**GREY, "binarization": "static"}, "use --binarization none"),
        ({**GREY, "binarization": "dynamic", "likelihood": "gaussian"}, "binarization dynamic makes them binary"),
        ({"held_out": 10}, "digits has 180 validation examples"),
        ({"held_out": -1}, "greater than or equal to 0"),
        ({"free_bits": -0.1}, "greater than or equal to 0"),
        ({"prior": "trained"}, "fixed"),
    ],
)
def test_contradictions_are_one_line(plan, settings, words):
    with pytest.raises(UserError, match=words) as caught:
        plan(**settings)
    assert "\n" not in str(caught.value)


def test_free_bits_need_a_kl_of_each_latent(tiny):
    protocol = resolution.resolve_protocol(load_settings(tiny, {"free_bits": 0.5}), find_dataset("digits"))
    refused = []
    for variant in VARIANTS:
        with contextlib.suppress(UserError):
            checks.check_objectives(protocol, [RegisteredVariant(variant)])
            continue
        refused.append(variant.name)
    bounds = ["iwae", "iwae-stl", "iwae-dreg", "iwae-vimco", "ciwae-dreg", "bernoulli-vimco"]
    assert refused == ["vae-mc-kl", "vae-stl", *bounds]
    with pytest.raises(UserError, match="no KL in closed form for each latent"):
        checks.check_objectives(protocol, [RegisteredVariant(BY_NAME["iwae"])])
