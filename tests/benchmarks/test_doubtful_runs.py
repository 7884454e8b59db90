"""`compare` where a run is not what it should be: the worse may not pass for unchanged, nor the equal for worse."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from benchmarks import store
from benchmarks.errors import UserError
from benchmarks.regressions import comparison, reports
from benchmarks.regressions.differences import difference, far_off, seeds_needed, smallest_effect
from benchmarks.regressions.verdicts import exit_code
from tests.benchmarks.synthetic import lost, slower, table

TWENTY, TEN = range(20), range(100, 110)
BASE = table(seeds=TWENTY)
MANY = [f"v{i}" for i in range(16)]


def new(variants=("vae",), seeds=TEN, **options):
    return table(variants, seeds, **{"seed": 1} | options)


def judged(base, new, **options):
    """The verdicts by variant and metric, and the exit code."""
    found = comparison.compare(base, new, **options)
    return {(v.variant, v.metric): v for v in found}, exit_code(found)


def exploded(rows, seeds):
    """The table with the ELBO of these seeds a hundred million nats down."""
    rows = rows.copy()
    rows.loc[rows["seed"].isin(seeds) & (rows["epoch"] == 3), ["elbo", "log_likelihood"]] -= 1e8
    rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
    return rows


def test_what_failed_before_excuses_nothing():
    broken = lost(BASE, TWENTY, "failed")
    found, code = judged(broken, new(elbo=-200.0))
    assert (found["vae", "seeds"].word, code) == ("incomparable", 3)
    assert found["vae", "seeds"].note == "base has no result of it: 20 of 20 failed"
    found, code = judged(lost(BASE, range(10), "timeout"), lost(new(), range(100, 108), "diverged"))
    assert (found["vae", "seeds"].word, code) == ("regressed", 1)
    assert found["vae", "seeds"].note == "8 of 10 lost, 0 of 10 before; base: 10 of 20 failed"


def test_one_variant_of_many_that_loses_most_of_its_seeds():
    """Those that lost none are no tests, and make this one no less sure."""
    base = slower(table(MANY, range(10)), 1.0, 0)
    worse = lost(base[base["variant"] == "v0"], range(8), "diverged")
    found, code = judged(base, pd.concat([worse, base[base["variant"] != "v0"]]))
    assert (found["v0", "seeds"].word, code) == ("regressed", 1)
    few = new(MANY, range(100, 103))
    gone = lost(few[few["variant"] == "v0"], range(100, 103), "diverged")
    before = lost(table(MANY, TWENTY), [3], "diverged")
    found, code = judged(before, pd.concat([gone, few[few["variant"] != "v0"]]))
    assert found["v0", "seeds"].word in ("regressed", "inconclusive")  # 3 of 3, and 1 of 20 before


def test_more_losses_that_may_be_chance_are_never_unchanged():
    found, code = judged(table(seeds=range(3)), lost(new(seeds=range(100, 103)), [100, 101], "diverged"))
    assert (found["vae", "seeds"].word, code) == ("inconclusive", 0)
    assert "2 of 3 lost, 0 of 3 before" in reports.render(list(found.values()), "text")
    found, code = judged(lost(BASE, range(12), "diverged"), new())
    assert (found["vae", "seeds"].word, code) == ("improved", 0)


@pytest.mark.parametrize(
    ("blown", "word", "code"), [(1, "inconclusive", 0), (3, "inconclusive", 0), (5, "regressed", 1)]
)
def test_seeds_that_explode_without_an_end_are_lost(blown, word, code):
    """The ranks of a minority move no median."""
    found, ended = judged(BASE, exploded(new(), range(100, 100 + blown)))
    assert (found["vae", "seeds"].word, ended) == (word, code)
    assert f"{blown} of 10 lost or far off, 0 of 20 before" in found["vae", "seeds"].note
    same, ended = judged(exploded(BASE, range(8)), exploded(new(), range(100, 104)))
    assert (same["vae", "seeds"].word, ended) == ("unchanged", 0)


def test_what_is_far_off_is_so_on_the_worse_side_where_tails_are_heavy():
    source = np.random.default_rng(0)
    base, own = source.normal(0, 1, 20), source.normal(0, 1, 10)
    assert far_off(base, own) == (0, 0)
    assert far_off(base, own - 100) == (0, 0)  # all of them: a difference, and no tail
    assert far_off(base, np.append(own, -1e6)) == (0, 1)
    assert far_off(base, np.append(own, 1e6)) == (0, 0)
    assert far_off(base, np.array([])) == (0, 0)


def test_ranks_that_can_never_be_sure_are_not_asked():
    base = {i: float(v) for i, v in enumerate(np.random.default_rng(0).normal(0, 0.1, 20))} | {0: -1e3}
    assert difference(base, dict.fromkeys((50, 51, 52), -10.0)).test == "pooled t"
    ranks = difference(base, {50 + i: v for i, v in base.items()})
    assert ranks.test == "ranks"
    assert np.isfinite(smallest_effect(ranks, 0.5, 1e-3))
    assert smallest_effect(ranks, 0.5, 1e-12) == np.inf


def test_the_smaller_spread_of_two_makes_no_more_false_alarms():
    """Equal seeds whose values have nothing in common, so that either test may be the chosen one."""
    source = np.random.default_rng(0)
    draws = [difference(*(dict(enumerate(source.normal(size=5))) for _ in range(2))) for _ in range(20_000)]
    assert {"pooled t", "paired t"} == {found.test for found in draws}
    share = np.mean([found.p_less < 0.01 for found in draws])
    assert 0.005 < share < 0.01 + 3 * np.sqrt(0.01 * 0.99 / len(draws))


def test_the_seeds_that_would_tell_do():
    """Where the spread is known: equals are unchanged in 95 of 100 cases, and twice the tolerance is seen."""
    source = np.random.default_rng(0)
    known = dataclasses.replace(difference({0: 0.0, 1: 1.0}, {2: 0.0, 3: 1.0}), spread=1.0)
    level, tolerance = 1e-4, 0.5
    needed = seeds_needed(known, tolerance, level)
    unchanged = seen = 0
    for _ in range(200):
        base, own = (dict(enumerate(source.normal(size=needed), first)) for first in (0, 5000))
        found = difference(base, own)
        unchanged += -tolerance <= found.low and found.high <= tolerance
        loss = difference(base, {seed: value - 2 * tolerance for seed, value in own.items()})
        seen += loss.value < -tolerance and loss.p_less < level
    assert unchanged >= 180
    assert seen >= 180


def test_a_difference_of_about_the_tolerance_asks_for_no_more_seeds():
    base = table(seeds=range(40), spread=0.3)
    shift = np.random.default_rng(0).normal(0, 0.05, 40)
    own = base.assign(elbo=base["elbo"] + (shift - shift.mean() - 0.495)[base["seed"]])
    own["reconstruction_error"] = -own["elbo"] - own["kl"]
    found, code = judged(base, own)
    assert (found["vae", "elbo"].word, found["vae", "elbo"].seeds, code) == ("inconclusive", None, 0)
    text = reports.render(list(found.values()), "text")
    assert "a difference, and not surely beyond the tolerance: judge its size" in text


def test_a_model_without_an_elbo_is_judged_by_its_reconstructions():
    none = {"elbo": np.nan, "kl": np.nan, "log_likelihood": np.nan, "gradient_variance": np.nan}
    base, own = table(seeds=TWENTY).assign(**none), new().assign(**none)
    own["reconstruction_error"] += 2
    found, code = judged(base, own)
    assert (found["vae", "reconstruction_error"].word, code) == ("regressed", 1)
    assert judged(BASE, new().assign(reconstruction_mse=0.5))[1] == 0


def test_speed_is_never_compared_across_processors_or_modes():
    base, own = slower(table(), 1.0, 0), slower(new(seeds=range(100, 105)), 1.5, 30)
    mixed = [
        rows.assign(processor=np.where(rows["seed"] % 100 == odd, "b", "a")) for rows, odd in ((base, 4), (own, 0))
    ]
    found, code = judged(*mixed)
    assert (found["vae", "machine_fraction"].word, code) == ("incomparable", 0)


def test_what_ran_at_the_same_time_had_no_turns():
    base, own = slower(table(), 1.0, 0), slower(new(seeds=range(100, 105)), 1.5, 30)
    assert judged(*(rows.assign(ended=rows["started"]) for rows in (base, own)))[1] == 1
    longer = base.assign(ended="2026-01-01T01:00:00Z")
    found, code = judged(longer, own)
    assert (found["vae", "machine_fraction"].word, code) == ("regressed", 0)
    assert "did not run in turns" in found["vae", "machine_fraction"].note
    assert found["vae", "machine_fraction"].test == "pooled t"


def test_another_data_set_beside_the_same_is_new_or_missing():
    more = pd.concat([new(), new(dataset="digits", protocol_id="q")])
    more["cell_id"] += more["dataset"]
    found = comparison.compare(BASE, more)
    assert {v.word for v in found if v.dataset == "digits"} == {"new"}
    assert exit_code(found) == 0
    assert exit_code(comparison.compare(more, new())) == 2


def test_a_run_of_two_protocols_is_none_to_compare():
    mixed = pd.concat([BASE, table(seeds=range(30, 50), protocol_id="q")])
    for sides in ((mixed, mixed), (BASE, mixed), (mixed, BASE)):
        found, code = judged(*sides)
        assert code == 3
        assert "mixes 2 protocols; compare them one by one" in found["vae", "seeds"].note


def test_a_protocol_whose_name_is_all_digits(tmp_path):
    for name in ("0123456789012345", "12345e6789012345"):
        rows = BASE.assign(protocol_id=name, schema_version=3)
        rows.to_csv(tmp_path / "results.csv", index=False)
        assert store.read_results(tmp_path / "results.csv")["protocol_id"].unique().tolist() == [name]


def test_an_advice_that_is_gone_is_an_advice():
    found, code = judged(BASE, new(reconstruction_mse=np.nan))
    assert (found["vae", "reconstruction_mse"].word, code) == ("incomparable", 0)
    assert judged(BASE, new(gradient_variance=np.nan))[1] == 3


def test_a_gradient_without_any_noise_is_no_improvement():
    found, code = judged(BASE, new(gradient_variance=0.0))
    assert (found["vae", "gradient_variance"].word, code) == ("failed", 2)
    half = new()
    half.loc[half["seed"] < 105, "gradient_variance"] = 0.0
    found, code = judged(BASE, half)
    assert (found["vae", "gradient_variance"].word, code) == ("failed", 2)
    assert "0 in 5 of 10 seeds" in found["vae", "gradient_variance"].note
    assert judged(BASE.assign(gradient_variance=0.0), new(gradient_variance=0.0))[1] == 0


def test_a_metric_that_most_cells_lack():
    blank = new()
    blank.loc[blank["seed"] > 100, ["elbo", "reconstruction_error", "kl", "log_likelihood"]] = np.nan
    found, code = judged(BASE, blank)
    assert (found["vae", "elbo"].word, code) == ("failed", 2)
    assert found["vae", "elbo"].note == "new has it in 1 of 10 cells alone"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda t: t.assign(gradient_variance=-1.0), "line 2 has a variance below 0"),
        (lambda t: t.iloc[::-1], "line 3 comes after a later checkpoint of its cell"),
        (lambda t: t.assign(seed=t["seed"] + 0.5), "line 2 has a seed that is no whole number"),
        (lambda t: pd.concat([t, t.assign(cell_id="x" + t["cell_id"])]), "repeats a seed under another cell_id"),
    ],
)
def test_a_table_that_no_run_writes_is_refused(tmp_path, wrong, words):
    wrong(BASE).assign(schema_version=3).to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(UserError, match=words):
        store.read_results(tmp_path / "results.csv")


def test_a_table_that_is_cut_between_lines():
    found, code = judged(BASE, new().query("epoch == 0"))
    assert code == 3
    assert found["vae", "seeds"].note == "epochs is 0 and was 3, by an equal protocol: one of them is cut"
    some = new()
    found, code = judged(BASE, some[(some["epoch"] == 0) | (some["seed"] > 103)])
    assert (found["vae", "seeds"].word, code) == ("failed", 2)
    assert "4 failed: run them again" in found["vae", "seeds"].note


def test_gradient_variance_is_compared_where_weights_are_equal_or_not_at_all():
    found, _ = judged(BASE.query("epoch > 0"), new().query("epoch > 0"))
    assert ("vae", "elbo") in found
    assert ("vae", "gradient_variance") not in found


def test_equal_is_what_has_the_same_bits():
    nearly = BASE.assign(gradient_variance=np.nextafter(BASE["gradient_variance"].to_numpy(), np.inf))
    assert judged(BASE, nearly)[0]["vae", "gradient_variance"].word == "unchanged"


def test_what_is_allowed_may_be_another_and_not_broken():
    other = comparison.compare(BASE, new(protocol_id="q"))
    assert exit_code(other, ["vae"]) == 0
    assert "1 incomparable (allowed); exit code 0" in reports.render(other, "text", ["vae"], 0)
    wrong = new()
    wrong["elbo"] += 30
    broken = comparison.compare(BASE, wrong)
    assert exit_code(broken, ["vae"]) == 2
    assert "allowed" not in reports.render(broken, "text", ["vae"], 2)


def test_notes_say_what_can_be_lost():
    base, own = table(seeds=range(4), spread=3.0), new(seeds=range(100, 104), spread=3.0)
    for rows in (base, own):
        rows["kl"] += rows["seed"] % 3
        rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
        rows["throughput"] = 4e4 * (1 + 0.5 * (rows["seed"] % 3))
        rows["machine_fraction"] = np.nan
    lines = reports.render(list(judged(base, own)[0].values()), "text", whole=True).splitlines()
    (kl,) = [line for line in lines if " kl " in line]
    (speed,) = [line for line in lines if " throughput " in line]
    assert "a loss" not in kl
    assert "seeds a side would tell" in kl
    assert "a loss of -" in speed
    assert "measurements a side would tell" in speed


def test_a_run_that_is_not_whole_ends_with_2_on_either_side_and_says_so(finished, ask, tmp_path):
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
        assert "planned cells whole" in done.stderr
