"""`compare`: each verdict and its exit code, from synthetic results."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.comparison import run_comparison, verdict_tables
from benchmarks.comparison.verdicts import choose_exit_code
from tests.benchmarks.synthetic_runs import lose_seeds, make_results, slow_down


def verdict(base, new, metric="elbo", variant="vae", **options):
    """Return the word of one verdict, and the exit code."""
    verdicts = run_comparison.compare_runs(base, new, **options)
    (word,) = [v.word for v in verdicts if (v.variant, v.metric) == (variant, metric)]
    return word, choose_exit_code(verdicts)


def other(**options):
    return make_results(**{"seeds": range(100, 110), "seed": 1} | options)


BASE = make_results(seeds=range(20))


def test_same_results_are_identical():
    verdicts = run_comparison.compare_runs(BASE, BASE.copy())
    quality = [v.word for v in verdicts if v.metric in ("elbo", "kl", "gradient_variance", "log_likelihood")]
    assert set(quality) == {"identical"}
    assert {v.word for v in verdicts} <= {"identical", "unchanged", "inconclusive"}
    assert choose_exit_code(verdicts) == 0


def test_subset_of_seeds_is_identical_on_shared_seeds():
    some = BASE[BASE["seed"] < 3]
    assert verdict(BASE, some) == ("identical", 0)
    assert verdict(some, BASE) == ("identical", 0)
    (elbo,) = [v for v in run_comparison.compare_runs(BASE, some) if v.metric == "elbo"]
    assert (elbo.base, elbo.new) == (some.loc[some["epoch"] == 3, "elbo"].median(),) * 2
    assert elbo.note == "compared on 3 shared seeds"


@pytest.mark.parametrize("style", verdict_tables.VERDICT_FORMATS)
def test_minus_100_is_worse_than_minus_90(style):
    """A rule on ratios of negative numbers would reverse the verdict."""
    worse = run_comparison.compare_runs(BASE, other(elbo=-100.0))
    better = run_comparison.compare_runs(other(elbo=-100.0), BASE)
    assert (choose_exit_code(worse), choose_exit_code(better)) == (1, 0)
    for verdicts, word in ((worse, "regressed"), (better, "improved")):
        text = verdict_tables.render_verdicts(verdicts, style)
        if style == "json":
            (elbo,) = [v for v in json.loads(text)["verdicts"] if v["metric"] == "elbo"]
            assert elbo["verdict"] == word
        else:
            (line,) = [line for line in text.splitlines() if " elbo " in line]
            assert word in line


def test_other_seeds_of_equal_code_are_unchanged():
    assert verdict(BASE, other()) == ("unchanged", 0)


def test_significant_difference_within_the_tolerance_is_unchanged():
    assert verdict(BASE, other(elbo=-90.4, spread=0.001)) == ("unchanged", 0)
    assert verdict(make_results(spread=0.0), other(spread=0.0, elbo=-90.51)) == ("regressed", 1)


def test_tolerance_is_smaller_on_small_data():
    base, new = make_results(spread=0.01, dataset="digits"), other(spread=0.01, elbo=-90.3)
    assert verdict(base, new.assign(dataset="digits")) == ("regressed", 1)
    assert verdict(base.assign(dataset="mnist5k"), new) == ("unchanged", 0)


def test_few_seeds_are_inconclusive_with_the_detectable_change():
    base, new = make_results(seeds=range(3), spread=2.0), other(seeds=range(100, 103), spread=2.0, elbo=-91.0)
    verdicts = run_comparison.compare_runs(base, new)
    (elbo,) = [v for v in verdicts if v.metric == "elbo"]
    assert (elbo.word, choose_exit_code(verdicts)) == ("inconclusive", 0)
    assert elbo.smallest > 2
    assert elbo.seeds > 10
    assert "smallest detectable change: -" in verdict_tables.render_verdicts(verdicts, "text")


def test_gradient_variance_is_compared_in_logarithms_before_training():
    new = other()
    new.loc[new["epoch"] == 0, "gradient_variance"] *= 1.5
    assert verdict(BASE, new, "gradient_variance") == ("regressed", 1)
    later = other()
    later.loc[later["epoch"] == 3, "gradient_variance"] *= 100
    assert verdict(BASE, later, "gradient_variance")[1] == 0


def test_metric_without_direction_never_regresses():
    new = other(kl=40.0)
    new["reconstruction_error"] = -new["elbo"] - 40.0
    assert verdict(BASE, new, "kl") == ("inconclusive", 0)


def test_advice_leaves_the_exit_code_alone():
    assert verdict(BASE, other(log_likelihood=-80.0), "log_likelihood")[1] == 0
    assert verdict(BASE, other(reconstruction_mse=0.3), "reconstruction_mse") == ("regressed", 0)


@pytest.mark.parametrize("column", ["elbo", "log_likelihood"])
def test_a_broken_evaluator_is_never_an_improvement(column):
    new = other()
    new[column] += 30 if column == "elbo" else -30
    verdicts = run_comparison.compare_runs(BASE, new)
    assert [v.word for v in verdicts] == ["failed"]
    assert choose_exit_code(verdicts) == 2
    assert "new, seed 100, epoch 0: elbo" in verdicts[0].note


def test_more_diverged_seeds_regress_even_if_the_others_improve():
    assert verdict(BASE, lose_seeds(other(elbo=-80.0), range(100, 107), "diverged"), "seeds") == ("regressed", 1)
    assert verdict(BASE, lose_seeds(other(), [100], "diverged"), "seeds") == ("inconclusive", 0)
    single = other(seeds=[100])
    assert verdict(BASE, lose_seeds(single, [100], "diverged"), "seeds") == (
        "regressed",
        1,
    )  # new lost all seeds, base none
    assert (
        verdict(lose_seeds(BASE, range(10), "diverged"), lose_seeds(other(), range(100, 105), "diverged"), "seeds")[1]
        == 0
    )


def test_failed_cell_gives_exit_code_2():
    assert verdict(BASE, lose_seeds(other(), [100], "timeout"), "seeds") == ("failed", 2)


def test_missing_new_and_allowed_variants():
    both = make_results(("vae", "iwae"))
    assert verdict(both, make_results(), "seeds", "iwae") == ("missing", 2)
    assert verdict(make_results(), both, "seeds", "iwae") == ("new", 0)
    assert choose_exit_code(run_comparison.compare_runs(both, make_results()), ["iwae"]) == 0
    assert choose_exit_code(run_comparison.compare_runs(BASE, other(elbo=-100.0)), ["vae"]) == 0


def test_exploded_seeds_use_ranks():
    base, new = make_results(seeds=range(20), spread=1.0), other(spread=1.0)
    for rows in (base, new):
        exploded = rows["seed"] == rows["seed"].min()
        rows.loc[exploded, "elbo"] -= 1e8
        rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
    verdicts = run_comparison.compare_runs(base, new)
    (elbo,) = [v for v in verdicts if v.metric == "elbo"]
    assert elbo.test == "ranks"
    assert choose_exit_code(verdicts) == 0
    assert "rank test, because of outliers" in verdict_tables.render_verdicts(verdicts, "text")


def test_slower_step_fails_only_if_measured_in_turns():
    base = slow_down(make_results(), 1.0, 0)
    in_turns, after = (
        slow_down(other(seeds=range(100, 105)), 1.5, 30),
        slow_down(other(seeds=range(100, 105)), 1.5, 1800),
    )
    assert verdict(base, in_turns, "machine_fraction") == ("regressed", 1)
    assert verdict(base, after, "machine_fraction") == ("regressed", 0)
    advice = verdict_tables.render_verdicts(run_comparison.compare_runs(base, after), "text")
    assert "regressed (advice)" in advice
    assert "only advice: base and new did not take turns" in advice
    assert verdict(base, slow_down(other(seeds=range(100, 105)), 1.03, 30), "machine_fraction")[1] == 0
    for change in ({"processor": "b"}, {"mode": "compiled"}):
        assert verdict(base, in_turns.assign(**change), "machine_fraction") == ("incomparable", 0)


def test_processor_throughput_takes_precedence():
    """Wall-clock time 50 % longer because of other work on the machine."""
    base, new = slow_down(make_results(), 1.0, 0), slow_down(other(seeds=range(100, 105)), 1.5, 30)
    for rows in (base, new):
        rows["processor_throughput"] = 4e4 + 100 * (rows["seed"] % 3)
    verdicts = run_comparison.compare_runs(base, new)
    assert choose_exit_code(verdicts) == 0
    assert "machine_fraction" not in {v.metric for v in verdicts}
    new["processor_throughput"] *= 0.9
    assert verdict(base, new, "processor_throughput") == ("regressed", 1)


def test_false_alarm_rate_is_at_most_alpha():
    """120 comparisons of equal code, 4 variants each: at most 20 % false alarms at alpha 0.2."""
    names = ("a", "b", "c", "d")
    alarms = 0
    for trial in range(120):
        base, new = (
            make_results(names, seeds, spread=4.0, seed=2 * trial + i)
            for i, seeds in enumerate((range(9), range(50, 54)))
        )
        alarms += choose_exit_code(run_comparison.compare_runs(base, new, ["elbo"], alpha=0.2)) == 1
    assert alarms < 120 * 0.2 + 3 * np.sqrt(120 * 0.2 * 0.8)
    assert alarms > 3  # a test that never gives an alarm would be useless


def test_the_tables_are_not_searched_again_for_each_variant(monkeypatch):
    """The number of operations on whole tables is the same for 2 and for 20 variants."""
    calls, counts = Counter(), []

    def count(name):
        method = getattr(pd.DataFrame, name)
        monkeypatch.setattr(pd.DataFrame, name, lambda *a, **k: (calls.update([name]), method(*a, **k))[1])

    for name in ("__getitem__", "groupby", "drop_duplicates"):
        count(name)
    for variants in (2, 20):
        names = [f"v{i}" for i in range(variants)]
        base, new = make_results(names, range(6)), make_results(names, range(6), seed=1)
        calls.clear()
        assert len(run_comparison.compare_runs(base, new)) > 8 * variants
        counts.append(dict(calls))
    assert counts[0] == counts[1]
    assert set(counts[0]) == {"__getitem__", "groupby", "drop_duplicates"}


def test_json_has_every_verdict_and_no_nan():
    verdicts = run_comparison.compare_runs(BASE, other())
    answer = json.loads(verdict_tables.render_verdicts(verdicts, "json", code=choose_exit_code(verdicts)))
    assert answer["exit_code"] == 0
    assert len(answer["verdicts"]) == len(verdicts)
    with pytest.raises(UserError, match="unknown format 'xml'"):
        verdict_tables.render_verdicts(verdicts, "xml")
