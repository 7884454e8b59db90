"""`power`: known rates are recovered from synthetic results."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from benchmarks.common.errors import UserError
from benchmarks.comparison.power import detectable_effect, error_rates, resampling
from benchmarks.comparison.power.detectable_effect import compute_max_wins
from benchmarks.comparison.power.resampling import Effort, draw_splits
from benchmarks.comparison.run_comparison import compare_runs
from tests.benchmarks.synthetic_runs import make_results

SMALL_EFFORT = Effort(300, 20, 20)


@pytest.fixture(autouse=True)
def _reduce_effort(monkeypatch):
    monkeypatch.setattr(detectable_effect, "EFFORT", Effort(200, 10, 20))


def test_rates_and_power_agree_with_theory():
    """The spread of the seeds is much larger than the tolerance, so only the test matters."""
    rates = error_rates.measure_error_rates(make_results(seeds=range(100), spread=10.0), 0.2, SMALL_EFFORT)
    alarms = rates.alarms[error_rates.EXIT_CODE_ONE]
    assert rates.reached == 1
    assert 0.02 < alarms.share < 0.25
    assert alarms.low <= alarms.share <= alarms.high
    assert rates.alarms["elbo"].share <= alarms.share
    (elbo,) = [effect for effect in rates.effects if effect.metric.name == "elbo"]
    # (t at 0.2 / 3 + t at 0.05) x 10 sqrt(1/20 + 1/10), in a pool whose own mean is known no better than 1
    assert elbo.smallest[10] == pytest.approx((1.55 + 1.70) * 10 * np.sqrt(0.15), rel=0.25)
    assert elbo.smallest[5] > elbo.smallest[10] > elbo.smallest[20]
    assert elbo.twice.share < 0.5
    assert "by gradient_variance" in error_rates.describe_error_rates(rates, 0.2, SMALL_EFFORT)


def test_detectable_drop_is_the_tolerance_if_the_spread_is_small():
    (elbo, _) = error_rates.measure_error_rates(make_results(seeds=range(60), spread=0.01), 0.01, SMALL_EFFORT).effects
    assert elbo.smallest[10] == pytest.approx(0.5, abs=0.02)
    assert elbo.twice.low == 1


@pytest.mark.parametrize("heavy", [False, True])
def test_drop_is_the_threshold_of_regressed(heavy):
    """A 2 % smaller drop does not regress, a 2 % larger one does."""
    base, new = make_results(seeds=range(20), spread=3.0), make_results(seeds=range(50, 60), spread=3.0, seed=7)
    if heavy:
        new.loc[new["seed"] == 50, "elbo"] -= 1e6
    values = {s: v for rows in (base, new) for s, v in rows[rows["epoch"] == 3][["seed", "elbo"]].to_numpy()}
    metric = resampling.GATING_METRICS[0]
    drop = detectable_effect._find_drop(values, metric, 0.5, 0.01, (list(range(20)), list(range(50, 60))))
    for factor, regresses in ((0.98, False), (1.02, True)):
        worse = new.assign(elbo=new["elbo"] - factor * drop)
        worse["reconstruction_error"] = -worse["elbo"] - worse["kl"]
        words = {v.metric: v for v in compare_runs(base, worse, ["elbo"])}
        assert (words["elbo"].word == "regressed") is regresses
        assert (words["elbo"].test == "ranks") is heavy


@pytest.mark.parametrize(("n_new", "n_base", "level"), [(10, 20, 3e-4), (5, 20, 1e-3), (4, 5, 0.02), (2, 3, 0.01)])
def test_max_wins_agree_with_scipy(n_new, n_base, level):
    """With that number of wins the test says "less", with one more it does not."""
    wins, source = compute_max_wins(n_new, n_base, level), np.random.default_rng(0)
    for _ in range(300):
        a, b = source.normal(-source.uniform(0, 3), 1, n_new), source.normal(0, 1, n_base)
        p = mannwhitneyu(a, b, alternative="less", method="exact").pvalue
        assert (p < level) == (np.greater.outer(a, b).sum() <= wins)


def test_drop_is_detected_by_its_metric():
    base, worse = make_results(seeds=range(60)), make_results(seeds=range(100, 140), elbo=-91.0, seed=1)
    rates = error_rates.measure_power(base, worse, 0.01, SMALL_EFFORT)
    assert rates["elbo"].share == rates[error_rates.EXIT_CODE_ONE].share == 1
    assert rates["gradient_variance"].share == 0
    assert "regressed, with 95 %" in error_rates.describe_power(rates, 0.01, SMALL_EFFORT)
    assert (
        error_rates.measure_power(base, make_results(seeds=range(100, 140), seed=1), 0.01, SMALL_EFFORT)[
            error_rates.EXIT_CODE_ONE
        ].share
        < 0.05
    )


def test_the_interval_of_a_rate_has_95_of_100_resampled_pools(monkeypatch):
    shares = iter([0.5, *(np.arange(40) / 40)])
    monkeypatch.setattr(resampling, "_compute_shares", lambda *_: {"alarm": next(shares)})
    rate = resampling.estimate_rates(None, range(9), range(9), np.random.default_rng(0), Effort(1, 40, 1))["alarm"]
    assert (rate.share, rate.low, rate.high) == pytest.approx((0.5, 0.025 * 39 / 40, 0.975 * 39 / 40))


def test_splits_have_disjoint_seeds_even_if_pools_overlap():
    for base, new in draw_splits(range(50), range(20, 60), 50, np.random.default_rng(0)):
        assert (len(base), len(new)) == (20, 10)
        assert not {*base} & {*new}


@pytest.mark.parametrize(
    ("worse", "words"),
    [
        (None, "20 seeds are complete in all variants, but random splits need 60 or more"),
        (make_results(seeds=range(20, 50)), "20 seeds of RUN are complete in all variants, but random splits need 40"),
    ],
)
def test_too_few_seeds(worse, words):
    few = make_results(seeds=range(20))
    with pytest.raises(UserError, match=words):
        error_rates.measure_error_rates(few, 0.01, SMALL_EFFORT) if worse is None else error_rates.measure_power(
            few, worse, 0.01, SMALL_EFFORT
        )


def test_shared_seeds_do_not_count_for_the_new_run():
    with pytest.raises(UserError, match="10 seeds of WORSE that RUN lacks are complete"):
        error_rates.measure_power(make_results(seeds=range(40)), make_results(seeds=range(20, 50)), 0.01, SMALL_EFFORT)


def test_different_protocols_are_refused():
    with pytest.raises(UserError, match="vae on mnist5k: incomparable"):
        error_rates.measure_power(
            make_results(seeds=range(40)), make_results(seeds=range(40, 80), protocol_id="other"), 0.01, SMALL_EFFORT
        )


MANY = make_results(seeds=range(80))
DECIDING = ("elbo", "reconstruction_error", "gradient_variance")


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (MANY.assign(protocol_id=[f"p{i // 80}" for i in range(160)]), "vae on mnist5k: incomparable"),
        (MANY.assign(elbo=MANY["elbo"].mask(MANY["seed"] == 3)), "vae on mnist5k: failed"),
        (MANY.assign(**dict.fromkeys(DECIDING, np.nan)), "no variant has elbo, reconstruction_error or"),
    ],
)  # fmt: skip
def test_incomparable_results_are_refused(seeds, words):
    with pytest.raises(UserError, match=words):
        error_rates.measure_error_rates(seeds, 0.01, SMALL_EFFORT)
