"""Cells and setups of the tiny protocol."""

import pytest

from benchmarks.common import cache_paths
from benchmarks.planning import datasets, planner
from benchmarks.planning.random_streams import make_generator
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.training.state import Setup
from vaezoo import VARIANTS, build, initialise


@pytest.fixture
def plan(tiny):
    def make(variant=VARIANTS[1], **overrides):
        protocol = planner.resolve_protocol(load_settings(tiny, overrides))
        prepared = datasets.prepare_dataset(protocol.dataset, cache_paths.data_root())
        return planner.plan_cells([RegisteredVariant(variant)], protocol, (0,), prepared)[0]

    return make


@pytest.fixture
def setup_variant(plan):
    """Return a function that builds a variant's model and loads its data, under the tiny protocol."""

    def make(variant):
        case = plan(variant)
        protocol = case.protocol
        model = build(variant, planner.make_spec(protocol), protocol.latent_dim)
        initialise(model, lambda name: make_generator(0, f"init/{name}"))
        data = datasets.load_dataset(protocol.dataset, case.data_folder, protocol.binarization, "cpu")
        return Setup(variant, model, data, protocol, seed=0)

    return make
