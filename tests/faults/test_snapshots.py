"""A cell that is killed goes on from its last snapshot, and ends with the bits of one that was left alone."""

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

from benchmarks import compiling, data, experiment, places, planning, snapshots
from benchmarks.metrics import TIMINGS
from benchmarks.plugins import Entry
from benchmarks.seeds import generator
from benchmarks.settings import load
from benchmarks.train import begun, train
from vaezoo import VARIANTS, build, initialise


@pytest.fixture
def case(tiny):
    def make(variant=VARIANTS[1], **overrides):
        protocol = planning.resolve(load(tiny, {"epochs": 6, **overrides}))
        prepared = data.prepare(protocol.dataset, places.data_root())
        return planning.plan([Entry(variant)], protocol, (0,), prepared, 0.0)[0]

    return make


def whole(record):
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in record["rows"]]


class StopError(Exception):
    pass


STATEFUL = ("vae", "reinforce-vae-ema", "reinforce-vae-nvil")


@pytest.mark.parametrize(
    "variant",
    [pytest.param(v, marks=[] if v.name in STATEFUL else pytest.mark.faults, id=v.name) for v in VARIANTS],
)
def test_every_variant_continued_equals_uninterrupted(case, tmp_path, monkeypatch, variant):
    """Stopped after each epoch but the last, and continued by a new process's state."""
    own = case(variant, epochs=3)
    reference, pictures = experiment.run(own)
    (tmp_path / "cells").mkdir()
    path = snapshots.path_of(tmp_path, own)
    real, stops = snapshots.save, []

    def save(*arguments):
        real(*arguments)
        stops.append(arguments[2].epoch)
        raise StopError

    monkeypatch.setattr(snapshots, "save", save)
    for _ in range(3):
        record, again = experiment.run(own, path)
        assert record["status"] == "failed"
    monkeypatch.setattr(snapshots, "save", real)
    record, again = experiment.run(own, path)
    assert stops == [1, 2, 3]
    assert record["status"] == reference["status"] == "ok"
    assert whole(record) == whole(reference)
    assert pictures.keys() == again.keys()
    assert all((pictures[name] == again[name]).all() for name in pictures)


def test_a_snapshot_holds_all_that_training_changes(case, tmp_path):
    """Not one tensor or generator of the state is left as it started."""
    own = case(next(v for v in VARIANTS if v.estimator.baseline.rate))
    variant, images = planning.entry(own).variant, data.load("digits", own.data_folder, "dynamic", "cpu")

    def fresh():
        model = build(variant, planning.spec(own.protocol), own.protocol.latent_dim)
        initialise(model, lambda name: generator(0, f"init/{name}"))
        return begun(model, variant, images.train, own.protocol, 0)

    trained, restored = fresh(), fresh()
    for progress in train(trained, variant, images.train, own.protocol):
        if progress.epoch == 3:
            break
    snapshots.save(tmp_path / "x", own, trained, [{"epoch": 0}], 1.5)
    rows, spent = snapshots.restore(tmp_path / "x", own, restored)
    assert rows == [{"epoch": 0}]
    assert spent > 1.5
    assert restored.epoch == 3
    for field in dataclasses.fields(trained.optimizer):
        a, b = getattr(trained.optimizer, field.name), getattr(restored.optimizer, field.name)
        pairs = zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]
        assert all(torch.equal(x, y) for x, y in pairs), field.name
    assert torch.equal(trained.average, restored.average)
    for name, source in trained.generators.items():
        assert torch.equal(source.get_state(), restored.generators[name].get_state()), name


@pytest.fixture
def saved(case, tmp_path):
    """A case, and its snapshot after two epochs."""
    own = case()
    variant, images = VARIANTS[1], data.load("digits", own.data_folder, "dynamic", "cpu")
    model = build(variant, planning.spec(own.protocol), own.protocol.latent_dim)
    initialise(model, lambda name: generator(0, f"init/{name}"))
    state = begun(model, variant, images.train, own.protocol, 0)
    for progress in train(state, variant, images.train, own.protocol):
        if progress.epoch == 2:
            break
    (tmp_path / "cells").mkdir()
    snapshots.save(snapshots.path_of(tmp_path, own), own, state, [], 0.0)
    return own, state, snapshots.path_of(tmp_path, own)


def test_a_snapshot_that_is_cut_or_full_of_noise_is_not_continued(saved, capsys):
    own, state, path = saved
    content = path.read_bytes()
    before = [p.clone() for p in state.optimizer.tensors]
    source = random.Random(0)
    ends = [*range(0, 2000, 50), *(source.randrange(len(content)) for _ in range(60)), len(content) - 1]
    noisy = [bytes(a ^ (source.random() < 0.01) for a in content[:5000]) + content[5000:] for _ in range(5)]
    noisy += [content[:-3000] + bytes(a ^ (source.random() < 0.01) for a in content[-3000:]) for _ in range(30)]
    for broken in [*(content[:end] for end in ends), *noisy, b"", b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR."]:
        path.write_bytes(broken)
        assert snapshots.restore(path, own, state) == ([], 0.0)
        assert "begins anew" in capsys.readouterr().out
    assert all(torch.equal(a, b) for a, b in zip(before, state.optimizer.tensors, strict=True))


@pytest.mark.parametrize("what", ["commit", "cell_id", "step"])
def test_a_snapshot_of_other_code_or_settings_is_not_continued(saved, capsys, what):
    own, state, path = saved
    assert snapshots.restore(path, dataclasses.replace(own, **{what: "another"}), state) == ([], 0.0)
    assert "is of other code, settings or machine" in capsys.readouterr().out


def test_nothing_in_a_snapshot_is_pickled(saved):
    with np.load(saved[2], allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays} <= {"f", "u"}
        about = json.loads(arrays["about"].tobytes())
    assert about["cell_id"] == saved[0].cell_id


@pytest.mark.faults
@pytest.mark.parametrize("kills", [2, 10])
@pytest.mark.parametrize("variant", ["reinforce-vae-nvil", "iwae"])
def test_a_cell_that_is_killed_again_and_again(command, started, numbers, tiny, tmp_path, variant, kills):
    """SIGKILL of the whole run at random moments of one long cell's training."""
    epochs = 60 if kills == 2 else 150  # so many are compiled, where there is a compiler
    words = ["run", variant, "--preset", tiny, "--seeds", 1, "--epochs", epochs, "--snapshot", 0, "--out", tmp_path]
    done = command(*words, "--name", "left-alone")
    assert done.returncode == 0, done.stderr
    source, cells = random.Random(kills), tmp_path / "killed" / "cells"
    modes = pd.read_csv(tmp_path / "left-alone" / "results.csv")["mode"]
    assert set(modes) == {"compiled" if kills == 10 and compiling.compiler() else "eager"}
    epochs = []
    arguments = [sys.executable, "-m", "benchmarks", *map(str, words), "--name", "killed"]
    for _ in range(kills):
        with started(arguments, tmp_path / "killed" / "environment.json") as process:
            seen = {path: path.stat().st_mtime_ns for path in cells.glob("*.snapshot")}
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and process.poll() is None:
                now = {path: path.stat().st_mtime_ns for path in cells.glob("*.snapshot")}
                if now and now != seen:  # it has gone on from the last
                    break
                time.sleep(0.002)
            time.sleep(source.uniform(0, 0.1))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for path in cells.glob("*.snapshot"):
            with np.load(path) as arrays:
                epochs.append(json.loads(arrays["about"].tobytes())["epoch"])
    assert len(epochs) >= min(kills, 2)
    assert epochs == sorted(set(epochs)), "each attempt went on from the last"
    done = command(*words, "--name", "killed")
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(numbers(tmp_path / "killed"), numbers(tmp_path / "left-alone"))
    first, second = (next((tmp_path / n / "cells").glob("*.npz")).read_bytes() for n in ("left-alone", "killed"))
    assert first == second
    assert list(cells.glob("*.snapshot")) == []
