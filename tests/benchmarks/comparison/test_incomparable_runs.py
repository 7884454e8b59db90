"""`compare`: which runs it refuses to compare, and which changes are a note."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.comparison import conditions, run_comparison, verdict_tables
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


CONDITIONS = {
    "torch": "2.14.1",
    "processor": "a",
    "mode": "eager",
    "precision": "float32",
    "device": "cpu",
    "threads": 1.0,
}


def compare_under(base, new):
    """The notes of a regressed ELBO, of a speed and of the seeds, and the header, under these conditions."""
    tables = make_results(seeds=range(20), **base), other(elbo=-100.0, machine_fraction=0.3, **new)
    verdicts = run_comparison.compare_runs(*tables)
    notes = {verdict.metric: (verdict.word, verdict.note) for verdict in verdicts}
    assert notes["elbo"][0] == "regressed"
    sides = verdict_tables.describe_sides([Path("x"), Path("y")], tables)
    headers = [
        verdict_tables.render_verdicts(verdicts, "text", sides=sides).partition("\n\n")[0],
        verdict_tables.render_verdicts(verdicts, "markdown", sides=sides).partition("\n\n")[0],
        verdict_tables.describe_for_page(verdicts, sides)["note"],
        json.dumps(json.loads(verdict_tables.render_verdicts(verdicts, "json", sides=sides))["new"]["conditions"]),
    ]
    return notes["elbo"][1], notes["machine_fraction"], headers


@pytest.mark.parametrize(
    ("name", "value", "quality", "speed"),
    [
        ("torch", "2.15.0", True, True),
        ("processor", "b", True, True),
        ("mode", "compiled", True, True),
        ("precision", "bfloat16", True, False),
        ("device", "cuda", True, False),
        ("threads", 2.0, False, True),
        ("torch", np.nan, True, True),
    ],
)
def test_another_condition_is_said_where_it_may_explain_a_verdict(name, value, quality, speed):
    text = f"{value:g}" if isinstance(value, float) else value
    known, text = f"{CONDITIONS[name]:g}" if name == "threads" else CONDITIONS[name], text.replace("nan", "unknown")
    words = f"{name} {known} in base, {text} in new"
    elbo, (speed_word, speed_note), headers = compare_under(CONDITIONS, CONDITIONS | {name: value})
    assert (words in elbo) == quality
    if name in ("processor", "mode"):
        assert (speed_word, speed_note) == ("incomparable", f"{name}s differ: {known} in base, {text} in new")
    else:
        assert (words in speed_note) == speed
    assert all(words in header for header in headers[:3])
    assert headers[3] == json.dumps({name: [] if text == "unknown" else [text]})


def test_nothing_is_said_where_all_conditions_agree():
    elbo, (_, speed), headers = compare_under(CONDITIONS, CONDITIONS)
    assert "conditions" not in " ".join([elbo, speed, *headers])
    assert headers[3] == "{}"


def test_a_run_with_several_conditions_is_said():
    mixed = ["2.14.1", "2.15.0"] * 10
    base, new = make_results(seeds=range(20), **CONDITIONS), other(elbo=-100.0, **CONDITIONS)
    both = "torch 2.14.1 and 2.15.0 in both"
    new["torch"] = mixed
    for table, words in (
        (base, "torch 2.14.1 in base, 2.14.1 and 2.15.0 in new"),
        (base.assign(torch=mixed * 2), both),
    ):
        verdicts = {v.metric: v for v in run_comparison.compare_runs(table, new)}
        assert verdicts["elbo"].note == f"may be due to other conditions: {words}"
        sides = verdict_tables.describe_sides([Path("x"), Path("y")], (table, new))
        assert f"other conditions: {words}" in verdict_tables.render_verdicts([], "text", sides=sides)


def test_variants_of_different_modes_agree_if_each_is_the_same_on_both_sides():
    sides = [pd.concat([make_results(("vae",), mode="eager"), make_results(("iwae",), mode="compiled")])] * 2
    assert conditions.merge_differing(*sides) == ({}, {})
    alone = make_results(("vae",), mode="eager")
    assert conditions.merge_differing(sides[0], alone) == ({}, {})


def test_equal_results_need_no_explanation():
    verdicts = run_comparison.compare_runs(BASE.assign(torch="1"), BASE.assign(torch="2"))
    assert {v.note for v in verdicts if v.word in ("identical", "unchanged")} == {""}
