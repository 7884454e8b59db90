"""Verdicts from tests and counts that are given, and their numbers in tables."""

import math

import numpy as np
import pytest

from benchmarks.comparison import run_comparison, speed, verdict_tables
from benchmarks.comparison.run_groups import group_results
from benchmarks.comparison.two_sample import Difference
from benchmarks.comparison.verdicts import Test as VerdictTest
from benchmarks.comparison.verdicts import Verdict, decide_verdicts
from benchmarks.reporting.metrics import METRIC_BY_NAME
from tests.benchmarks.synthetic_runs import lose_seeds, make_results


def make_test(metric, p, *, advice=False):
    """A test of a drop of 1, twice the tolerance, or of lost seeds."""
    draft = Verdict("digits", "vae", metric, "unchanged", tolerance=0.5, advice=advice)
    drop = Difference(-1.0, -1.4, -0.6, p, 1 - p, "pooled t", 0.2, 18, 0.4)
    return VerdictTest(draft, p, 1 - p, None if metric == "seeds" else drop)


def decide(*tests):
    return [verdict.word for verdict in decide_verdicts(tests, alpha=0.01)]


def test_alpha_is_shared_by_the_tests_that_set_the_exit_code():
    assert decide(make_test("elbo", 0.008)) == ["regressed"]
    assert decide(make_test("elbo", 0.008), make_test("seeds", 0.9)) == ["inconclusive", "unchanged"]
    assert decide(make_test("elbo", 0.004), make_test("seeds", 0.9)) == ["regressed", "unchanged"]
    assert decide(make_test("elbo", 0.9), make_test("seeds", 0.008))[1] == "unchanged"
    assert decide(make_test("elbo", 0.008), make_test("gradient_variance", 0.9))[0] == "inconclusive"


def test_advice_costs_no_significance():
    advice = [make_test(name, 0.9, advice=True) for name in ("kl", "throughput")]
    assert decide(make_test("elbo", 0.008), *advice)[0] == "regressed"
    assert decide(*advice, make_test("kl", 0.0034, advice=True))[2] == "inconclusive"
    assert decide(*advice, make_test("kl", 0.0033, advice=True))[2] == "regressed"


@pytest.mark.parametrize(("lost", "word"), [(3, "inconclusive"), (1, "unchanged")])
def test_shares_of_lost_seeds_are_compared(lost, word):
    """5 of 40 seeds are lost in base, and these of 10 in new."""
    base, new = make_results(seeds=range(40)), make_results(seeds=range(50, 60), seed=1)
    verdicts = run_comparison.compare_runs(
        lose_seeds(base, range(5), "diverged"), lose_seeds(new, range(50, 50 + lost), "diverged")
    )
    assert next(v.word for v in verdicts if v.metric == "seeds") == word


def test_a_substitute_decides_only_if_neither_run_has_the_metric():
    with_elbo, without = (group_results(make_results(elbo=value))["mnist5k", "vae"] for value in (-90.0, np.nan))
    metric = METRIC_BY_NAME["reconstruction_error"]
    pairs = [(with_elbo, with_elbo), (with_elbo, without), (without, with_elbo), (without, without)]
    assert [run_comparison.is_gating(metric, *pair) for pair in pairs] == [False, False, False, True]


def test_metrics_before_training_are_those_of_complete_cells():
    group = group_results(lose_seeds(make_results(), [1, 3], "diverged"))["mnist5k", "vae"]
    assert [group.rows[checkpoint]["seed"].tolist() for checkpoint in ("first", "last")] == [[0, 2, 4]] * 2


def make_cells(*intervals):
    """Columns of cells with these first and last minutes, and the speed 2."""
    started, ended = (np.array([f"2026-01-01T00:{pair[i]:02d}:00Z" for pair in intervals]) for i in (0, 1))
    kinds = {name: np.full(len(intervals), "a") for name in ("processor", "mode")}
    return kinds | {"started": started, "ended": ended, "machine_fraction": np.full(len(intervals), 2.0)}


def test_runs_that_overlap_have_no_turns():
    base = make_cells((0, 10), (20, 30))
    assert speed.find_turns(base, make_cells((10, 20), (30, 40)), "machine_fraction") == [[math.log(2)] * 2] * 2
    assert speed.find_turns(base, make_cells((9, 19), (30, 40)), "machine_fraction") == [[], []]


@pytest.mark.parametrize(("turns", "advice"), [(3, False), (2, True)])
def test_speed_decides_if_both_runs_have_enough_turns(turns, advice):
    base = make_cells(*[(20 * i, 20 * i + 10) for i in range(3)])
    new = make_cells(*[(20 * i + 10, 20 * i + 20) for i in range(turns)])
    test = speed.make_speed_test(("digits", "vae"), METRIC_BY_NAME["machine_fraction"], base, new, gates=True)
    assert test.draft.advice == advice


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("elbo", -0.5, "-0.50"),
        ("elbo", 0.5, "+0.50"),
        ("throughput", math.log(1.05), "+5.0 %"),
        ("throughput", math.log(0.75), "-25 %"),
        ("gradient_variance", math.log(2), "+100 %"),
        ("gradient_variance", math.log(1000), "x 1e+03"),
    ],
)
def test_changes_of_logarithms_are_in_per_cent_of_the_value(metric, value, text):
    assert verdict_tables._format_change(Verdict("digits", "vae", metric, "unchanged"), value) == text


@pytest.mark.parametrize(("metric", "text"), [("elbo", "-2.00"), ("reconstruction_error", "+2.00")])
def test_the_smallest_detectable_change_is_for_the_worse(metric, text):
    verdict = Verdict("digits", "vae", metric, "inconclusive", low=-1.0, high=1.0, smallest=2.0, seeds=7)
    note = f"smallest detectable change: {text}; a clear verdict needs 7 seeds per run"
    assert verdict_tables._format_note(verdict) == note
