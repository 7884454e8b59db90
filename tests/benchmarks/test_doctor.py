"""The doctor: whether known rates come out of tables whose truth is known."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from benchmarks.errors import UserError
from benchmarks.regressions import doctor, effects, findings
from benchmarks.regressions.comparison import compare
from benchmarks.regressions.effects import most_wins
from benchmarks.regressions.resampling import Effort, splits
from tests.benchmarks.synthetic import table

LITTLE = Effort(300, 20, 20)


@pytest.fixture(autouse=True)
def _little(monkeypatch):
    monkeypatch.setattr(effects, "EFFORT", Effort(200, 10, 20))


def test_the_rate_that_alpha_says_and_the_power_that_theory_says():
    """Normal seeds that spread far beyond the tolerance, so that the test alone decides."""
    found = doctor.examine(table(seeds=range(100), spread=10.0), 0.2, LITTLE)
    alarms = found.alarms[doctor.CODE]
    assert found.reached == 1
    assert 0.02 < alarms.share < 0.25
    assert alarms.low <= alarms.share <= alarms.high
    assert found.alarms["elbo"].share <= alarms.share
    (elbo,) = [effect for effect in found.effects if effect.metric.name == "elbo"]
    # (t at 0.2 / 3 + t at 0.05) x 10 sqrt(1/20 + 1/10), in a pool whose own mean is known no better than 1
    assert elbo.smallest[10] == pytest.approx((1.55 + 1.70) * 10 * np.sqrt(0.15), rel=0.25)
    assert elbo.smallest[5] > elbo.smallest[10] > elbo.smallest[20]
    assert elbo.twice.share < 0.5
    assert "by gradient_variance" in findings.of_equals(found, 0.2, LITTLE)


def test_where_seeds_hardly_spread_the_tolerance_is_what_is_seen():
    (elbo, _) = doctor.examine(table(seeds=range(60), spread=0.01), 0.01, LITTLE).effects
    assert elbo.smallest[10] == pytest.approx(0.5, abs=0.02)
    assert elbo.twice.low == 1


@pytest.mark.parametrize("heavy", [False, True])
def test_the_smallest_loss_is_the_one_that_the_comparison_begins_to_call_one(heavy):
    """A little less and a little more, through the whole comparison of one variant."""
    base, new = table(seeds=range(20), spread=3.0), table(seeds=range(50, 60), spread=3.0, seed=7)
    if heavy:
        new.loc[new["seed"] == 50, "elbo"] -= 1e6
    values = {s: v for rows in (base, new) for s, v in rows[rows["epoch"] == 3][["seed", "elbo"]].to_numpy()}
    metric = doctor.GATING[0]
    loss = effects._needed(values, metric, 0.5, 0.01, (list(range(20)), list(range(50, 60))))
    for factor, called in ((0.98, False), (1.02, True)):
        worse = new.assign(elbo=new["elbo"] - factor * loss)
        worse["reconstruction_error"] = -worse["elbo"] - worse["kl"]
        words = {v.metric: v for v in compare(base, worse, ["elbo"])}
        assert (words["elbo"].word == "regressed") is called
        assert (words["elbo"].test == "ranks") is heavy


@pytest.mark.parametrize(("ours", "theirs", "level"), [(10, 20, 3e-4), (5, 20, 1e-3), (4, 5, 0.02), (2, 3, 0.01)])
def test_the_wins_that_ranks_allow(ours, theirs, level):
    """At that many wins the test says less, at one more it does not: on samples drawn at random."""
    wins, source = most_wins(ours, theirs, level), np.random.default_rng(0)
    for _ in range(300):
        a, b = source.normal(-source.uniform(0, 3), 1, ours), source.normal(0, 1, theirs)
        p = mannwhitneyu(a, b, alternative="less", method="exact").pvalue
        assert (p < level) == (np.greater.outer(a, b).sum() <= wins)


def test_a_change_that_is_there_is_found_and_by_its_metric():
    base, worse = table(seeds=range(60)), table(seeds=range(100, 140), elbo=-91.0, seed=1)
    found = doctor.detected(base, worse, 0.01, LITTLE)
    assert found["elbo"].share == found[doctor.CODE].share == 1
    assert found["gradient_variance"].share == 0
    assert "called worse" in findings.of_a_change(found, 0.01, LITTLE)
    assert doctor.detected(base, table(seeds=range(100, 140), seed=1), 0.01, LITTLE)[doctor.CODE].share < 0.05


def test_both_sides_have_other_seeds_even_where_their_pools_share_some():
    for base, new in splits(range(50), range(20, 60), 50, np.random.default_rng(0)):
        assert (len(base), len(new)) == (20, 10)
        assert not {*base} & {*new}


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        (
            None,
            "20 seeds are whole in every variant; to draw 20 for a baseline and 10 new ones again and again takes 60",
        ),
        (table(seeds=range(20, 50)), "20 seeds of the first run are whole"),
    ],
)
def test_too_few_seeds(worse, words):
    few = table(seeds=range(20))
    with pytest.raises(UserError, match=words):
        doctor.examine(few, 0.01, LITTLE) if worse is None else doctor.detected(few, worse, 0.01, LITTLE)


def test_seeds_that_both_runs_have_are_no_new_ones():
    with pytest.raises(UserError, match="10 seeds of the second run, and not in the first, are whole"):
        doctor.detected(table(seeds=range(40)), table(seeds=range(20, 50)), 0.01, LITTLE)


def test_a_change_of_the_protocol_is_no_change_of_the_code():
    with pytest.raises(UserError, match="vae on mnist5k: incomparable"):
        doctor.detected(table(seeds=range(40)), table(seeds=range(40, 80), protocol_id="other"), 0.01, LITTLE)


MANY = table(seeds=range(80))
DECIDING = ("elbo", "reconstruction_error", "gradient_variance")


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (MANY.assign(protocol_id=[f"p{i // 80}" for i in range(160)]), "vae on mnist5k: incomparable"),
        (MANY.assign(elbo=MANY["elbo"].mask(MANY["seed"] == 3)), "vae on mnist5k: failed"),
        (MANY.assign(**dict.fromkeys(DECIDING, np.nan)), "no variant of it has a metric that decides"),
    ],
)  # fmt: skip
def test_what_no_comparison_is_made_of_is_not_examined(seeds, words):
    with pytest.raises(UserError, match=words):
        doctor.examine(seeds, 0.01, LITTLE)
