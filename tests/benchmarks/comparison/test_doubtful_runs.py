"""`compare` with incomplete, inconsistent or exceptional runs."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.comparison import run_comparison, verdict_tables
from benchmarks.comparison.verdicts import choose_exit_code
from tests.benchmarks.synthetic_runs import lose_seeds, make_results, slow_down

TWENTY, TEN = range(20), range(100, 110)
BASE = make_results(seeds=TWENTY)
MANY = [f"v{i}" for i in range(16)]


def new(variants=("vae",), seeds=TEN, **options):
    return make_results(variants, seeds, **{"seed": 1} | options)


def compare(base, new, **options):
    """Return the verdicts by variant and metric, and the exit code."""
    verdicts = run_comparison.compare_runs(base, new, **options)
    return {(v.variant, v.metric): v for v in verdicts}, choose_exit_code(verdicts)


def explode(rows, seeds):
    """Return the results with the ELBO of these seeds lowered by 1e8 nats."""
    rows = rows.copy()
    rows.loc[rows["seed"].isin(seeds) & (rows["epoch"] == 3), ["elbo", "log_likelihood"]] -= 1e8
    rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
    return rows


def test_failed_cells_of_base_hide_no_drop():
    broken = lose_seeds(BASE, TWENTY, "failed")
    verdicts, code = compare(broken, new(elbo=-200.0))
    assert (verdicts["vae", "seeds"].word, code) == ("incomparable", 3)
    assert verdicts["vae", "seeds"].note == "no result in base: 20 of 20 cells failed; run them again"
    verdicts, code = compare(lose_seeds(BASE, range(10), "timeout"), lose_seeds(new(), range(100, 108), "diverged"))
    assert (verdicts["vae", "seeds"].word, code) == ("regressed", 1)
    assert verdicts["vae", "seeds"].note == "lost seeds: 0 of 10 in base, 8 of 10 in new; 10 of 20 cells failed in base"


def test_one_of_many_variants_loses_most_seeds():
    """Variants without lost seeds don't count as tests in the adjustment."""
    base = slow_down(make_results(MANY, range(10)), 1.0, 0)
    worse = lose_seeds(base[base["variant"] == "v0"], range(8), "diverged")
    verdicts, code = compare(base, pd.concat([worse, base[base["variant"] != "v0"]]))
    assert (verdicts["v0", "seeds"].word, code) == ("regressed", 1)
    few = new(MANY, range(100, 103))
    gone = lose_seeds(few[few["variant"] == "v0"], range(100, 103), "diverged")
    before = lose_seeds(make_results(MANY, TWENTY), [3], "diverged")
    verdicts, code = compare(before, pd.concat([gone, few[few["variant"] != "v0"]]))
    assert verdicts["v0", "seeds"].word in ("regressed", "inconclusive")  # 3 of 3, and 1 of 20 before


def test_more_lost_seeds_are_inconclusive_if_not_significant():
    verdicts, code = compare(
        make_results(seeds=range(3)), lose_seeds(new(seeds=range(100, 103)), [100, 101], "diverged")
    )
    assert (verdicts["vae", "seeds"].word, code) == ("inconclusive", 0)
    assert "lost seeds: 0 of 3 in base, 2 of 3 in new" in verdict_tables.render_verdicts(
        list(verdicts.values()), "text"
    )
    verdicts, code = compare(lose_seeds(BASE, range(12), "diverged"), new())
    assert (verdicts["vae", "seeds"].word, code) == ("improved", 0)


@pytest.mark.parametrize(
    ("exploded", "word", "code"), [(1, "inconclusive", 0), (3, "inconclusive", 0), (5, "regressed", 1)]
)
def test_exploded_seeds_that_end_ok_count_as_lost(exploded, word, code):
    """The median would not show a minority of exploded seeds."""
    verdicts, ended = compare(BASE, explode(new(), range(100, 100 + exploded)))
    assert (verdicts["vae", "seeds"].word, ended) == (word, code)
    assert f"lost or outlying seeds: 0 of 20 in base, {exploded} of 10 in new" in verdicts["vae", "seeds"].note
    same, ended = compare(explode(BASE, range(8)), explode(new(), range(100, 104)))
    assert (same["vae", "seeds"].word, ended) == ("unchanged", 0)


def test_difference_near_the_tolerance_needs_no_more_seeds():
    base = make_results(seeds=range(40), spread=0.3)
    shift = np.random.default_rng(0).normal(0, 0.05, 40)
    new_rows = base.assign(elbo=base["elbo"] + (shift - shift.mean() - 0.495)[base["seed"]])
    new_rows["reconstruction_error"] = -new_rows["elbo"] - new_rows["kl"]
    verdicts, code = compare(base, new_rows)
    assert (verdicts["vae", "elbo"].word, verdicts["vae", "elbo"].seeds, code) == ("inconclusive", None, 0)
    text = verdict_tables.render_verdicts(list(verdicts.values()), "text")
    assert "the interval excludes 0, but a difference beyond the tolerance is not certain; decide by its size" in text


def test_reconstruction_error_gates_if_there_is_no_elbo():
    none = {"elbo": np.nan, "kl": np.nan, "log_likelihood": np.nan, "gradient_variance": np.nan}
    base, new_rows = make_results(seeds=TWENTY).assign(**none), new().assign(**none)
    new_rows["reconstruction_error"] += 2
    verdicts, code = compare(base, new_rows)
    assert (verdicts["vae", "reconstruction_error"].word, code) == ("regressed", 1)
    assert compare(BASE, new().assign(reconstruction_mse=0.5))[1] == 0


def test_speed_of_different_processors_is_incomparable():
    base, new_rows = slow_down(make_results(), 1.0, 0), slow_down(new(seeds=range(100, 105)), 1.5, 30)
    mixed = [
        rows.assign(processor=np.where(rows["seed"] % 100 == odd, "b", "a")) for rows, odd in ((base, 4), (new_rows, 0))
    ]
    verdicts, code = compare(*mixed)
    assert (verdicts["vae", "machine_fraction"].word, code) == ("incomparable", 0)


def test_overlapping_runs_did_not_take_turns():
    base, new_rows = slow_down(make_results(), 1.0, 0), slow_down(new(seeds=range(100, 105)), 1.5, 30)
    assert compare(*(rows.assign(ended=rows["started"]) for rows in (base, new_rows)))[1] == 1
    longer = base.assign(ended="2026-01-01T01:00:00Z")
    verdicts, code = compare(longer, new_rows)
    assert (verdicts["vae", "machine_fraction"].word, code) == ("regressed", 0)
    assert "base and new did not take turns" in verdicts["vae", "machine_fraction"].note
    assert verdicts["vae", "machine_fraction"].test == "pooled t"


def test_additional_data_set_is_new_or_missing():
    more = pd.concat([new(), new(dataset="digits", protocol_id="q")])
    more["cell_id"] += more["dataset"]
    verdicts = run_comparison.compare_runs(BASE, more)
    assert {v.word for v in verdicts if v.dataset == "digits"} == {"new"}
    assert choose_exit_code(verdicts) == 0
    assert choose_exit_code(run_comparison.compare_runs(more, new())) == 2


def test_run_with_two_protocols_is_incomparable():
    mixed = pd.concat([BASE, make_results(seeds=range(30, 50), protocol_id="q")])
    for sides in ((mixed, mixed), (BASE, mixed), (mixed, BASE)):
        verdicts, code = compare(*sides)
        assert code == 3
        assert "contains 2 protocols; compare runs of one protocol each" in verdicts["vae", "seeds"].note


def test_missing_advice_metric_is_only_advice():
    verdicts, code = compare(BASE, new(reconstruction_mse=np.nan))
    assert (verdicts["vae", "reconstruction_mse"].word, code) == ("incomparable", 0)
    assert compare(BASE, new(gradient_variance=np.nan))[1] == 3


def test_gradient_variance_of_0_is_a_failure():
    verdicts, code = compare(BASE, new(gradient_variance=0.0))
    assert (verdicts["vae", "gradient_variance"].word, code) == ("failed", 2)
    half = new()
    half.loc[half["seed"] < 105, "gradient_variance"] = 0.0
    verdicts, code = compare(BASE, half)
    assert (verdicts["vae", "gradient_variance"].word, code) == ("failed", 2)
    assert "the value is 0 in 5 of 10 seeds of new, in none of base" in verdicts["vae", "gradient_variance"].note
    assert compare(BASE.assign(gradient_variance=0.0), new(gradient_variance=0.0))[1] == 0


def test_metric_missing_in_most_cells_is_a_failure():
    blank = new()
    blank.loc[blank["seed"] > 100, ["elbo", "reconstruction_error", "kl", "log_likelihood"]] = np.nan
    verdicts, code = compare(BASE, blank)
    assert (verdicts["vae", "elbo"].word, code) == ("failed", 2)
    assert verdicts["vae", "elbo"].note == "only 1 of 10 cells have a value in new"


def test_table_without_its_last_lines():
    verdicts, code = compare(BASE, new().query("epoch == 0"))
    assert code == 3
    assert (
        verdicts["vae", "seeds"].note
        == "epochs: 3 in base, 0 in new; the protocol is the same, so the last rows of one run are missing"
    )
    some = new()
    verdicts, code = compare(BASE, some[(some["epoch"] == 0) | (some["seed"] > 103)])
    assert (verdicts["vae", "seeds"].word, code) == ("failed", 2)
    assert "4 of 10 cells failed in new; run them again" in verdicts["vae", "seeds"].note


def test_gradient_variance_is_compared_only_at_epoch_0():
    verdicts, _ = compare(BASE.query("epoch > 0"), new().query("epoch > 0"))
    assert ("vae", "elbo") in verdicts
    assert ("vae", "gradient_variance") not in verdicts


def test_identical_means_bit_identical():
    nearly = BASE.assign(gradient_variance=np.nextafter(BASE["gradient_variance"].to_numpy(), np.inf))
    assert compare(BASE, nearly)[0]["vae", "gradient_variance"].word == "unchanged"


def test_allow_covers_incomparable_but_not_failed():
    other = run_comparison.compare_runs(BASE, new(protocol_id="q"))
    assert choose_exit_code(other, ["vae"]) == 0
    assert "1 incomparable (allowed); exit code 0" in verdict_tables.render_verdicts(other, "text", ["vae"], 0)
    wrong = new()
    wrong["elbo"] += 30
    broken = run_comparison.compare_runs(BASE, wrong)
    assert choose_exit_code(broken, ["vae"]) == 2
    assert "allowed" not in verdict_tables.render_verdicts(broken, "text", ["vae"], 2)


def test_notes_of_inconclusive_verdicts():
    base, new_rows = make_results(seeds=range(4), spread=3.0), new(seeds=range(100, 104), spread=3.0)
    for rows in (base, new_rows):
        rows["kl"] += rows["seed"] % 3
        rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
        rows["throughput"] = 4e4 * (1 + 0.5 * (rows["seed"] % 3))
        rows["machine_fraction"] = np.nan
    lines = verdict_tables.render_verdicts(
        list(compare(base, new_rows)[0].values()), "text", show_all=True
    ).splitlines()
    (kl,) = [line for line in lines if " kl " in line]
    (speed,) = [line for line in lines if " throughput " in line]
    assert "smallest detectable" not in kl
    assert "seeds per run" in kl
    assert "smallest detectable change: -" in speed
    assert "measurements per run" in speed
