"""Estimators: identities first, then means against exact gradients, then variances against closed forms."""

import pytest
import torch

from tests.oracles import centred, cosine, quadratic
from vaezoo import (
    LEAVE_ONE_OUT,
    NO_BASELINE,
    beta_elbo,
    blocked,
    ciwae,
    doubly_reparameterized,
    elbo,
    elbo_mc,
    estimate,
    iwae,
    pathwise,
    score_function,
)
from vaezoo.baselines import zero
from vaezoo.distributions.posteriors import DiagonalNormal
from vaezoo.estimators import Estimator
from vaezoo.reductions import LOG_MEAN_EXP, MEAN
from vaezoo.testing.quadrature import grid_rule

REPEATS = 20_000
PAIRS = [
    (objective, estimator, draws)
    for objective in (elbo, elbo_mc)
    for estimator, draws in (
        (pathwise, 1),
        (pathwise, 3),
        (score_function(NO_BASELINE), 1),
        (score_function(NO_BASELINE), 2),
        (score_function(LEAVE_ONE_OUT), 2),
        (score_function(LEAVE_ONE_OUT), 3),
    )
]
IDS = [f"{o.name}-{e.name}-{e.baseline_name}-{k}" for o, e, k in PAIRS]


def test_leave_one_out_is_rloo_under_the_mean(tools):
    reward = tools.normal(4, 6)
    baseline = LEAVE_ONE_OUT.value(reward, MEAN, torch.zeros(6))
    for k in range(4):
        others = [reward[j] for j in range(4) if j != k]
        torch.testing.assert_close(baseline[k], sum(others) / 3 / 4, rtol=1e-13, atol=1e-13)


def test_leave_one_out_is_vimco_under_log_mean_exp(tools):
    log_w = tools.normal(4, 6)
    baseline = LEAVE_ONE_OUT.value(log_w, LOG_MEAN_EXP, torch.zeros(6))
    for k in range(4):
        others = [log_w[j].exp() for j in range(4) if j != k]
        geometric = (others[0] * others[1] * others[2]) ** (1 / 3)
        expected = ((sum(others) + geometric) / 4).log()
        torch.testing.assert_close(baseline[k], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("reduction", [MEAN, LOG_MEAN_EXP], ids=lambda r: r.name)
def test_leave_one_out_does_not_see_its_own_draw(reduction, tools):
    log_w = tools.normal(4, 6)
    before = LEAVE_ONE_OUT.value(log_w, reduction, torch.zeros(6))
    log_w[2] += 100
    after = LEAVE_ONE_OUT.value(log_w, reduction, torch.zeros(6))
    torch.testing.assert_close(after[2], before[2], rtol=1e-13, atol=1e-13)
    assert (after[[0, 1, 3]] != before[[0, 1, 3]]).all()


@pytest.mark.parametrize("estimator", [pathwise, blocked, score_function(NO_BASELINE), score_function(LEAVE_ONE_OUT)])
@pytest.mark.parametrize("objective", [elbo, elbo_mc, beta_elbo(4.0)], ids=lambda o: o.name)
def test_the_value_is_the_objective(objective, estimator, tools):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(3, 4, 2, seed=2)
    actual = tools.estimate_function(tools.variant(objective, estimator, 3))(model, x, noise)
    q = model.encoder(x)
    z = q.rsample(noise)
    expected = objective.reduction.value(objective.log_weight(model, x, z, q)) + objective.exact(model, q)
    torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-13)


def test_beta_elbo_is_elbo_less_three_kl(tools):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(1, 4, 2, seed=2)
    q = model.encoder(x)
    difference = tools.estimate_function(tools.variant(elbo))(model, x, noise) - tools.estimate_function(
        tools.variant(beta_elbo(4.0))
    )(model, x, noise)
    torch.testing.assert_close(difference, 3 * model.prior.kl(q), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("objective", "estimator", "draws"), PAIRS, ids=IDS)
def test_the_mean_gradient_is_exact(objective, estimator, draws, tools):
    model, x = tools.build(), tools.normal(4, 3)
    exact = tools.flat_gradient(model, tools.exact_elbo(model, x).mean())
    function = tools.estimate_function(tools.variant(objective, estimator, draws))
    gradients = tools.draw_gradients(model, function, x, tools.normal(REPEATS, draws, 4, 2, seed=3))
    for part in ("encoder", "decoder"):
        assert tools.largest_z(gradients[part], exact[part]) < 5, part


def test_blocked_is_found_biased_in_the_encoder_alone(tools):
    model, x = tools.build(), tools.normal(4, 3)
    exact = tools.flat_gradient(model, tools.exact_elbo(model, x).mean())
    function = tools.estimate_function(tools.variant(elbo, blocked))
    gradients = tools.draw_gradients(model, function, x, tools.normal(REPEATS, 1, 4, 2, seed=3))
    assert tools.largest_z(gradients["encoder"], exact["encoder"]) > 5
    assert tools.largest_z(gradients["decoder"], exact["decoder"]) < 5


def batch_mean_reward(log_weight, reduction, q, noise, prediction):
    """The mistake: the reward averaged over the batch."""
    z = q.sample(noise)
    log_w, log_q = log_weight(z, q), q.log_prob(z)
    reward = reduction.reward(log_w).mean(-1, keepdim=True)
    return reduction.value(log_w) + (reward.detach() * (log_q - log_q.detach())).sum(0)


def test_a_batch_mean_reward_leaves_one_bth_of_the_gradient(tools):
    model, x = tools.build(), tools.normal(4, 3)
    q = model.encoder(x)
    kl = tools.flat_gradient(model, -model.prior.kl(q).mean())["encoder"]
    exact = tools.flat_gradient(model, tools.exact_elbo(model, x).mean())["encoder"]
    function = tools.estimate_function(tools.variant(elbo, Estimator("score_function", batch_mean_reward)))
    gradients = tools.draw_gradients(model, function, x, tools.normal(REPEATS, 1, 4, 2, seed=3))["encoder"]
    assert tools.largest_z(gradients, kl + (exact - kl) / len(x)) < 5


def one_dimensional(integrand, estimator, mu, sigma, draws, repeats=1_000_000):
    """Gradient estimates in mu of E f(z), z ~ N(mu, sigma²): [repeats]; each repeat is one example of a batch."""
    mean = torch.full((repeats, 1), float(mu), dtype=torch.float64, requires_grad=True)
    q = DiagonalNormal(mean, torch.full_like(mean, sigma).log().detach())
    noise = torch.randn(draws, repeats, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    value = estimator.estimate(lambda z, q: integrand.f(z).squeeze(-1), MEAN, q, noise, torch.zeros(repeats))
    return torch.autograd.grad(value.sum(), mean)[0].squeeze(-1)


def assert_variance(estimates, expected):
    squares = (estimates - estimates.mean()).square()
    se = squares.std() / len(estimates) ** 0.5
    assert abs(squares.mean() - expected) < 5 * se + 1e-12, (squares.mean(), expected)


@pytest.mark.parametrize(("mu", "sigma", "k"), [(3.0, 0.1, 0.0), (0.5, 1.0, 2.0), (1.0, 0.7, 1.0)])
def test_variances_of_the_quadratic_are_the_closed_forms(mu, sigma, k):
    f = quadratic(k)
    estimates = one_dimensional(f, pathwise, mu, sigma, 1)
    assert_variance(estimates, f.pathwise_variance(mu, sigma))
    assert abs(estimates.mean() - 2 * (mu - k)) < 5 * estimates.std() / 1000
    estimates = one_dimensional(f, score_function(NO_BASELINE), mu, sigma, 1)
    assert_variance(estimates, f.score_variance(mu, sigma))
    assert abs(estimates.mean() - 2 * (mu - k)) < 5 * estimates.std() / 1000


def test_a_baseline_doubles_the_variance_where_the_mean_reward_is_zero():
    f = centred(0.3)
    assert one_dimensional(f, pathwise, 0.3, 0.8, 1).var() < 1e-20
    assert_variance(one_dimensional(f, score_function(NO_BASELINE), 0.3, 0.8, 1), 2)
    assert_variance(one_dimensional(f, score_function(NO_BASELINE), 0.3, 0.8, 2), 1)
    assert_variance(one_dimensional(f, score_function(LEAVE_ONE_OUT), 0.3, 0.8, 2), 2)


@pytest.mark.parametrize(("mu", "sigma", "k"), [(0.0, 1.0, 0.5), (0.0, 1.0, 4.0), (0.7, 0.6, 2.0)])
def test_variances_of_the_cosine_are_the_closed_forms(mu, sigma, k):
    f = cosine(k)
    assert_variance(one_dimensional(f, pathwise, mu, sigma, 1), f.pathwise_variance(mu, sigma))
    assert_variance(one_dimensional(f, score_function(NO_BASELINE), mu, sigma, 1), f.score_variance(mu, sigma))


def test_the_score_function_wins_where_the_integrand_is_wild():
    """Reparameterization is not always better: E cos(kz), z ~ N(0, 1), for large k."""
    assert cosine(0.5).pathwise_variance(0.0, 1.0) == pytest.approx(0.049, abs=5e-4)
    assert cosine(0.5).score_variance(0.0, 1.0) == pytest.approx(0.5, abs=5e-3)
    assert cosine(4.0).pathwise_variance(0.0, 1.0) == pytest.approx(8.0, abs=1e-9)
    assert cosine(4.0).score_variance(0.0, 1.0) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("estimator", [pathwise, score_function(NO_BASELINE)], ids=lambda e: e.name)
def test_k_draws_are_the_average_of_k_one_draw_estimates(estimator, tools):
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(3, 4, 2, seed=2)
    joint = tools.estimate_function(tools.variant(elbo, estimator, 3))(model, x, noise).mean()
    average = (
        sum(
            tools.estimate_function(tools.variant(elbo, estimator))(model, x, noise[k : k + 1]).mean() for k in range(3)
        )
        / 3
    )
    for part, gradient in tools.flat_gradient(model, joint).items():
        torch.testing.assert_close(gradient, tools.flat_gradient(model, average)[part], rtol=1e-12, atol=1e-12)


def test_leave_one_out_needs_two_draws(tools):
    with pytest.raises(ValueError, match="at least 2 draws"):
        tools.variant(elbo, score_function(LEAVE_ONE_OUT), 1)


def test_no_baseline_is_zero(tools):
    assert (zero(tools.normal(3, 4), MEAN, torch.zeros(4)) == 0).all()


@pytest.mark.parametrize("objective", [elbo, elbo_mc], ids=lambda o: o.name)
def test_blocked_gives_the_encoder_the_gradient_of_the_closed_form_alone(objective, tools):
    model, x = tools.build(), tools.normal(4, 3)
    value = tools.estimate_function(tools.variant(objective, blocked))(model, x, tools.normal(1, 4, 2, seed=3)).mean()
    exact = objective.exact(model, model.encoder(x)).mean() + 0 * model.encoder(x).mean.sum()
    actual, expected = (tools.flat_gradient(model, scalar)["encoder"] for scalar in (value, exact))
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("objective", [iwae, ciwae(0.3), elbo_mc], ids=lambda o: o.name)
def test_doubly_reparameterized_gradients_are_exact_at_any_weight_of_the_kl(objective, tools):
    """By quadrature over the noise of two draws, against reparameterization."""
    model, x = tools.build(latent_dim=1), tools.normal(1, 3)
    points, weights = grid_rule(2, 1, 24)
    model.kl_weight = torch.tensor(0.3).double()
    gradients = []
    for estimator in (pathwise, doubly_reparameterized):
        v = tools.variant(objective, estimator, draws=2)
        value = estimate(v, model, x.expand(len(weights), 3), points, torch.zeros(()).double())
        parameters = list(model.encoder.parameters())
        gradient = torch.autograd.grad((weights * value).sum(), parameters)
        gradients.append(torch.cat([g.flatten() for g in gradient]))
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8)
