"""Which reference models the studies plan: their latents, seeds, epochs and checkpoints."""

import pytest

from benchmarks.gradient_studies.plan import reference_models, study_plan
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.planning import planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from vaezoo import VARIANTS, mlp_normal

PRESET = """
dataset = "digits"
seeds = [5, 7, 9]
epochs = 6

[gradients]
checkpoints = [0, 2, 3]
fewer_seeds = 2
latent_dims = [3, 10]
"""

DEFAULT = [name for name, study in STUDIES.items() if study.is_default]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    path = tmp_path_factory.mktemp("preset") / "plan.toml"
    path.write_text(PRESET)
    settings = load_settings(str(path), {})
    entries = [RegisteredVariant(v) for v in VARIANTS]
    protocol, prepared = planner.prepare(study_plan._add_checkpoints(settings))
    return reference_models.Inputs(entries, (), settings, protocol, prepared)


def test_each_study_has_its_models(inputs):
    """`training` has all seeds and the last epoch; others have fewer seeds and end at the middle."""
    cells = reference_models.plan_reference_cells(inputs, DEFAULT)
    cells = [cell for cell in cells if "vae" in cell.variants]
    plan = {(c.protocol.latent_dim, c.seed): (set(c.studies), c.protocol.epochs, c.protocol.checkpoints) for c in cells}
    every = {name for name in DEFAULT if not STUDIES[name].is_discrete}, 6, (0, 2, 3, 6)
    only_latents = {"latent-dim"}, 3, (0, 2, 3)
    assert plan == {
        (10, 5): every,
        (10, 7): every,
        (10, 9): ({"training"}, 6, (0, 2, 3, 6)),
        (3, 5): only_latents,
        (3, 7): only_latents,
    }
    assert all(set(c.variants) == {v.name for v in VARIANTS if v.architecture is mlp_normal} for c in cells)


def test_discrete_latents_have_a_small_model_that_can_be_enumerated_and_a_large_one(inputs):
    cells = reference_models.plan_reference_cells(inputs, DEFAULT)
    plan = {(c.name, c.seed): (c.protocol.latent_dim, c.studies, c.protocol.checkpoints) for c in cells}
    for architecture, small in (("mlp_bernoulli", 10), ("mlp_categorical", 30)):  # 1,024 and 1,000 states
        for seed in (5, 7):
            checkpoints = (0, 2, 3, 6)
            name = f"latents, {architecture}"
            assert plan.pop((f"{small} {name}", seed)) == (small, ("discrete", "temperature"), checkpoints)
            assert plan.pop((f"200 {name}", seed)) == (200, ("discrete",), checkpoints)
    assert {name.partition(",")[2] for name, _ in plan} == {""}
