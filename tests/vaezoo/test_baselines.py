"""Baselines of the score function: learned, moving average and predicted."""

import pytest
import torch

from vaezoo import (
    LEARNED,
    LEAVE_ONE_OUT,
    MOVING_AVERAGE,
    NO_BASELINE,
    Variant,
    build,
    ciwae,
    elbo,
    estimate,
    estimate_parts,
    initial_average,
    iwae,
    mlp_normal,
    score_function,
)
from vaezoo.models import DataSpec

AVERAGE = torch.tensor(-2.0, dtype=torch.float64)


def test_the_learned_baseline_learns_by_least_squares_and_reaches_nothing_else(tools):
    v = Variant("nvil", mlp_normal, elbo, score_function(LEARNED))
    model = build(v, DataSpec((3,), "gaussian", ()), 2).double()
    x, noise = tools.normal(4, 3), tools.normal(1, 4, 2, seed=2)
    value = estimate(v, model, x, noise, AVERAGE)
    network = list(model.baseline.parameters())
    gradients = torch.autograd.grad(value.mean(), network, retain_graph=True)
    stochastic, _ = estimate_parts(v, model, x, noise, AVERAGE)
    error = (AVERAGE + model.baseline(x).squeeze(-1) - stochastic.detach()).square()
    for a, b in zip(gradients, torch.autograd.grad(-error.mean(), network), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    others = [p for name, p in model.named_parameters() if not name.startswith("baseline.")]
    q = model.encoder(x)
    z = q.sample(noise)
    log_px, log_q = model.decoder.log_prob(x, z), q.log_prob(z)
    reward = log_px - AVERAGE - model.baseline(x).squeeze(-1)
    by_hand = (log_px + reward.detach() * log_q).mean() - model.prior.kl(q).mean()
    expected = torch.autograd.grad(by_hand, others)
    for a, b in zip(torch.autograd.grad(value.mean(), others), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_moving_average_starts_at_f_and_moves_after_its_use(tools):
    v = Variant("ema", mlp_normal, elbo, score_function(MOVING_AVERAGE))
    model, x, noise = tools.build(), tools.normal(4, 3), tools.normal(1, 4, 2, seed=2)
    stochastic, _ = estimate_parts(v, model, x, noise, AVERAGE)
    assert initial_average(v, model, x, noise).item() == pytest.approx(stochastic.mean().item(), rel=1e-12)
    moved = v.estimator.update_average(AVERAGE, stochastic)
    assert moved.item() == pytest.approx(0.9 * -2.0 + 0.1 * stochastic.mean().item(), rel=1e-12)
    assert not moved.requires_grad
    still = Variant("none", mlp_normal, elbo, score_function(NO_BASELINE))
    assert initial_average(still, model, x, noise) == 0
    assert still.estimator.update_average(AVERAGE, stochastic) == AVERAGE


@pytest.mark.parametrize("objective", [elbo, iwae, ciwae(0.3)], ids=lambda o: o.name)
def test_a_predicted_baseline_is_the_reward_of_a_constant(tools, objective):
    c, reduction = tools.normal(4), objective.reduction
    actual = MOVING_AVERAGE.value(tools.normal(3, 4), reduction, c)
    factor = {"mean": 1 / 3, "log_mean_exp": 1.0, "convex(0.3)": 0.3 / 3 + 0.7}[reduction.name]
    torch.testing.assert_close(actual, (factor * c).expand(3, 4), rtol=1e-12, atol=1e-12)


def test_leave_one_out_reduces_the_variance_if_the_mean_reward_is_large(tools):
    model, x = tools.build(), tools.normal(4, 3)
    with torch.no_grad():
        model.decoder.network[-1].bias += 20
    none, loo = (
        tools.moments(model, tools.variant(elbo, score_function(b), 2), x, tools.normal(2000, 2, 4, 2, seed=3))[
            "encoder"
        ].variance
        for b in (NO_BASELINE, LEAVE_ONE_OUT)
    )
    assert loo < none / 10


def test_predicted_baselines_are_those_of_their_papers():
    """A moving average with the rate 0.1; for NVIL also a network with one hidden layer of 100 units."""
    assert {MOVING_AVERAGE.rate, LEARNED.rate} == {0.1}
    shapes = [tuple(p.shape) for p in LEARNED.network(7).parameters()]
    assert shapes == [(100, 7), (100,), (1, 100), (1,)]
