"""`compare` with incomplete, inconsistent or exceptional runs."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks.common.errors import UserError
from benchmarks.comparison import run_comparison, verdict_tables
from benchmarks.comparison.two_sample import (
    compare_samples,
    compute_seeds_needed,
    compute_smallest_effect,
    count_far_off,
)
from benchmarks.comparison.verdicts import choose_exit_code
from benchmarks.reporting import results_table
from tests.benchmarks.synthetic_runs import lose_seeds, make_results, slow_down

TWENTY, TEN = range(20), range(100, 110)
BASE = make_results(seeds=TWENTY)
MANY = [f"v{i}" for i in range(16)]


def new(variants=("vae",), seeds=TEN, **options):
    return make_results(variants, seeds, **{"seed": 1} | options)


def compare(base, new, **options):
    """Return the verdicts by variant and metric, and the exit code."""
    found = run_comparison.compare_runs(base, new, **options)
    return {(v.variant, v.metric): v for v in found}, choose_exit_code(found)


def explode(rows, seeds):
    """Return the results with the ELBO of these seeds lowered by 1e8 nats."""
    rows = rows.copy()
    rows.loc[rows["seed"].isin(seeds) & (rows["epoch"] == 3), ["elbo", "log_likelihood"]] -= 1e8
    rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
    return rows


def test_failed_cells_of_base_hide_no_drop():
    broken = lose_seeds(BASE, TWENTY, "failed")
    found, code = compare(broken, new(elbo=-200.0))
    assert (found["vae", "seeds"].word, code) == ("incomparable", 3)
    assert found["vae", "seeds"].note == "no result in base: 20 of 20 cells failed; run them again"
    found, code = compare(lose_seeds(BASE, range(10), "timeout"), lose_seeds(new(), range(100, 108), "diverged"))
    assert (found["vae", "seeds"].word, code) == ("regressed", 1)
    assert found["vae", "seeds"].note == "lost seeds: 0 of 10 in base, 8 of 10 in new; 10 of 20 cells failed in base"


def test_one_of_many_variants_loses_most_seeds():
    """Variants without lost seeds don't count as tests in the adjustment."""
    base = slow_down(make_results(MANY, range(10)), 1.0, 0)
    worse = lose_seeds(base[base["variant"] == "v0"], range(8), "diverged")
    found, code = compare(base, pd.concat([worse, base[base["variant"] != "v0"]]))
    assert (found["v0", "seeds"].word, code) == ("regressed", 1)
    few = new(MANY, range(100, 103))
    gone = lose_seeds(few[few["variant"] == "v0"], range(100, 103), "diverged")
    before = lose_seeds(make_results(MANY, TWENTY), [3], "diverged")
    found, code = compare(before, pd.concat([gone, few[few["variant"] != "v0"]]))
    assert found["v0", "seeds"].word in ("regressed", "inconclusive")  # 3 of 3, and 1 of 20 before


def test_more_lost_seeds_are_inconclusive_if_not_significant():
    found, code = compare(make_results(seeds=range(3)), lose_seeds(new(seeds=range(100, 103)), [100, 101], "diverged"))
    assert (found["vae", "seeds"].word, code) == ("inconclusive", 0)
    assert "lost seeds: 0 of 3 in base, 2 of 3 in new" in verdict_tables.render_verdicts(list(found.values()), "text")
    found, code = compare(lose_seeds(BASE, range(12), "diverged"), new())
    assert (found["vae", "seeds"].word, code) == ("improved", 0)


@pytest.mark.parametrize(
    ("exploded", "word", "code"), [(1, "inconclusive", 0), (3, "inconclusive", 0), (5, "regressed", 1)]
)
def test_exploded_seeds_that_end_ok_count_as_lost(exploded, word, code):
    """The median would not show a minority of exploded seeds."""
    found, ended = compare(BASE, explode(new(), range(100, 100 + exploded)))
    assert (found["vae", "seeds"].word, ended) == (word, code)
    assert f"lost or outlying seeds: 0 of 20 in base, {exploded} of 10 in new" in found["vae", "seeds"].note
    same, ended = compare(explode(BASE, range(8)), explode(new(), range(100, 104)))
    assert (same["vae", "seeds"].word, ended) == ("unchanged", 0)


def test_only_far_worse_values_with_heavy_tails_are_far_off():
    source = np.random.default_rng(0)
    base, own = source.normal(0, 1, 20), source.normal(0, 1, 10)
    assert count_far_off(base, own) == (0, 0)
    assert count_far_off(base, own - 100) == (0, 0)  # all of them: a difference, and no tail
    assert count_far_off(base, np.append(own, -1e6)) == (0, 1)
    assert count_far_off(base, np.append(own, 1e6)) == (0, 0)
    assert count_far_off(base, np.array([])) == (0, 0)


def test_ranks_are_used_only_if_they_can_be_significant():
    base = {i: float(v) for i, v in enumerate(np.random.default_rng(0).normal(0, 0.1, 20))} | {0: -1e3}
    assert compare_samples(base, dict.fromkeys((50, 51, 52), -10.0)).test == "pooled t"
    ranks = compare_samples(base, {50 + i: v for i, v in base.items()})
    assert ranks.test == "ranks"
    assert np.isfinite(compute_smallest_effect(ranks, 0.5, 1e-3))
    assert compute_smallest_effect(ranks, 0.5, 1e-12) == np.inf


def test_choice_of_the_smaller_spread_gives_no_more_false_alarms():
    """Equal seeds with independent values, so that either test may have the smaller error."""
    source = np.random.default_rng(0)
    draws = [compare_samples(*(dict(enumerate(source.normal(size=5))) for _ in range(2))) for _ in range(20_000)]
    assert {"pooled t", "paired t"} == {found.test for found in draws}
    share = np.mean([found.p_less < 0.01 for found in draws])
    assert 0.005 < share < 0.01 + 3 * np.sqrt(0.01 * 0.99 / len(draws))


def test_seeds_needed_are_sufficient():
    """With a known spread, equal runs are unchanged in 95 of 100 cases, and twice the tolerance is detected."""
    source = np.random.default_rng(0)
    known = dataclasses.replace(compare_samples({0: 0.0, 1: 1.0}, {2: 0.0, 3: 1.0}), spread=1.0)
    level, tolerance = 1e-4, 0.5
    needed = compute_seeds_needed(known, tolerance, level)
    unchanged = seen = 0
    for _ in range(200):
        base, own = (dict(enumerate(source.normal(size=needed), first)) for first in (0, 5000))
        found = compare_samples(base, own)
        unchanged += -tolerance <= found.low and found.high <= tolerance
        loss = compare_samples(base, {seed: value - 2 * tolerance for seed, value in own.items()})
        seen += loss.value < -tolerance and loss.p_less < level
    assert unchanged >= 180
    assert seen >= 180


def test_difference_near_the_tolerance_needs_no_more_seeds():
    base = make_results(seeds=range(40), spread=0.3)
    shift = np.random.default_rng(0).normal(0, 0.05, 40)
    own = base.assign(elbo=base["elbo"] + (shift - shift.mean() - 0.495)[base["seed"]])
    own["reconstruction_error"] = -own["elbo"] - own["kl"]
    found, code = compare(base, own)
    assert (found["vae", "elbo"].word, found["vae", "elbo"].seeds, code) == ("inconclusive", None, 0)
    text = verdict_tables.render_verdicts(list(found.values()), "text")
    assert "the interval excludes 0, but a difference beyond the tolerance is not certain; decide by its size" in text


def test_reconstruction_error_gates_if_there_is_no_elbo():
    none = {"elbo": np.nan, "kl": np.nan, "log_likelihood": np.nan, "gradient_variance": np.nan}
    base, own = make_results(seeds=TWENTY).assign(**none), new().assign(**none)
    own["reconstruction_error"] += 2
    found, code = compare(base, own)
    assert (found["vae", "reconstruction_error"].word, code) == ("regressed", 1)
    assert compare(BASE, new().assign(reconstruction_mse=0.5))[1] == 0


def test_speed_of_different_processors_is_incomparable():
    base, own = slow_down(make_results(), 1.0, 0), slow_down(new(seeds=range(100, 105)), 1.5, 30)
    mixed = [
        rows.assign(processor=np.where(rows["seed"] % 100 == odd, "b", "a")) for rows, odd in ((base, 4), (own, 0))
    ]
    found, code = compare(*mixed)
    assert (found["vae", "machine_fraction"].word, code) == ("incomparable", 0)


def test_overlapping_runs_did_not_take_turns():
    base, own = slow_down(make_results(), 1.0, 0), slow_down(new(seeds=range(100, 105)), 1.5, 30)
    assert compare(*(rows.assign(ended=rows["started"]) for rows in (base, own)))[1] == 1
    longer = base.assign(ended="2026-01-01T01:00:00Z")
    found, code = compare(longer, own)
    assert (found["vae", "machine_fraction"].word, code) == ("regressed", 0)
    assert "base and new did not take turns" in found["vae", "machine_fraction"].note
    assert found["vae", "machine_fraction"].test == "pooled t"


def test_additional_data_set_is_new_or_missing():
    more = pd.concat([new(), new(dataset="digits", protocol_id="q")])
    more["cell_id"] += more["dataset"]
    found = run_comparison.compare_runs(BASE, more)
    assert {v.word for v in found if v.dataset == "digits"} == {"new"}
    assert choose_exit_code(found) == 0
    assert choose_exit_code(run_comparison.compare_runs(more, new())) == 2


def test_run_with_two_protocols_is_incomparable():
    mixed = pd.concat([BASE, make_results(seeds=range(30, 50), protocol_id="q")])
    for sides in ((mixed, mixed), (BASE, mixed), (mixed, BASE)):
        found, code = compare(*sides)
        assert code == 3
        assert "contains 2 protocols; compare runs of one protocol each" in found["vae", "seeds"].note


def test_protocol_id_of_digits_stays_text(tmp_path):
    for name in ("0123456789012345", "12345e6789012345"):
        rows = BASE.assign(protocol_id=name, schema_version=3)
        rows.to_csv(tmp_path / "results.csv", index=False)
        assert results_table.read_results(tmp_path / "results.csv")["protocol_id"].unique().tolist() == [name]


def test_missing_advice_metric_is_only_advice():
    found, code = compare(BASE, new(reconstruction_mse=np.nan))
    assert (found["vae", "reconstruction_mse"].word, code) == ("incomparable", 0)
    assert compare(BASE, new(gradient_variance=np.nan))[1] == 3


def test_gradient_variance_of_0_is_a_failure():
    found, code = compare(BASE, new(gradient_variance=0.0))
    assert (found["vae", "gradient_variance"].word, code) == ("failed", 2)
    half = new()
    half.loc[half["seed"] < 105, "gradient_variance"] = 0.0
    found, code = compare(BASE, half)
    assert (found["vae", "gradient_variance"].word, code) == ("failed", 2)
    assert "the value is 0 in 5 of 10 seeds of new, in none of base" in found["vae", "gradient_variance"].note
    assert compare(BASE.assign(gradient_variance=0.0), new(gradient_variance=0.0))[1] == 0


def test_metric_missing_in_most_cells_is_a_failure():
    blank = new()
    blank.loc[blank["seed"] > 100, ["elbo", "reconstruction_error", "kl", "log_likelihood"]] = np.nan
    found, code = compare(BASE, blank)
    assert (found["vae", "elbo"].word, code) == ("failed", 2)
    assert found["vae", "elbo"].note == "only 1 of 10 cells have a value in new"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda t: t.assign(gradient_variance=-1.0), "line 2 has a variance below 0"),
        (lambda t: t.iloc[::-1], "line 3 comes after a later checkpoint of its cell"),
        (lambda t: t.assign(seed=t["seed"] + 0.5), "line 2 has a seed that is not a whole number"),
        (lambda t: pd.concat([t, t.assign(cell_id="x" + t["cell_id"])]), "repeats a seed under another cell_id"),
    ],
)
def test_invalid_table_is_refused(tmp_path, wrong, words):
    wrong(BASE).assign(schema_version=3).to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(UserError, match=words):
        results_table.read_results(tmp_path / "results.csv")


def test_table_without_its_last_lines():
    found, code = compare(BASE, new().query("epoch == 0"))
    assert code == 3
    assert (
        found["vae", "seeds"].note
        == "epochs: 3 in base, 0 in new; the protocol is the same, so the last rows of one run are missing"
    )
    some = new()
    found, code = compare(BASE, some[(some["epoch"] == 0) | (some["seed"] > 103)])
    assert (found["vae", "seeds"].word, code) == ("failed", 2)
    assert "4 of 10 cells failed in new; run them again" in found["vae", "seeds"].note


def test_gradient_variance_is_compared_only_at_epoch_0():
    found, _ = compare(BASE.query("epoch > 0"), new().query("epoch > 0"))
    assert ("vae", "elbo") in found
    assert ("vae", "gradient_variance") not in found


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
    base, own = make_results(seeds=range(4), spread=3.0), new(seeds=range(100, 104), spread=3.0)
    for rows in (base, own):
        rows["kl"] += rows["seed"] % 3
        rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
        rows["throughput"] = 4e4 * (1 + 0.5 * (rows["seed"] % 3))
        rows["machine_fraction"] = np.nan
    lines = verdict_tables.render_verdicts(list(compare(base, own)[0].values()), "text", show_all=True).splitlines()
    (kl,) = [line for line in lines if " kl " in line]
    (speed,) = [line for line in lines if " throughput " in line]
    assert "smallest detectable" not in kl
    assert "seeds per run" in kl
    assert "smallest detectable change: -" in speed
    assert "measurements per run" in speed


def test_incomplete_run_on_either_side_gives_exit_code_2(finished, ask, tmp_path):
    table = pd.read_csv(finished.folder / "results.csv", dtype=str, keep_default_na=False)
    for name in ("manifest.json", "environment.json"):
        (tmp_path / name).write_bytes((finished.folder / name).read_bytes())
    table[table["variant"] != "vae"].to_csv(tmp_path / "results.csv", index=False)
    for sides in ((tmp_path, finished.folder), (finished.folder, tmp_path)):
        done = ask("compare", *sides, "--allow", "vae", "--format", "json")
        assert done.returncode == 2
        said = json.loads(done.stdout)
        assert said["exit_code"] == 2
        assert (said["base"]["place"], said["new"]["place"]) == tuple(map(str, sides))
        assert "planned cells" in done.stderr
