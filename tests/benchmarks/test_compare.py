"""`compare`: each verdict with its exit code, from tables whose truth is known."""

import json
import time

import numpy as np
import pandas as pd
import pytest

from benchmarks.errors import UserError
from benchmarks.regressions import comparison, reports
from benchmarks.regressions.verdicts import exit_code
from tests.benchmarks.synthetic import lost, slower, table


def verdict(base, new, metric="elbo", variant="vae", **options):
    """That verdict's word, and the exit code of the whole."""
    found = comparison.compare(base, new, **options)
    (word,) = [v.word for v in found if (v.variant, v.metric) == (variant, metric)]
    return word, exit_code(found)


def other(**options):
    return table(**{"seeds": range(100, 110), "seed": 1} | options)


BASE = table(seeds=range(20))


def test_the_same_again_is_identical():
    found = comparison.compare(BASE, BASE.copy())
    quality = [v.word for v in found if v.metric in ("elbo", "kl", "gradient_variance", "log_likelihood")]
    assert set(quality) == {"identical"}
    assert {v.word for v in found} <= {"identical", "unchanged", "inconclusive"}
    assert exit_code(found) == 0


def test_fewer_seeds_of_the_same_are_identical_and_shown_by_those_that_both_have():
    some = BASE[BASE["seed"] < 3]
    assert verdict(BASE, some) == ("identical", 0)
    assert verdict(some, BASE) == ("identical", 0)
    (elbo,) = [v for v in comparison.compare(BASE, some) if v.metric == "elbo"]
    assert (elbo.base, elbo.new) == (some.loc[some["epoch"] == 3, "elbo"].median(),) * 2
    assert elbo.note == "by the 3 seeds that both have"


@pytest.mark.parametrize("style", reports.FORMATS)
def test_from_minus_90_to_minus_100_is_worse_and_back_is_better(style):
    """The trap of the rules on ratios, in every output."""
    worse = comparison.compare(BASE, other(elbo=-100.0))
    better = comparison.compare(other(elbo=-100.0), BASE)
    assert (exit_code(worse), exit_code(better)) == (1, 0)
    for found, word in ((worse, "regressed"), (better, "improved")):
        text = reports.render(found, style)
        if style == "json":
            (one,) = [v for v in json.loads(text)["verdicts"] if v["metric"] == "elbo"]
            assert one["verdict"] == word
        else:
            (line,) = [line for line in text.splitlines() if " elbo " in line]
            assert word in line


def test_other_seeds_of_the_same_are_unchanged():
    assert verdict(BASE, other()) == ("unchanged", 0)


def test_a_difference_within_the_tolerance_is_no_regression_however_sure():
    assert verdict(BASE, other(elbo=-90.4, spread=0.001)) == ("unchanged", 0)
    assert verdict(table(spread=0.0), other(spread=0.0, elbo=-90.51)) == ("regressed", 1)


def test_fewer_nats_matter_where_images_are_smaller():
    base, new = table(spread=0.01, dataset="digits"), other(spread=0.01, elbo=-90.3)
    assert verdict(base, new.assign(dataset="digits")) == ("regressed", 1)
    assert verdict(base.assign(dataset="mnist5k"), new) == ("unchanged", 0)


def test_few_seeds_that_spread_are_inconclusive_and_say_what_they_could_see():
    base, new = table(seeds=range(3), spread=2.0), other(seeds=range(100, 103), spread=2.0, elbo=-91.0)
    found = comparison.compare(base, new)
    (one,) = [v for v in found if v.metric == "elbo"]
    assert (one.word, exit_code(found)) == ("inconclusive", 0)
    assert one.smallest > 2
    assert one.seeds > 10
    assert "is seen" in reports.render(found, "text")


def test_gradient_variance_is_compared_in_logarithms_before_training():
    new = other()
    new.loc[new["epoch"] == 0, "gradient_variance"] *= 1.5
    assert verdict(BASE, new, "gradient_variance") == ("regressed", 1)
    later = other()
    later.loc[later["epoch"] == 3, "gradient_variance"] *= 100
    assert verdict(BASE, later, "gradient_variance")[1] == 0


def test_what_has_no_direction_never_regresses():
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
    found = comparison.compare(BASE, new)
    assert [v.word for v in found] == ["failed"]
    assert exit_code(found) == 2
    assert "new, seed 100, epoch 0: elbo" in found[0].note


def test_a_variant_that_diverges_more_often_is_worse_whatever_the_survivors_are():
    assert verdict(BASE, lost(other(elbo=-80.0), range(100, 107), "diverged"), "seeds") == ("regressed", 1)
    assert verdict(BASE, lost(other(), [100], "diverged"), "seeds") == ("inconclusive", 0)
    one = other(seeds=[100])
    assert verdict(BASE, lost(one, [100], "diverged"), "seeds") == ("regressed", 1)  # all against none
    assert verdict(lost(BASE, range(10), "diverged"), lost(other(), range(100, 105), "diverged"), "seeds")[1] == 0


def test_a_cell_that_failed_has_to_be_run_again():
    assert verdict(BASE, lost(other(), [100], "timeout"), "seeds") == ("failed", 2)


def test_missing_and_new_variants_and_those_that_are_allowed():
    both = table(("vae", "iwae"))
    assert verdict(both, table(), "seeds", "iwae") == ("missing", 2)
    assert verdict(table(), both, "seeds", "iwae") == ("new", 0)
    assert exit_code(comparison.compare(both, table()), ["iwae"]) == 0
    assert exit_code(comparison.compare(BASE, other(elbo=-100.0)), ["vae"]) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 1e-2, "protocol_id": "q"}, "learning_rate is 0.01 and was 0.001"),
        ({"data_checksum": "e", "protocol_id": "q"}, "data_checksum is e and was d"),
        ({"dataset": "mnist"}, "new has it on mnist, not on mnist5k"),
        ({"protocol_id": "q"}, "another definition of the variant"),
    ],
)
def test_other_protocols_are_not_compared(change, words):
    found = comparison.compare(BASE, other(**change))
    assert {v.word for v in found} == {"incomparable"}
    assert exit_code(found) == 3
    assert words in " ".join(v.note for v in found)


def test_other_epochs_are_not_compared():
    new = other(protocol_id="q")
    new["epoch"] *= 2
    assert "epochs is 6 and was 3" in comparison.compare(BASE, new)[0].note


def test_an_explosion_is_judged_by_ranks_and_said_to_be():
    base, new = table(seeds=range(20), spread=1.0), other(spread=1.0)
    for rows in (base, new):
        blown = rows["seed"] == rows["seed"].min()
        rows.loc[blown, "elbo"] -= 1e8
        rows["reconstruction_error"] = -rows["elbo"] - rows["kl"]
    found = comparison.compare(base, new)
    (one,) = [v for v in found if v.metric == "elbo"]
    assert one.test == "ranks"
    assert exit_code(found) == 0
    assert "heavy tails: judged by ranks" in reports.render(found, "text")


def test_a_slower_step_fails_only_where_it_ran_in_turns():
    base = slower(table(), 1.0, 0)
    in_turns, after = slower(other(seeds=range(100, 105)), 1.5, 30), slower(other(seeds=range(100, 105)), 1.5, 1800)
    assert verdict(base, in_turns, "machine_fraction") == ("regressed", 1)
    assert verdict(base, after, "machine_fraction") == ("regressed", 0)
    advice = reports.render(comparison.compare(base, after), "text")
    assert "regressed (advice)" in advice
    assert "did not run in turns, so advice alone" in advice
    assert verdict(base, slower(other(seeds=range(100, 105)), 1.03, 30), "machine_fraction")[1] == 0
    for change in ({"processor": "b"}, {"mode": "compiled"}):
        assert verdict(base, in_turns.assign(**change), "machine_fraction") == ("incomparable", 0)


def test_processor_time_decides_where_both_sides_have_it():
    """Where the clock on the wall says that it took half as long again, since other work was in the way."""
    base, new = slower(table(), 1.0, 0), slower(other(seeds=range(100, 105)), 1.5, 30)
    for rows in (base, new):
        rows["processor_throughput"] = 4e4 + 100 * (rows["seed"] % 3)
    found = comparison.compare(base, new)
    assert exit_code(found) == 0
    assert "machine_fraction" not in {v.metric for v in found}
    new["processor_throughput"] *= 0.9
    assert verdict(base, new, "processor_throughput") == ("regressed", 1)


def test_a_false_alarm_is_as_rare_as_alpha_says():
    """120 comparisons of equals, 4 variants each, at a level of 0.2: at most as many as that."""
    names = ("a", "b", "c", "d")
    alarms = 0
    for trial in range(120):
        base, new = (
            table(names, seeds, spread=4.0, seed=2 * trial + i) for i, seeds in enumerate((range(9), range(50, 54)))
        )
        alarms += exit_code(comparison.compare(base, new, ["elbo"], alpha=0.2)) == 1
    assert alarms < 120 * 0.2 + 3 * np.sqrt(120 * 0.2 * 0.8)
    assert alarms > 3  # and a test that never fires would be none


def test_a_thousand_variants_with_twenty_seeds_in_ten_seconds():
    names = [f"v{i}" for i in range(1000)]
    base, new = table(names, range(20)), table(names, range(20), seed=1)
    began = time.monotonic()
    found = comparison.compare(base, new)
    assert time.monotonic() - began < 10
    assert len(found) > 8000


def test_json_holds_every_verdict_and_no_nan():
    found = comparison.compare(BASE, other())
    whole = json.loads(reports.render(found, "json", code=exit_code(found)))
    assert whole["exit_code"] == 0
    assert len(whole["verdicts"]) == len(found)
    with pytest.raises(UserError, match="unknown format 'xml'"):
        reports.render(found, "xml")


def test_the_command(finished, ask, tmp_path):
    finished = finished.folder
    same = ask("compare", finished, finished)
    assert same.returncode == 0, same.stderr
    assert "identical" in same.stdout
    head = same.stdout.splitlines()[:2]
    assert head[0].startswith(f"base is {finished}: commit ")
    assert head[1].startswith(f"new is {finished}: commit ")
    results = pd.read_csv(finished / "results.csv", dtype=str, keep_default_na=False)
    worse = results.copy()
    ok = worse["elbo"] != ""
    for name, sign in (("elbo", -5), ("reconstruction_error", 5)):
        worse.loc[ok, name] = [repr(float(value) + sign) for value in worse.loc[ok, name]]
    worse.to_csv(tmp_path / "worse.csv", index=False)
    done = ask("compare", finished, tmp_path / "worse.csv", "--format", "markdown")
    assert done.returncode == 1
    assert "| regressed |" in done.stdout
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "cut.csv").write_bytes((finished / "results.csv").read_bytes()[:-40])
    for bad, words in (("empty.csv", "can't read"), ("cut.csv", "is cut off in its last line")):
        done = ask("compare", finished, tmp_path / bad)
        assert done.returncode == 64
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
    one = pd.read_csv(tmp_path / "worse.csv", dtype=str, keep_default_na=False)
    one[one["variant"] == "vae"].to_csv(tmp_path / "one.csv", index=False)
    assert ask("compare", finished, tmp_path / "one.csv").returncode == 2
    some = ask("compare", finished, tmp_path / "one.csv", "--variants", "vae")
    assert some.returncode == 1
    assert "missing" not in some.stdout
    done = ask("compare", finished, finished, "--variants", "vea")
    assert done.returncode == 64
    assert "unknown variant 'vea'; did you mean vae" in done.stderr
    done = ask("compare", finished, finished, "--allow", "nobody")
    assert done.returncode == 64
    assert "unknown variant 'nobody'" in done.stderr
