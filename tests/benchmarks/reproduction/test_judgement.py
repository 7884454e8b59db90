"""The status of claims, from tables with known values."""

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.common.seed_statistics import t_half_width
from benchmarks.reproduction import tables
from benchmarks.reproduction.claims import Check, Claim, ClaimedRun, Control, Term
from benchmarks.reproduction.judgement import describe_expected, judge
from benchmarks.reproduction.quantities import estimate_quantity

ELBOS = {"a": [-100.0, -101.0, -103.0], "b": [-110.0, -112.0, -111.0], "wrong": [-150.0, -151.0, -152.0]}
A, B = (Term(column="elbo", where={"variant": name}) for name in "ab")
MINUS_B = B.model_copy(update={"factor": -1.0})


def make_table(values=ELBOS, seeds=3):
    rows = [
        {
            "variant": name,
            "seed": seed,
            "epoch": epoch,
            "elbo": value + epoch - 2,
            "elbo_se": 0.1 * (seed + 1),
            "kl": 1.0,
        }
        for name, by_seed in values.items()
        for seed, value in enumerate(by_seed[:seeds])
        for epoch in (0, 2)
    ]
    return {"main": pd.DataFrame(rows)}


def make_check(*terms, **fields):
    return Check(**{"quantity": "q", "kind": "printed", "terms": terms, "reason": "r", **fields})


def make_claim(*checks, **control):
    planted = Control(mistake="m", **(control or {"where": {"variant": "wrong"}}))
    parts = {"title": "t", "source": "s", "hours": 1, "deviations": (), "name": "mine"}
    return Claim(runs=(ClaimedRun(variants=("a",)),), checks=checks, control=planted, **parts)


def estimate(check, tables=None):
    return estimate_quantity(make_claim(check), check, tables or make_table())


def test_the_mean_over_seeds_at_the_last_epoch():
    value, se = estimate(make_check(A, above=0))
    half = t_half_width(ELBOS["a"])
    assert (value.n, value.value) == (3, pytest.approx(np.mean(ELBOS["a"])))
    assert (value.low, value.high) == (pytest.approx(value.value - half), pytest.approx(value.value + half))
    assert se == pytest.approx(0.1 * math.sqrt(1 + 4 + 9) / 3)


def test_an_epoch_can_be_named():
    first = A.model_copy(update={"where": {"variant": "a", "epoch": 0}})
    assert estimate(make_check(first, above=0))[0].value == pytest.approx(np.mean(ELBOS["a"]) - 2)


def test_differences_are_paired_by_seed():
    value, _ = estimate(make_check(A, MINUS_B, above=0))
    differences = np.subtract(ELBOS["a"], ELBOS["b"]).tolist()
    assert value.value == pytest.approx(np.mean(differences))
    assert value.high - value.value == pytest.approx(t_half_width(differences))


def test_one_seed_has_the_interval_of_the_measurement():
    value, se = estimate(make_check(A, above=0), make_table(seeds=1))
    assert (value.n, se) == (1, pytest.approx(0.1))
    assert value.high - value.value == pytest.approx(1.96 * 0.1)
    value, se = estimate(make_check(Term(column="kl", where={"variant": "a"}), above=0), make_table(seeds=1))
    assert math.isnan(se)
    assert math.isnan(value.low)


def test_a_ratio_has_the_relative_errors_of_both():
    value, se = estimate(make_check(A, divisor=B, above=0), make_table(seeds=1))
    assert value.value == pytest.approx(100 / 110)
    assert se == pytest.approx(100 / 110 * math.hypot(0.1 / 100, 0.1 / 110))


@pytest.mark.parametrize("exponent", [-1.0, 0.5])
def test_a_slope_is_that_of_a_power_law_for_each_seed(exponent):
    rows = [
        {"variant": "a", "seed": seed, "draws": k, "value": (seed + 1) * k**exponent, "se": 1.0}
        for seed in range(3)
        for k in (1, 4, 16)
    ]
    check = make_check(Term(where={"variant": "a"}), slope_over="draws", above=0)
    value, se = estimate(check, {"main": pd.DataFrame(rows)})
    assert value.value == pytest.approx(exponent)
    assert math.isnan(se)


def test_rows_over_all_seeds_are_left_out():
    tables = make_table()
    tables["main"] = pd.concat([tables["main"], tables["main"].iloc[:1].assign(seed=math.nan, epoch=2, elbo=math.nan)])
    assert estimate(make_check(A, above=0), tables)[0].value == pytest.approx(np.mean(ELBOS["a"]))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"published": -101.0, "tolerance": 0.5}, "verified"),
        ({"published": -101.9, "tolerance": 0.5}, "refuted"),
        ({"published": -101.0, "standard_errors": 5}, "verified"),
        ({"published": -99.0, "standard_errors": 5}, "refuted"),
        ({"above": -110}, "verified"),
        ({"above": -102}, "refuted"),  # the value is above, but not its interval
        ({"below": -90}, "refuted"),  # the planted mistake is also below
        ({"above": -110, "below": -101}, "refuted"),
    ],
)
def test_a_status_follows_from_the_numbers(fields, status):
    assert judge(make_claim(make_check(A, **fields)), make_table()).status == status


def test_one_failed_check_is_enough():
    good, bad = make_check(A, published=-101, tolerance=1), make_check(B, published=-101, tolerance=1, quantity="bad")
    judgement = judge(make_claim(good, bad), make_table())
    assert (judgement.status, len(judgement.outcomes)) == ("refuted", 2)
    assert judgement.reason == "bad: -111 [-113.48, -108.52], published -101 ± 1"


def test_a_planted_mistake_that_agrees_refutes():
    judgement = judge(make_claim(make_check(A, above=-200)), make_table())
    assert (judgement.status, judgement.reason) == ("refuted", "the planted mistake agrees as well: m")
    assert judge(make_claim(make_check(A, above=-110), column="kl"), make_table()).status == "refuted"
    assert judge(make_claim(make_check(A, above=-110, below=0), column="kl"), make_table()).status == "verified"


@pytest.mark.parametrize(
    ("term", "message"),
    [
        (Term(column="elbow"), "the table has no column elbow; see"),
        (Term(column="elbo", where={"varaint": "a"}), "the table has no column varaint; see"),
        (Term(column="elbo", where={"variant": "c"}), "the term elbo of variant=c selects no row"),
        (Term(column="elbo"), "the term elbo of all rows selects 3 rows of seed 0; add columns to where"),
        (Term(column="variant", where={"variant": "a"}), "has no number in the column variant for seed 0"),
    ],
)
def test_a_term_that_does_not_select_one_row_is_explained(term, message):
    with pytest.raises(UserError, match=message):
        estimate(make_check(term, above=0))


def test_a_number_that_is_missing_or_impossible_is_not_reached():
    """A value of one seed decides nothing about the others."""
    tables = make_table()
    tables["main"].loc[tables["main"]["seed"] == 1, "elbo"] = math.nan
    good = make_claim(make_check(A, published=-101.0, tolerance=1))
    judgement = judge(good, tables)
    assert (judgement.status, judgement.outcomes) == ("not reached", ())
    assert judgement.reason == "the term elbo of variant=a has no number in the column elbo for seed 1"
    tables = make_table()
    tables["main"] = tables["main"][(tables["main"]["seed"] != 1) | (tables["main"]["variant"] != "b")]
    both = make_check(A, MINUS_B, above=0)
    for check in (both, make_check(A, divisor=B, above=0)):
        assert "the terms of 'q' have different seeds" in judge(make_claim(check), tables).reason
    tables = make_table() | {}
    tables["main"]["kl"] = 0.0
    zero = make_check(A, divisor=Term(column="kl", where={"variant": "a"}), above=0)
    assert judge(make_claim(zero), tables).reason == "the divisor of 'q' is 0"
    slope = make_check(A, slope_over="kl", above=0)
    assert "has a value of 0 or less, seed 0; a slope needs positive ones" in judge(make_claim(slope), tables).reason
    unknown = make_check(Term(column="kl", where={"variant": "a"}), published=1, standard_errors=5)
    assert "the table has no standard error of 'q'; give a tolerance" in judge(make_claim(unknown), tables).reason


def test_a_note_is_added_to_the_reason():
    claim = make_claim(make_check(A, above=-102)).model_copy(update={"note": "Another data set."})
    assert judge(claim, make_table()).reason == "q: -101.33 [-105.13, -97.539], published above -102. Another data set."


def test_a_control_replaces_names_of_variants_and_runs():
    control = Control(mistake="m", variants={"a": "b"}, runs={"main": "other"}, where={"epoch": 0}, column="kl")
    term = Term(column="elbo", where={"variant": "a"}, run="main")
    assert control.plant(term) == Term(column="kl", where={"variant": "b", "epoch": 0}, run="other")
    assert control.plant(B).where == {"variant": "b", "epoch": 0}


def test_the_tables_of_the_pages():
    claim = make_claim(make_check(A, published=-101.0, tolerance=0.5), make_check(B, above=-120))
    table = tables.summary_markdown([judge(claim, make_table())])
    assert "| [`mine`](#mine) | q | -101 ± 0.5 | -101.33 [-105.13, -97.539] | verified |" in table
    assert "|  | q | above -120 | -111 [-113.48, -108.52] |  |" in table
    text = tables.claims_markdown([judge(claim, make_table())])
    assert "A planted mistake that misses the claim: m" in text
    assert "`python -m benchmarks reproduce mine` (1 h on one core)" in text
    remembered = make_check(A, published=-101.0, tolerance=0.5, kind="remembered")
    assert describe_expected(remembered) == "-101 ± 0.5 (remembered)"
    both = make_check(A, published=-101.0, tolerance=0.5, below=0)
    assert describe_expected(both) == "-101 ± 0.5 and below 0"
