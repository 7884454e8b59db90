"""Each study's rows at a setting equal the measurement of a model that is built by hand at that setting.

`BY_HAND` has, for each study, the variance of the encoder's gradient and its error by variant and setting. They come
from plain loops over examples and repeats, with images and noise from the named generators.
"""

import copy
import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.gradient_studies import studies
from benchmarks.gradient_studies.measurement import MeasurementContext
from benchmarks.gradient_studies.report import tables
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.gradient_studies.study_cells import ReferenceModel, StudyCell
from benchmarks.planning import planner
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import StudySettings, load_settings
from benchmarks.training import baseline_fitting
from benchmarks.training.baseline_fitting import fit_baseline
from benchmarks.training.loop import train
from benchmarks.training.state import initial_state, setup_training
from tests import planned
from tests.vaezoo.gradients.plain_loops import loop
from vaezoo import VARIANTS, DataSpec, FittedVariant, Variant, elbo, initialise, mlp_normal, pathwise

SEED, CHECKPOINT, BATCH, LATENTS, REPEATS, MIN_REPEATS = 3, "middle", 5, 2, 20, 8
SETTINGS = StudySettings(
    repeats=REPEATS, draws=(1, 3), batch_sizes=(3, 8), posterior_scales=(1.0, 0.2), frequencies=(0.5, 4.0),
    integrand_draws=20_000, examples=9, pairs=4,
)  # fmt: skip
CHOSEN_NAMES = ("vae", "reinforce-vae-ema", "reinforce-vae-loo")
FITTING_DRAWS = dict(zip(CHOSEN_NAMES, (1, 1, 2), strict=True))  # the fewest that give the gradient of the objective
CHOSEN = [v for v in VARIANTS if v.name in CHOSEN_NAMES]


def make_protocol(**changes):
    return dataclasses.replace(planned.resolve(load_settings("quick", {})), **changes)


PROTOCOL = make_protocol(batch_size=BATCH, latent_dim=LATENTS)
IMAGES = torch.rand(30, 9, generator=torch.Generator().manual_seed(7))


def make_model():
    model = mlp_normal(DataSpec((3, 3), "bernoulli", (6,)), LATENTS)
    initialise(model, lambda name: make_generator(1, name))
    return model


def binarize(images, source):
    return (torch.rand(images.shape, generator=source) < images).float()


def draw_images(count, source, images):
    return binarize(images[torch.randint(len(images), (count,), generator=source)], source)


def encoder_gradients(model, fitted, x, noise):
    """Gradients of single examples [R, B, P]."""
    return torch.cat([g for n, g in loop(model, fitted, x, noise).items() if n.startswith("encoder")], 2).double()


def measure_by_hand(model, variant, repeats, images=IMAGES, protocol=PROTOCOL, checkpoint=CHECKPOINT):
    """The variance of a minibatch gradient over the latent noise, and its error."""
    size = protocol.batch_size
    x = binarize(images[:size], make_generator(0, "binarize/gradient"))
    noise = torch.stack([
        torch.stack([
            torch.randn(repeats, protocol.latent_dim, generator=make_generator(SEED, f"gradient/{checkpoint}/{k}/{b}"))
            for b in range(size)], 1)
        for k in range(variant.draws)], 1)  # fmt: skip
    reduced = dataclasses.replace(variant, draws=FITTING_DRAWS[variant.name])
    fitted = fit_baseline(reduced, model, images, protocol, SEED)
    g = encoder_gradients(model, dataclasses.replace(fitted, variant=variant), x, noise)
    sums = (g - g.mean(0)).square().sum((1, 2)).numpy() / size**2 * repeats / (repeats - 1)
    return sums.mean(), stats.sem(sums)


def count_repeats(draws):
    """About as many decoder passes for each number of draws."""
    return max(MIN_REPEATS, math.ceil(REPEATS / draws))


def by_checkpoint(model):
    return {(v.name, None): measure_by_hand(model, v, REPEATS) for v in CHOSEN}


def by_latents(model):
    return {(v.name, LATENTS): measure_by_hand(model, v, count_repeats(v.draws)) for v in CHOSEN}


def by_draws(model):
    variants = [dataclasses.replace(v, draws=k) for v in CHOSEN for k in (1, 3) if k > 1 or v.name[-3:] != "loo"]
    return {(v.name, v.draws): measure_by_hand(model, v, count_repeats(v.draws)) for v in variants}


def by_scale(model):
    narrow = copy.deepcopy(model)
    with torch.no_grad():
        narrow.encoder.heads["log_scale"].bias += math.log(0.2)
    return {
        (v.name, factor): measure_by_hand(scaled, v, count_repeats(v.draws))
        for factor, scaled in ((1.0, model), (0.2, narrow))
        for v in CHOSEN
    }


def by_batch_size(model):
    """The latent part; a minibatch of another size has a variance in proportion to 1 / B."""
    variances = {v.name: measure_by_hand(model, v, count_repeats(v.draws)) for v in CHOSEN}
    return {(name, B): tuple(n * BATCH / B for n in pair) for name, pair in variances.items() for B in (3, 8)}


def by_frequency(model):
    """Closed forms, with `score_function` and `pathwise` in the place of a variant."""
    exact = {}
    for k in (0.5, 4.0):
        decay = math.exp(-2 * k**2)
        exact["pathwise", k] = k**2 / 2 * (1 - decay), math.nan
        exact["score_function", k] = (1 + (1 - 4 * k**2) * decay) / 2, math.nan
    return exact


BY_HAND = {"training": by_checkpoint, "latent-dim": by_latents, "draws": by_draws, "batch-size": by_batch_size,
           "posterior-scale": by_scale, "counter-example": by_frequency}  # fmt: skip


@pytest.fixture(autouse=True)
def _little_effort(monkeypatch):
    monkeypatch.setattr(studies, "MIN_REPEATS", MIN_REPEATS)
    monkeypatch.setattr(studies, "MIN_PAIRS", 2)
    monkeypatch.setattr(baseline_fitting, "FITTING_STEPS", 10)


@functools.cache
def measure_study(study):
    context = MeasurementContext(make_model(), IMAGES, PROTOCOL, SEED, CHECKPOINT)
    table = tables.make_frame(list(STUDIES[study].rows(context, CHOSEN, SETTINGS)))
    return table[(table["quantity"] == "variance") & (table["layer"] == "")]


def read_rows(study, part="latent"):
    """The rows of the encoder's variance; of the counter-example, those of the only parameter, a mean."""
    table = measure_study(study)
    chosen = table["parameters"] == ("mean" if study == "counter-example" else "encoder")
    return table[chosen & (table["part"] == part)]


def test_every_study_is_measured_by_hand():
    assert set(BY_HAND) == {name for name, study in STUDIES.items() if study.is_discrete is False}


@pytest.mark.parametrize("study", BY_HAND)
def test_rows_at_a_setting_are_those_of_a_model_built_by_hand(study):
    rows, expected = read_rows(study), BY_HAND[study](make_model())
    if study == "counter-example":
        rows = rows[rows["variant"] == "closed form"].assign(variant=rows["estimator"])
    by_key = {(r.variant, None if math.isnan(r.setting_value) else r.setting_value): (r.value, r.se)
              for r in rows.itertuples() if r.variant in CHOSEN_NAMES or study == "counter-example"}  # fmt: skip
    assert set(by_key) == set(expected)
    for key, pair in expected.items():
        assert by_key[key] == pytest.approx(pair, rel=2e-4, nan_ok=True), key


def test_the_measured_variances_of_the_counter_example_are_those_at_its_frequency():
    rows, exact = read_rows("counter-example"), by_frequency(None)
    for r in rows[rows["variant"].isin(["vae"])].itertuples():
        assert abs(r.value - exact[r.estimator, r.setting_value][0]) < 5 * r.se
        assert r.se < 0.1 * r.value


def test_the_parts_of_a_minibatch_of_each_size_are_those_of_new_minibatches():
    model, source = make_model(), make_generator(SEED, f"minibatch/{CHECKPOINT}")
    x, vae = draw_images(9, source, IMAGES), CHOSEN[0]
    g = encoder_gradients(model, FittedVariant(vae), x, torch.randn(2, 1, 9, LATENTS, generator=source))
    squares = (g.mean(0) - g.mean((0, 1))).square().sum(1) * 9 / 8 - g.var(0).sum(1) / 2
    squares = squares.numpy()
    by_part = {p: read_rows("batch-size", p).set_index(["variant", "setting_value"]) for p in ("minibatch", "total")}
    for size in (3, 8):
        row = by_part["minibatch"].loc[("vae", size)]
        assert (row["value"], row["se"]) == pytest.approx((squares.mean() / size, stats.sem(squares) / size), rel=1e-3)
        source, batches = make_generator(SEED, f"fresh/{CHECKPOINT}/{size}/1"), []
        for _ in range(1 + 2 * SETTINGS.pairs):
            batches.append((draw_images(size, source, IMAGES), torch.randn(1, 1, size, LATENTS, generator=source)))
        for variant in CHOSEN[:2]:
            fitted = fit_baseline(variant, model, IMAGES, PROTOCOL, SEED)
            g = [encoder_gradients(model, fitted, *batch).mean((0, 1)) for batch in batches[1:]]  # the first: the route
            halves = [0.5 * (a - b).square().sum().item() for a, b in zip(g[::2], g[1::2], strict=True)]
            row = by_part["total"].loc[(variant.name, size)]
            assert (row["value"], row["se"]) == pytest.approx((np.mean(halves), stats.sem(halves)), rel=1e-3)
            assert (row["batch_size"], row["repeats"]) == (size, 2 * SETTINGS.pairs)


def test_each_checkpoint_is_the_reference_model_after_its_epochs():
    """Initial, early and middle are the epochs of the settings, the end is the last one; also with other latents."""
    epochs = {"initial": 0, "early": 1, "middle": 2, "end": 3}
    protocol = make_protocol(epochs=3, checkpoints=(0, 1, 2, 3), latent_dim=3, batch_size=50)
    folder = planned.prepare("digits").folder
    variants = [planner.describe_variant(RegisteredVariant(CHOSEN[0]))]
    cell = StudyCell(
        label="", name="", models=ReferenceModel(SETTINGS), fields={"variants": variants},
        studies=("training", "latent-dim"), variants=("vae",), plugins=(), seed=SEED,
        protocol=protocol, data_folder=folder, data_checksum="",
        protocol_id="", cell_id="", commit="",
    )  # fmt: skip
    table = tables.make_frame(list(cell.models.measure(cell)))
    table = table[(table["quantity"] == "variance") & (table["parameters"] == "encoder") & (table["layer"] == "")]
    table = table[(table["part"] == "latent") & (table["variant"] == "vae")].set_index(["study", "checkpoint"])
    spec = DataSpec((8, 8), "bernoulli", (100,))
    setup = setup_training(Variant("by hand", mlp_normal, elbo, pathwise), spec, protocol, folder, SEED)
    for progress in train(initial_state(setup), setup):
        (name,) = [name for name, epoch in epochs.items() if epoch == progress.epoch]
        value, se = measure_by_hand(setup.model, CHOSEN[0], REPEATS, setup.data.train, protocol, name)
        row = table.loc[("training", name)]
        assert (row["value"], row["se"]) == pytest.approx((value, se), rel=2e-4), name
        assert (row["setting"], row["setting_value"], row["seed"]) == ("checkpoint", progress.epoch, SEED)
        if name == "middle":
            row = table.loc[("latent-dim", name)]
            assert (row["value"], row["se"]) == pytest.approx((value, se), rel=2e-4)
            assert (row["setting"], row["setting_value"], row["latent_dim"]) == ("latent_dim", 3, 3)
    assert len(table) == 5
