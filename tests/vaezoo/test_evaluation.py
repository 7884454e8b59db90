"""The evaluator: exact where the truth is known, honest errors, and independent of how examples are split."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from tests.oracles import LinearGaussian, exact_posterior, expected_log_px
from vaezoo import evaluate, evaluation, evidence_lower_bound, mlp_point

SCALE = 0.6


def at_exact_posterior(tools, examples=64):
    """A linear model whose encoder gives the exact posterior of its decoder, data from it, and log p(x)."""
    columns = torch.linalg.qr(tools.normal(5, 2))[0] * torch.tensor([2.0, 0.7]).double()
    oracle = LinearGaussian(columns, tools.normal(5, seed=1), SCALE)
    model = tools.build(shape=(5,))
    model.decoder.likelihood.scale = SCALE
    precision = 1 + columns.square().sum(0) / SCALE**2
    with torch.no_grad():
        model.decoder.network[-1].weight.copy_(columns)
        model.decoder.network[-1].bias.copy_(oracle.offset)
        model.encoder.heads["mean"].weight.copy_(columns.T / SCALE**2 / precision[:, None])
        model.encoder.heads["mean"].bias.copy_(-(columns.T @ oracle.offset) / SCALE**2 / precision)
        model.encoder.heads["log_scale"].weight.zero_()
        model.encoder.heads["log_scale"].bias.copy_(-0.5 * precision.log())
    x = oracle.sample(examples, tools.generator(7))
    return model, x, oracle.log_px(x).mean().item()


def test_the_oracles_posterior_and_evidence_agree_by_bayes(tools):
    model, x, _ = at_exact_posterior(tools)
    oracle = tools.linear_gaussian_oracle(model)
    q, z = exact_posterior(oracle, x), tools.normal(3, 64, 2, seed=3)
    joint = model.decoder.log_prob(x, z) + model.prior.log_prob(z)
    torch.testing.assert_close(joint - q.log_prob(z), oracle.log_px(x).expand(3, 64), rtol=1e-12, atol=1e-12)


def test_the_oracles_evidence_is_the_normals(tools):
    model, x, _ = at_exact_posterior(tools)
    oracle = tools.linear_gaussian_oracle(model)
    covariance = oracle.weight @ oracle.weight.T + SCALE**2 * torch.eye(5, dtype=torch.float64)
    expected = torch.distributions.MultivariateNormal(oracle.offset, covariance).log_prob(x)
    torch.testing.assert_close(oracle.log_px(x), expected, rtol=1e-10, atol=1e-10)


def test_the_oracles_expected_log_px_is_its_monte_carlo_mean(tools):
    model, x = tools.build(), tools.normal(4, 3)
    model.decoder.likelihood.scale = SCALE
    q = model.encoder(x)
    draws = model.decoder.log_prob(x, q.sample(tools.normal(100_000, 4, 2)))
    exact = expected_log_px(tools.linear_gaussian_oracle(model), x, q)
    assert ((draws.mean(0) - exact) / (draws.std(0) / 100_000**0.5)).abs().max() < 5


def test_at_the_exact_posterior_every_bound_is_log_px(tools):
    model, x, exact = at_exact_posterior(tools)
    metrics = evaluate(model, x, tools.generator(), draws=400, log_likelihood_draws=3)
    assert metrics["log_likelihood"] == pytest.approx(exact, abs=1e-10)
    assert metrics["log_likelihood_se"] < 1e-7
    assert abs(metrics["elbo"] - exact) < 5 * metrics["elbo_se"]


@pytest.mark.usefixtures("unchecked_types")
def test_elbo_and_likelihood_are_right_away_from_the_posterior(tools):
    model, x, exact = at_exact_posterior(tools)
    with torch.no_grad():
        model.encoder.heads["log_scale"].bias += 0.3
        model.encoder.heads["mean"].bias += 0.1
        truth = tools.exact_elbo(model, x).mean().item()
    metrics = evaluate(model, x, tools.generator(), draws=400, log_likelihood_draws=20_000)
    assert abs(metrics["elbo"] - truth) < 5 * metrics["elbo_se"]
    assert truth < exact - 0.05
    assert abs(metrics["log_likelihood"] - exact) < 5 * metrics["log_likelihood_se"] + 1e-3


@pytest.mark.usefixtures("unchecked_types")
def test_monte_carlo_errors_are_the_spread_of_repeated_evaluations(tools):
    model, x, _ = at_exact_posterior(tools, 40)
    with torch.no_grad():
        model.encoder.heads["log_scale"].bias += 0.1
    evaluations = [evaluate(model, x, tools.generator(s), draws=8, log_likelihood_draws=50) for s in range(200)]
    for name in ("elbo", "log_likelihood"):
        spread = torch.tensor([m[name] for m in evaluations]).std().item()
        claimed = sum(m[f"{name}_se"] for m in evaluations) / len(evaluations)
        assert claimed / spread == pytest.approx(1, abs=0.25), name


@pytest.mark.usefixtures("unchecked_types")
def test_the_likelihoods_error_is_honest_where_few_draws_carry_the_weight(tools):
    model, x, _ = at_exact_posterior(tools, 40)
    with torch.no_grad():
        model.encoder.heads["log_scale"].bias += 0.4
        model.encoder.heads["mean"].bias += 1.5
    evaluations = [evaluate(model, x, tools.generator(s), draws=2, log_likelihood_draws=100) for s in range(200)]
    spread = torch.tensor([m["log_likelihood"] for m in evaluations]).std().item()
    claimed = sum(m["log_likelihood_se"] for m in evaluations) / len(evaluations)
    assert claimed / spread == pytest.approx(1, abs=0.4)  # the delta method claims half of it


@pytest.mark.parametrize(("draws", "importance_draws"), [(2, 7), (5, 100), (3, 101), (4, 250)])
def test_every_metric_is_that_of_plain_loops(draws, importance_draws, tools):
    """Also the jackknife where the draws are no multiple of its 100 groups: each group is left out in turn."""
    model, x, _ = at_exact_posterior(tools, 6)
    with torch.no_grad():
        model.encoder.heads["log_scale"].bias += 0.4
        q = model.encoder(x)
        weight, offset, mean, scale, data = (
            t.numpy() for t in (*model.decoder.network[-1].parameters(), q.mean, q.scale, x)
        )
    source = tools.generator(5)

    def draw():
        """Draws z, log p(x|z), log w and squared error of each example."""
        z = mean + scale * torch.randn(1, 6, 2, generator=source, dtype=torch.float64)[0].numpy()
        log_px = stats.norm.logpdf(data, z @ weight.T + offset, SCALE).sum(-1)
        log_w = log_px + stats.norm.logpdf(z).sum(-1) - stats.norm.logpdf(z, mean, scale).sum(-1)
        return log_px, log_w, np.square(data - z @ weight.T - offset).mean(-1)

    log_px, _, squares = map(np.array, zip(*(draw() for _ in range(draws)), strict=True))
    log_w = np.array([draw()[1] for _ in range(importance_draws)])
    kl = (0.5 * (mean**2 + scale**2 - 1) - np.log(scale)).sum(-1)
    groups, group = min(importance_draws, 100), np.arange(importance_draws) % 100
    left_out = [special.logsumexp(log_w[group != g], 0) - np.log((group != g).sum()) for g in range(groups)]
    expected = {
        "reconstruction_error": -log_px.mean(),
        "reconstruction_mse": squares.mean(),
        "active_units": (mean.var(0, ddof=1) > 0.01).sum(),
        "elbo": log_px.mean() - kl.mean(),
        "elbo_se": np.sqrt(log_px.var(0, ddof=1).sum() / draws) / 6,
        "kl": kl.mean(),
        "log_likelihood": (special.logsumexp(log_w, 0) - np.log(importance_draws)).mean(),
        "log_likelihood_se": np.sqrt((groups - 1) * np.var(left_out, 0).sum()) / 6,
    }
    assert evaluate(model, x, tools.generator(5), draws, importance_draws) == pytest.approx(expected, rel=1e-9)
    assert evidence_lower_bound(model, x, tools.generator(5), draws) == pytest.approx(expected["elbo"], rel=1e-12)


@pytest.mark.parametrize("at_once", [7, 32, 33])
def test_a_last_short_batch_changes_nothing(tools, monkeypatch, at_once):
    model, x = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,)), (tools.normal(65, 3, 3) > 0).double()
    one_block = evaluate(model, x, tools.generator())
    monkeypatch.setattr(evaluation, "ROWS_PER_THREAD", at_once)
    assert evaluate(model, x, tools.generator()) == pytest.approx(one_block, rel=1e-12)


def test_the_elbo_is_the_sum_of_its_parts(tools):
    model, x = tools.build(shape=(3, 3), likelihood="bernoulli", hidden=(5,)), (tools.normal(65, 3, 3) > 0).double()
    metrics = evaluate(model, x, tools.generator())
    assert abs(metrics["elbo"] + metrics["reconstruction_error"] + metrics["kl"]) < 1e-12 * abs(metrics["elbo"])
    assert metrics["kl"] == pytest.approx(model.prior.kl(model.encoder(x)).mean().item(), rel=1e-12)


def test_draws_are_sampled_not_the_posteriors_mean(tools):
    model, x, _ = at_exact_posterior(tools)
    q = model.encoder(x)
    at_mean = -model.decoder.log_prob(x, q.mean[None]).mean().item()
    assert evaluate(model, x, tools.generator())["reconstruction_error"] > at_mean + 0.1


def test_the_squared_error_is_that_of_sampled_codes(tools):
    model, x, _ = at_exact_posterior(tools, 500)
    q, oracle = model.encoder(x), tools.linear_gaussian_oracle(model)
    at_mean = (x - oracle.offset - q.mean @ oracle.weight.T).square()
    exact = at_mean.mean() + (q.scale.square() * oracle.weight.square().sum(0)).sum(-1).mean() / 5
    error = evaluate(model, x, tools.generator(), draws=200)["reconstruction_mse"]
    assert error == pytest.approx(exact.item(), rel=0.02)
    assert error > 1.2 * at_mean.mean()


def test_a_unit_is_active_above_a_variance_of_a_hundredth(tools):
    model = tools.build(shape=(2,))
    with torch.no_grad():
        model.encoder.heads["mean"].weight.copy_(torch.diag(torch.tensor([0.095, 0.105])))
    x = tools.normal(100_000, 2)
    assert evaluate(model, x, tools.generator(), draws=2, log_likelihood_draws=2)["active_units"] == 1


def test_active_units_are_counted(tools):
    model, x, _ = at_exact_posterior(tools)
    assert evaluate(model, x, tools.generator())["active_units"] == 2
    with torch.no_grad():
        model.encoder.heads["mean"].weight[1] = 0
    assert evaluate(model, x, tools.generator())["active_units"] == 1


def test_a_point_mass_has_reconstruction_metrics_only(tools):
    model, x = tools.build(mlp_point), tools.normal(8, 3)
    metrics = evaluate(model, x, tools.generator())
    assert set(metrics) == {"reconstruction_error", "reconstruction_mse", "active_units"}
    assert metrics["reconstruction_mse"] == pytest.approx(
        (x - model.decoder.mean(model.encoder(x).mean[None])[0]).square().mean().item()
    )


@pytest.mark.parametrize("draws", [30, 150])
def test_the_error_of_the_likelihood_is_the_jackknife_over_groups_of_draws(tools, draws):
    """With 150 draws in 100 groups, half of the groups have two draws and the others one."""
    model, x, groups = tools.build(), tools.normal(3, 3), min(draws, 100)
    value, error = evaluation.log_likelihood(model, x, model.encoder(x), draws, tools.generator(5))
    q, source = model.encoder(x), tools.generator(5)
    z = q.sample(torch.cat([torch.randn(1, 3, 2, generator=source, dtype=x.dtype) for _ in range(draws)]))
    log_w = model.decoder.log_prob(x, z) + model.prior.log_prob(z) - q.log_prob(z)
    group = torch.arange(draws) % groups
    left_out = [log_w[group != g].logsumexp(0) - math.log((group != g).sum()) for g in range(groups)]
    distances = torch.stack(left_out) - torch.stack(left_out).mean(0)
    assert value == pytest.approx((log_w.logsumexp(0) - math.log(draws)).mean().item())
    assert error == pytest.approx(((groups - 1) / groups * distances.square().sum()).sqrt().item() / 3)


def test_workers_change_no_bit_of_the_metrics(tools):
    model = tools.build(shape=(12,), likelihood="bernoulli", hidden=(30,)).float()
    x = (tools.normal(1100, 12) > 0).float()
    metrics = [evaluate(model, x, tools.generator(), 4, 45, workers) for workers in (1, 3)]
    assert metrics[0] == metrics[1]
