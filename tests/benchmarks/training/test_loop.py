"""The training loop: it equals a plain loop of Adam steps, measures its speed, and reports its checkpoints."""

import dataclasses

import pytest
import torch

from benchmarks.planning.random_streams import make_generator
from benchmarks.reporting.metrics import TIMINGS
from benchmarks.runs import running_cells
from benchmarks.runs.cell_files import read_cell, read_partial
from benchmarks.training import cell, step
from benchmarks.training.baseline_fitting import draw_initial_average
from benchmarks.training.loop import train
from benchmarks.training.state import initial_state
from vaezoo import VARIANTS, estimate

WITH_MOVING_AVERAGE = [v for v in VARIANTS if v.estimator.averaging_rate]


@pytest.mark.parametrize("variant", [VARIANTS[1], *WITH_MOVING_AVERAGE], ids=lambda v: v.name)
def test_training_equals_a_plain_loop_of_adam_steps(setup_variant, variant):
    """The plain loop draws order, pixels and noise from the same named generators.

    The moving average starts from one draw, and is updated after its use.
    """
    trained = setup_variant(variant)
    for _ in train(initial_state(trained), trained):
        pass
    setup = setup_variant(variant)
    model, images, protocol = setup.model, setup.data.train, setup.protocol
    optimizer = torch.optim.Adam(model.parameters(), lr=protocol.learning_rate)
    order, pixels, noise = (make_generator(0, purpose) for purpose in ("batches", "binarize", "noise"))
    average = draw_initial_average(variant, model, images, protocol, make_generator(0, "start-baseline"))
    for _ in range(2):
        rows = torch.randperm(len(images), generator=order)
        for batch in rows.split(50):
            if len(batch) < 50:
                continue
            bits = torch.empty(50 * 64 // 4, dtype=torch.int64).random_(-(2**63), None, generator=pixels)
            x = ((bits.view(torch.int16) & 0x7FFF).view(50, 64) < (images[batch] * 2**15).round()).float()
            optimizer.zero_grad()
            draw = torch.randn(1, 50, 10, generator=noise)
            value = estimate(variant, model, x, draw, average)
            (-value.mean()).backward()
            q = model.encoder(x)
            if variant.estimator.averaging_rate:
                average = 0.9 * average + 0.1 * (value + model.prior.kl(q)).detach().mean()
            optimizer.step()
    for a, b in zip(trained.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_an_average_updated_before_its_use_is_detected(setup_variant, monkeypatch):
    """With this mistake planted in the step, the test above must fail."""
    real = step.estimate_parts

    def estimate_with_updated_average(variant, model, x, noise, average):
        stochastic, _ = real(variant, model, x, noise, average)
        return real(variant, model, x, noise, variant.estimator.update_average(average, stochastic))

    monkeypatch.setattr(step, "estimate_parts", estimate_with_updated_average)
    with pytest.raises(AssertionError):
        test_training_equals_a_plain_loop_of_adam_steps(setup_variant, WITH_MOVING_AVERAGE[0])


def test_throughput_is_examples_over_seconds_without_the_warm_up(setup_variant, monkeypatch):
    """The median over epochs of 100, 50 and 10 examples per second, and by processor time of 250, 250 and 1250."""
    setup = setup_variant(VARIANTS[1])
    setup = dataclasses.replace(setup, protocol=dataclasses.replace(setup.protocol, epochs=3, checkpoints=(1, 2, 3)))
    # start of an epoch, end of its warm-up, end of the epoch
    clock = iter([0.0, 100.0, 110.0, 200.0, 200.0, 225.0, 300.0, 300.0, 425.0])
    processor_clock = iter([0.0, 50.0, 54.0, 60.0, 60.0, 65.0, 70.0, 70.0, 71.0])
    monkeypatch.setattr("benchmarks.training.loop.read_clock", lambda device: next(clock))
    monkeypatch.setattr("benchmarks.training.loop.time.process_time", lambda: next(processor_clock))
    progress = [p for p in train(initial_state(setup), setup) if p.due]
    assert [p.throughput for p in progress] == pytest.approx([20 * 50 / 10, (100 + 25 * 50 / 25) / 2, 50])
    assert [p.processor_throughput for p in progress] == pytest.approx([20 * 50 / 4, (250 + 25 * 50 / 5) / 2, 250])
    assert [p.seconds for p in progress] == pytest.approx([110, 110 + 25, 110 + 25 + 125])


def test_the_first_epoch_after_a_resumption_has_a_warm_up(setup_variant, monkeypatch):
    setup = setup_variant(VARIANTS[1])
    state = initial_state(setup)
    state.epoch, state.rates = 1, [(1.0, 1.0)]
    clock = iter([0.0, 100.0, 110.0])
    monkeypatch.setattr("benchmarks.training.loop.read_clock", lambda device: next(clock))
    (progress,) = train(state, setup)
    assert state.rates[-1][0] == pytest.approx(20 * 50 / 10)
    assert (progress.epoch, progress.step) == (2, 50)


def test_each_seed_has_its_own_order_pixels_and_noise(setup_variant):
    setup = setup_variant(VARIANTS[1])
    states = [initial_state(dataclasses.replace(setup, seed=seed)) for seed in (0, 1)]
    streams = [source.get_state().numpy().tobytes() for state in states for source in state.generators.values()]
    assert len(set(streams)) == 6


def test_a_running_cell_writes_its_finished_checkpoints_and_they_change_no_bit(plan, monkeypatch, tmp_path):
    """Before the model is built, after a snapshot is read, and at each checkpoint."""
    case, written, write = plan(), [], running_cells.write_bytes

    def keep(path, content, flush):
        write(path, content, flush)
        written.append(read_partial(tmp_path, case.cell_id))

    def without_timings(record):
        return [{k: v for k, v in row.items() if k not in TIMINGS} for row in record["rows"]]

    (tmp_path / "cells").mkdir()
    monkeypatch.setattr(running_cells, "write_bytes", keep)
    monkeypatch.setattr(cell.kernels, "configure_kernels", lambda *_: None)
    cell.run_cell(case, str(tmp_path))
    record, undisturbed = read_cell(tmp_path, case.cell_id), cell.train_and_measure(case)[0]
    assert [(partial["epoch"], partial["epochs"]) for partial in written] == [(e, 2) for e in (0, 0, 0, 1, 2)]
    assert [partial["rows"] for partial in written[2:]] == [record["rows"][:count] for count in (1, 2, 3)]
    assert written[0]["rows"] == written[1]["rows"] == []
    assert written[-1]["common"].keys() == record["common"].keys()
    assert {path.suffix for path in (tmp_path / "cells").iterdir()} == {".json", ".npz"}
    assert without_timings(record) == without_timings(undisturbed)
