"""Cells and setups of the tiny protocol."""

import pytest

from benchmarks.planning import model_specs, planner
from benchmarks.planning.data.tensors import load_dataset
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.training.state import Setup
from vaezoo import VARIANTS, build, initialise


@pytest.fixture
def plan(tiny):
    def make(variant=VARIANTS[1], **overrides):
        protocol, prepared = planner.prepare(load_settings(tiny, overrides))
        return planner.plan_cells([RegisteredVariant(variant)], protocol, (0,), prepared)[0]

    return make


@pytest.fixture
def setup_variant(plan):
    """Return a function that builds a variant's model and loads its data, under the tiny protocol."""

    def make(variant):
        case = plan(variant)
        protocol = case.protocol
        data = load_dataset(case.data_folder, protocol)
        spec = model_specs.make_spec(protocol, data.facts)
        model = build(variant, spec, protocol.latent_dim)
        initialise(model, lambda name: make_generator(0, f"init/{name}"))
        return Setup(variant, model, spec, data, protocol, seed=0)

    return make
