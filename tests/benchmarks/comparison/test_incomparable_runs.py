"""`compare`: which runs it refuses to compare, and which changes are a note."""

import numpy as np
import pytest

from benchmarks.comparison import run_comparison
from benchmarks.comparison.verdicts import choose_exit_code
from tests.benchmarks.synthetic_runs import make_results


def other(**options):
    return make_results(**{"seeds": range(100, 110), "seed": 1} | options)


BASE = make_results(seeds=range(20))


def list_words(base, new):
    return {verdict.word for verdict in run_comparison.compare_runs(base, new)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 1e-2, "protocol_id": "q"}, "learning_rate: 0.001 in base, 0.01 in new"),
        ({"data_checksum": "e", "protocol_id": "q"}, "data_checksum: d in base, e in new"),
        ({"dataset": "mnist"}, "new has results on mnist, not on mnist5k"),
        ({"protocol_id": "q"}, "another protocol_id: the variant was redefined"),
    ],
)
def test_other_protocols_are_not_compared(change, words):
    verdicts = run_comparison.compare_runs(BASE, other(**change))
    assert {v.word for v in verdicts} == {"incomparable"}
    assert choose_exit_code(verdicts) == 3
    assert words in " ".join(v.note for v in verdicts)


@pytest.mark.parametrize("column", ["likelihood", "support"])
def test_other_likelihoods_are_not_compared(column):
    """Also if the protocol is the same, because the model of a plug-in decides its likelihood."""
    base, new = BASE.assign(**{column: "a"}), other(**{column: "b"})
    new.loc[0, column] = np.nan  # as in the row of a cell that failed before its model was built
    verdicts = run_comparison.compare_runs(base, new)
    assert [(v.word, v.note) for v in verdicts] == [("incomparable", f"{column}: a in base, b in new")]
    for known in (base, new):
        assert "incomparable" not in list_words(known, other(**{column: np.nan}))
        assert "incomparable" not in list_words(BASE, known)


def test_another_posterior_of_the_same_protocol_is_compared():
    assert "incomparable" not in list_words(BASE.assign(posterior="a"), other(posterior="b"))


def test_columns_that_older_tables_lack_are_no_change():
    new = other(posterior="diagonal_normal", learning_rate=1e-2, protocol_id="q")
    assert run_comparison.compare_runs(BASE, new)[0].note == "learning_rate: 0.001 in base, 0.01 in new"


def test_other_epochs_are_not_compared():
    new = other(protocol_id="q")
    new["epoch"] *= 2
    assert "epochs: 3 in base, 6 in new" in run_comparison.compare_runs(BASE, new)[0].note


@pytest.mark.parametrize("source", ["a", np.nan])
def test_another_source_of_a_plug_in_is_a_note(source):
    base, new = BASE.assign(plugin_source=source), other(plugin_source="b")
    notes = {verdict.metric: verdict.note for verdict in run_comparison.compare_runs(base, new)}
    assert notes["seeds"] == "another source of the plug-in"
    assert "incomparable" not in list_words(base, new)
    assert run_comparison.compare_runs(base, other(plugin_source=source))[0].note == ""
