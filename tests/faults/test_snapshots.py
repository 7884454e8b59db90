"""A killed cell continues from its last snapshot, and ends with the bits of an undisturbed cell."""

import dataclasses
import json
import os
import random
import signal
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.common.machine import compiler
from benchmarks.planning import planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.reporting.metrics import TIMINGS
from benchmarks.training import cell
from benchmarks.training import state as snapshots
from benchmarks.training.loop import train
from vaezoo import VARIANTS


@pytest.fixture
def case(tiny):
    def make(variant=VARIANTS[1], **overrides):
        protocol, prepared = planner.prepare(load_settings(tiny, {"epochs": 6, **overrides}))
        return planner.plan_cells([RegisteredVariant(variant)], protocol, (0,), prepared, 0.0)[0]

    return make


def rows_without_timings(record):
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in record["rows"]]


class StopError(Exception):
    pass


STATEFUL = ("vae", "reinforce-vae-ema", "reinforce-vae-nvil")


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, marks=[] if v.name in STATEFUL else pytest.mark.faults, id=v.name) for v in VARIANTS],
)
def test_every_variant_continues_with_the_same_bits(case, tmp_path, monkeypatch, variant):
    """Stopped after each epoch, and each time continued from a new state."""
    long_case = case(variant, epochs=3)
    reference, images = cell.train_and_measure(long_case)
    (tmp_path / "cells").mkdir()
    path = snapshots.snapshot_path(tmp_path, long_case)
    real, stops = snapshots.save_snapshot, []

    def save(*arguments):
        real(*arguments)
        stops.append(arguments[2].epoch)
        raise StopError

    monkeypatch.setattr(snapshots, "save_snapshot", save)
    for _ in range(3):
        record, again = cell.train_and_measure(long_case, path)
        assert record["status"] == "failed"
    monkeypatch.setattr(snapshots, "save_snapshot", real)
    record, again = cell.train_and_measure(long_case, path)
    assert stops == [1, 2, 3]
    assert record["status"] == reference["status"] == "ok"
    assert rows_without_timings(record) == rows_without_timings(reference)
    images, again = images.arrays, again.arrays
    assert images.keys() == again.keys()
    assert all((images[name] == again[name]).all() for name in images)


def test_a_snapshot_contains_all_that_training_changes(case, tmp_path):
    """No tensor or generator of the state keeps its initial value."""
    long_case = case(next(v for v in VARIANTS if v.estimator.averaging_rate))
    setup = snapshots.setup_case(long_case)
    trained, restored = snapshots.initial_state(setup), snapshots.initial_state(snapshots.setup_case(long_case))
    for progress in train(trained, setup):
        if progress.epoch == 3:
            break
    snapshots.save_snapshot(tmp_path / "x", long_case, trained, [{"epoch": 0}], 1.5)
    rows, spent = snapshots.restore_snapshot(tmp_path / "x", long_case, restored)
    assert rows == [{"epoch": 0}]
    assert spent > 1.5
    assert restored.epoch == 3
    assert trained.optimizer.settings == restored.optimizer.settings
    for field in dataclasses.fields(trained.optimizer)[:-1]:
        a, b = getattr(trained.optimizer, field.name), getattr(restored.optimizer, field.name)
        pairs = zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]
        assert all(torch.equal(x, y) for x, y in pairs), field.name
    assert torch.equal(trained.average, restored.average)
    for name, source in trained.generators.items():
        assert torch.equal(source.get_state(), restored.generators[name].get_state()), name


@pytest.fixture
def saved(case, tmp_path):
    """A case, and its snapshot after two epochs."""
    long_case = case()
    setup = snapshots.setup_case(long_case)
    state = snapshots.initial_state(setup)
    for progress in train(state, setup):
        if progress.epoch == 2:
            break
    (tmp_path / "cells").mkdir()
    snapshots.save_snapshot(snapshots.snapshot_path(tmp_path, long_case), long_case, state, [], 0.0)
    return long_case, state, snapshots.snapshot_path(tmp_path, long_case)


def test_a_damaged_snapshot_is_not_continued(saved, capsys):
    long_case, state, path = saved
    content = path.read_bytes()
    before = [p.clone() for p in state.optimizer.tensors]
    source = random.Random(0)
    ends = [*range(0, 2000, 50), *(source.randrange(len(content)) for _ in range(60)), len(content) - 1]
    noisy = [bytes(a ^ (source.random() < 0.01) for a in content[:5000]) + content[5000:] for _ in range(5)]
    noisy += [content[:-3000] + bytes(a ^ (source.random() < 0.01) for a in content[-3000:]) for _ in range(30)]
    for broken in [*(content[:end] for end in ends), *noisy, b"", b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR."]:
        path.write_bytes(broken)
        assert snapshots.restore_snapshot(path, long_case, state) == ([], 0.0)
        assert "starts from epoch 0" in capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(before, state.optimizer.tensors, strict=True))


@pytest.mark.parametrize("key", ["commit", "cell_id", "step"])
def test_a_snapshot_of_other_code_or_settings_is_not_continued(saved, capsys, key):
    long_case, state, path = saved
    assert snapshots.restore_snapshot(path, dataclasses.replace(long_case, **{key: "another"}), state) == ([], 0.0)
    assert "is of other code, other settings or another machine" in capsys.readouterr().out


def test_nothing_in_a_snapshot_is_pickled(saved):
    with np.load(saved[2], allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays} <= {"f", "u"}
        about = json.loads(arrays["about"].tobytes())
    assert about["cell_id"] == saved[0].cell_id


@pytest.mark.faults
@pytest.mark.parametrize("kills", [2, 10])
@pytest.mark.parametrize("variant", ["reinforce-vae-nvil", "iwae"])
def test_a_cell_that_is_killed_again_and_again(ask, start_command, numbers, tiny, tmp_path, variant, kills):
    """SIGKILL of the whole run at random moments while one long cell trains."""
    epochs = 60 if kills == 2 else 150  # with 150 epochs the step is compiled, if there is a compiler
    words = ["run", variant, "--preset", tiny, "--seeds", 1, "--epochs", epochs, "--snapshot", 0, "--out", tmp_path]
    done = ask(*words, "--name", "undisturbed")
    assert done.returncode == 0, done.stderr
    source, cells = random.Random(kills), tmp_path / "killed" / "cells"
    modes = pd.read_csv(tmp_path / "undisturbed" / "results.csv")["mode"]
    assert set(modes) == {"compiled" if kills == 10 and compiler.find_compiler() else "eager"}
    epochs = []
    arguments = [sys.executable, "-m", "benchmarks", *map(str, words), "--name", "killed"]
    for _ in range(kills):
        with start_command(arguments, tmp_path / "killed" / "environment.json") as process:
            seen = {path: path.stat().st_mtime_ns for path in cells.glob("*.snapshot")}
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                now = {path: path.stat().st_mtime_ns for path in cells.glob("*.snapshot")}
                if now and now != seen:  # it has continued from the last snapshot
                    break
                time.sleep(0.002)
            time.sleep(source.uniform(0, 0.1))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for path in cells.glob("*.snapshot"):
            with np.load(path) as arrays:
                epochs.append(json.loads(arrays["about"].tobytes())["epoch"])
    assert len(epochs) >= min(kills, 2)
    assert epochs == sorted(set(epochs)), "each attempt continued from the last snapshot"
    done = ask(*words, "--name", "killed")
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(numbers(tmp_path / "killed"), numbers(tmp_path / "undisturbed"))
    first, second = (next((tmp_path / n / "cells").glob("*.npz")).read_bytes() for n in ("undisturbed", "killed"))
    assert first == second
    assert list(cells.glob("*.snapshot")) == []
