"""The cells of the studies: their identity, their checkpoints, and what becomes of an error."""

import dataclasses

import pytest

from benchmarks.common.errors import UserError
from benchmarks.gradient_studies import study_cells
from benchmarks.gradient_studies.plan import reference_models, study_plan
from benchmarks.planning import planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import StudySettings, load_settings
from vaezoo import VARIANTS


@pytest.fixture
def plan():
    """Return a function that plans studies of one variant; `changes` are those of the studies' settings."""

    def make(studies, seeds="4,7", **changes):
        gradients = StudySettings(**{"checkpoints": (0, 1, 2), "latent_dims": (2, 10), "fewer_seeds": 1} | changes)
        loaded = load_settings("quick", {"seeds": seeds, "epochs": 3, "batch_size": 50})
        settings = loaded.model_copy(update={"gradients": gradients})
        entries = [RegisteredVariant(VARIANTS[1])]
        protocol, prepared = planner.prepare(study_plan._add_checkpoints(settings))
        inputs = reference_models.Inputs(entries, (), settings, protocol, prepared)
        return reference_models.plan_reference_cells(inputs, studies)

    return make


def test_identity_of_a_study_contains_its_settings(plan):
    ids = {plan(["draws"], **change)[0].cell_id for change in ({}, {"repeats": 30}, {"draws": (1, 2)})}
    assert len(ids) == 3


@pytest.mark.parametrize("checkpoints", [(0, 1, 3), (0, 2, 1), (0, 1, 4)])
def test_checkpoints_ascend_and_come_before_the_end(plan, checkpoints):
    with pytest.raises(UserError, match="must ascend and come before the last epoch, 3"):
        plan(["draws"], checkpoints=checkpoints)


def test_a_study_that_fails_fails_its_cell_after_the_others(plan, monkeypatch):
    def fail(context, variants, settings):
        raise KeyError(context.checkpoint)

    def succeed(context, variants, settings):
        yield {"variant": "vae", "quantity": "snr", "value": 1.0}

    for name, rows in (("draws", fail), ("counter-example", succeed)):
        study = dataclasses.replace(study_cells.STUDIES[name], rows=rows, checkpoints=("initial",))
        monkeypatch.setitem(study_cells.STUDIES, name, study)
    (cell,) = plan(["draws", "counter-example"])
    yielded = []
    with pytest.raises(study_cells.StudyError, match="study draws: KeyError: 'initial'"):
        yielded.extend(cell.models.measure(cell))
    assert [(row["study"], row["seed"], row["unit"]) for row in yielded] == [("counter-example", 4, "1")]
