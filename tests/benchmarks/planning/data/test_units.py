"""Log-densities of standardised data are in the units of the data."""

import dataclasses

import numpy as np
import pytest

from benchmarks.planning import model_specs, planner
from benchmarks.planning.settings import load_settings
from benchmarks.training import cell
from benchmarks.training.state import setup_training
from vaezoo import VARIANTS


def test_nats_change_by_the_logarithm_of_the_scales_and_nothing_else_changes(tiny, tmp_path):
    """Multiplying the data by s subtracts log s from the log-density of each dimension."""
    rows = np.random.RandomState(0).randn(90, 3)
    scales = np.array([0.1, 3.0, 40.0])
    measured = []
    for name, factor in (("a", 1.0), ("b", scales)):
        path = tmp_path / f"{name}.npz"
        parts = {"train": rows[:60], "validation": rows[60:75], "test": rows[75:]}
        np.savez(path, **{part: values * factor for part, values in parts.items()})
        protocol, prepared = planner.prepare(
            load_settings(tiny, {"dataset": str(path), "preprocessing": "standardised"})
        )
        spec, protocol = model_specs.make_spec(protocol, prepared.facts), dataclasses.replace(protocol, batch_size=20)
        setup = setup_training(VARIANTS[1], spec, protocol, prepared.folder, seed=0)
        measured.append(cell._measure(setup, 0))
    first, second = measured
    change = -np.log(scales).sum()
    expected = {"elbo": change, "log_likelihood": change, "validation_elbo": change, "reconstruction_error": -change}
    for name, value in first.items():
        assert second[name] == pytest.approx(value + expected.get(name, 0), rel=1e-4, abs=1e-4), name
