"""Published values in the report of a run that has the protocol of a claim, and in no other."""

import pandas as pd
import pytest

from benchmarks.planning.settings import load_settings
from benchmarks.reproduction import references
from benchmarks.reproduction.claims import load_claim

CLAIM = load_claim("burda-2016-vae")
RUN = CLAIM.runs[0]
SETTINGS = load_settings(RUN.preset, RUN.settings).model_dump(exclude={"gradients", "seeds", "checkpoints", "epochs"})


def make_results(**changes):
    settings = {name: value for name, value in SETTINGS.items() if value is not None} | {"draws": 1} | changes
    rows = [settings | {"variant": RUN.variants[0], "seed": 0, "epoch": epoch} for epoch in (1093, 3280)]
    return pd.DataFrame([row | {name: changes[name] for name in ("variant",) if name in changes} for row in rows])


def test_the_values_of_the_claim_have_the_signs_of_the_metrics():
    lines = references.list_published(make_results())
    values = {line["metric"]: line["value"] for line in lines}
    assert values == {"log_likelihood": -86.76, "active_units": 19}
    assert {line["label"] for line in lines} == {f"{RUN.variants[0]}, published: burda-2016-vae"}


@pytest.mark.parametrize(
    "changes", [{"batch_size": 100}, {"learning_rate": 1e-4}, {"order": "shuffled"}, {"dataset": "mnist5k"},
                {"hidden": "400"}, {"variant": "vae"}]
)  # fmt: skip
def test_another_protocol_has_none(changes):
    assert references.list_published(make_results(**changes)) == []


def test_an_unfinished_run_has_none():
    assert references.list_published(make_results().iloc[:1]) == []
