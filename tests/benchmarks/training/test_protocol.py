"""The protocol of a cell: every column of its rows is what its meaning says.

`test_every_column_of_a_row_is_what_its_meaning_says` computes the measured columns by hand. The other columns: settings
and provenance come from the plan; times are in `test_loop`, and in the test of continued cells below.
"""

import copy
import dataclasses
import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks.planning.random_streams import make_generator
from benchmarks.reporting.metrics import TIMINGS
from benchmarks.reporting.results_table import PROVENANCE, RESULT_COLUMNS
from benchmarks.training import baseline_fitting, cell, loop, state
from benchmarks.training.baseline_fitting import fit_baseline
from tests.vaezoo.gradients import plain_loops
from vaezoo import VARIANTS, evaluate

SEED = 3
PROVENANCE_NAMES = {column.name for column in PROVENANCE}
BY_NAME = {v.name: v for v in VARIANTS}


@pytest.fixture
def plan_seed(plan):
    """Return a function that plans a cell with seed 3: an equal stream for all seeds would show."""
    return lambda name, **settings: dataclasses.replace(plan(BY_NAME[name], **settings), seed=SEED)


def binarize(folder, split, rows=slice(None), purpose=None):
    grey = torch.from_numpy(np.load(f"{folder}/{split}.npy")).float()[rows] / 16
    return (torch.rand(grey.shape, generator=make_generator(0, f"binarize/{purpose or split}")) < grey).float()


def test_every_column_of_a_row_is_what_its_meaning_says(plan_seed, monkeypatch):
    """At epoch 1: images have pixels of their own split, and only seed, variant and epoch select the noise."""
    monkeypatch.setattr(baseline_fitting, "FITTING_STEPS", 10)
    case = plan_seed("reinforce-vae-ema", epochs=1)
    record, _ = cell.train_and_measure(case)
    row = record["rows"][1] | record["common"]
    setup = state.setup_case(case)
    next(progress for progress in loop.train(state.initial_state(setup), setup) if progress.epoch == 1)
    model, folder, size = setup.model, case.data_folder, case.protocol.batch_size

    expected = evaluate(model, binarize(folder, "test"), make_generator(SEED, "evaluation/1"), 4, 8)
    validation = binarize(folder, "validation")
    expected["validation_elbo"] = evaluate(model, validation, make_generator(SEED, "validation/1"), 4, 2)["elbo"]
    x = binarize(folder, "train", slice(size), "gradient")
    noise = torch.randn(6, 1, size, 10, generator=make_generator(SEED, "gradient/1"))
    fitted = fit_baseline(setup.variant, model, setup.data.train, case.protocol, SEED)
    gradients = plain_loops.loop(model, fitted, x, noise)
    for part, prefix in (("encoder", ""), ("decoder", "decoder_")):
        g = torch.cat([g for name, g in gradients.items() if name.startswith(part)], 2).double()
        sums = ((g - g.mean(0)).square().sum((1, 2)) / size**2 * 6 / 5).numpy()
        expected[f"{prefix}gradient_variance"] = sums.mean()
        if part == "encoder":
            expected["gradient_variance_se"] = stats.sem(sums)
            expected["gradient_snr"] = g.mean((0, 1)).square().sum().item() / sums.mean() - 1 / 6
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    labels = {"variant": setup.variant.name, "dataset": "digits", "seed": SEED, "epoch": 1, "status": "ok"}
    labels |= {"step": len(setup.data.train) // size, "exact_log_likelihood": None, "draws": 1, "mode": "eager"}
    labels |= {"objective": "elbo", "estimator": "score_function", "baseline": "moving_average"}
    labels |= {"support": "binary", "posterior": "diagonal_normal", "dimensions": 64}
    protocol = dataclasses.asdict(case.protocol) | {"hidden": "100", "prior": "standard-normal"}
    labels |= {name: value for name, value in protocol.items() if name in RESULT_COLUMNS}
    assert {name: row[name] for name in labels} == labels
    assert set(RESULT_COLUMNS) - set(expected) - set(labels) == (TIMINGS | PROVENANCE_NAMES) - {"mode"}


def test_a_seed_decides_weights_order_pixels_and_noise(plan_seed):
    setup = state.setup_case(plan_seed("vae"))
    for name, source in state.initial_state(setup).generators.items():
        assert torch.equal(source.get_state(), make_generator(SEED, name).get_state()), name
    for name, parameter in setup.model.named_parameters():
        layer = setup.model.get_submodule(name.rpartition(".")[0])
        uniform = torch.rand(parameter.shape, generator=make_generator(SEED, f"init/{name}"))
        torch.testing.assert_close(parameter.detach(), (2 * uniform - 1) * layer.in_features**-0.5)


def test_step_counts_the_optimizer_steps(plan_seed, monkeypatch):
    """The last images of an epoch, fewer than a minibatch, are not used."""
    sizes, take_step = [], loop.take_step

    def count(*arguments):
        sizes.append(len(arguments[-3]))
        return take_step(*arguments)

    monkeypatch.setattr(loop, "take_step", count)
    case = plan_seed("vae", batch_size=350)
    rows = cell.train_and_measure(case)[0]["rows"]
    assert 2 * (len(np.load(f"{case.data_folder}/train.npy")) % 350) > 350, "two epochs leave out a minibatch"
    assert set(sizes) == {350}
    assert [row["step"] for row in rows] == [0, len(sizes) // 2, len(sizes)]


def test_a_baseline_is_fitted_on_all_minibatches_but_the_measured_one(plan, monkeypatch):
    """Image i has the grey level i, so that each row names its image."""
    variant = BY_NAME["reinforce-vae-nvil"]
    case = plan(variant, batch_size=5, binarization="none", likelihood="continuous-bernoulli")
    model = state.setup_case(case).model
    images, seen, real = (torch.arange(22.0) / 22)[:, None].expand(-1, 64), [], baseline_fitting.estimate_parts

    def record(variant, model, x, *rest):
        seen.append((x[:, 0] * 22).round().int().tolist())
        return real(variant, model, x, *rest)

    monkeypatch.setattr(baseline_fitting, "estimate_parts", record)
    before = [p.clone() for p in model.parameters()]
    fit_baseline(variant, model, images, case.protocol, SEED)
    assert len(seen) == 100
    assert seen[:4] == [[5, 6, 7, 8, 9], [10, 11, 12, 13, 14], [15, 16, 17, 18, 19], [5, 6, 7, 8, 9]]
    assert not {0, 1, 2, 3, 4} & {i for rows in seen for i in rows}
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


class StopError(Exception):
    pass


def test_a_cell_that_is_continued_twice_sums_the_seconds_of_three_processes(plan_seed, tmp_path, monkeypatch):
    """The clock of the steps shows 1, 2 and 4 seconds more at each look, of which an epoch needs two.

    Its throughput is that of 1,000 examples between two looks: 1,000, 500 and 250 examples per second.
    """
    case = dataclasses.replace(plan_seed("vae", epochs=3), snapshot=0.0)
    (tmp_path / "cells").mkdir()
    path, save = state.snapshot_path(tmp_path, case), state.save_snapshot

    def stop(*arguments):
        save(*arguments)
        raise StopError

    for process_time, period, action in ((10.0, 1.0, stop), (7.0, 2.0, stop), (5.0, 4.0, save)):
        clock = SimpleNamespace(process_time=lambda seconds=process_time: seconds, monotonic=time.monotonic)
        for module in (cell, state):
            monkeypatch.setattr(module, "time", clock)
        looks = itertools.count(0.0, period)
        monkeypatch.setattr(loop, "read_clock", lambda device, looks=looks: next(looks))
        monkeypatch.setattr(state, "save_snapshot", action)
        record, _ = cell.train_and_measure(case, path)
    assert record["status"] == "ok"
    assert [row["processor_seconds"] for row in record["rows"]] == [10, 10, 17, 22]
    assert [row["train_seconds"] for row in record["rows"]] == [0, 2, 6, 14]
    assert [row["throughput"] for row in record["rows"]] == [None, 1000, 750, 500]


LEARNED, AVERAGE = (next(v for v in VARIANTS if v.estimator.baseline_name == n) for n in ("learned", "moving_average"))


@pytest.fixture
def fit(setup_variant, monkeypatch):
    """Return a function that fits a variant's baseline; it returns the indices of the minibatches."""

    def run(variant, minibatches=3):
        setup, indices = setup_variant(variant), []
        draw = baseline_fitting.draw_minibatch

        def record_index(images, protocol, source, index=0):
            indices.append(index)
            return draw(images, protocol, source, index)

        monkeypatch.setattr(baseline_fitting, "draw_minibatch", record_index)
        images = setup.data.train[: minibatches * setup.protocol.batch_size]
        before = copy.deepcopy(setup.model.state_dict())
        baseline_fitting.fit_baseline(variant, setup.model, images, setup.protocol, seed=0)
        for name, parameter in setup.model.state_dict().items():
            assert torch.equal(parameter, before[name]), name
        assert all(p.requires_grad for p in setup.model.parameters())
        return indices

    return run


def test_a_baseline_is_fitted_for_100_steps_without_the_first_minibatch(fit):
    """Variances are measured on the first one. It only gives the initial average."""
    assert fit(LEARNED) == [0, *[1, 2] * 50]
    assert fit(AVERAGE, minibatches=1) == [0] * 101
