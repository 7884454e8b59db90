"""Estimators for discrete latents against the enumerated gradient, closed forms of variances, and exact identities."""

import functools

import pytest
import torch

from tests.conftest import normal
from vaezoo import (
    LEARNED,
    LEAVE_ONE_OUT,
    MOVING_AVERAGE,
    NO_BASELINE,
    Variant,
    build,
    elbo,
    elbo_mc,
    iwae,
    mlp_normal,
)
from vaezoo.estimators import (
    arm,
    disarm,
    enumerated,
    gumbel_softmax,
    rebar,
    reinmax,
    relax,
    score_function,
    st_gumbel_softmax,
    straight_through,
)
from vaezoo.evaluation import count_active, evaluate
from vaezoo.models import DataSpec, initialise, mlp_bernoulli, mlp_categorical
from vaezoo.variants import estimate

BATCHES, ROWS = 100, 1000
PARTS = ("encoder.", "decoder.")
pytestmark = pytest.mark.usefixtures("unchecked_types")  # an instance check of a posterior computes its properties
ZERO = torch.zeros((), dtype=torch.float64)
UNBIASED = {
    "none": (score_function(NO_BASELINE), 1),
    "ema": (score_function(MOVING_AVERAGE), 1),
    "nvil": (score_function(LEARNED), 1),
    "loo": (score_function(LEAVE_ONE_OUT), 2),
    "arm": (arm, 1),
    "disarm": (disarm, 1),
    "arm-3": (arm, 3),
    "disarm-3": (disarm, 3),
    "rebar": (rebar, 1),
    "relax": (relax, 1),
    "relax-2": (relax, 2),
}
BIASED = {
    "st": straight_through,
    "gumbel": gumbel_softmax(0.5),
    "st-gumbel": st_gumbel_softmax(0.5),
    "reinmax": reinmax,
}
ARCHITECTURES = {"bernoulli": (mlp_bernoulli, 4), "categorical": (mlp_categorical, 10)}


@functools.cache
def problem(kind):
    """A model with strong weights, so that log p(x|z) is no quadratic function of z, and one binary example."""
    architecture, latents = ARCHITECTURES[kind]
    variant = Variant("exact", architecture, elbo, enumerated)
    model = build(variant, DataSpec((3, 3), "bernoulli", (4,)), latents).double()
    initialise(model, lambda name: torch.Generator().manual_seed(len(name)))
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter *= 4
    return model, (normal(1, 3, 3, seed=1) > 0).double()


def differentiate(model, value):
    """The gradient by part of the model, flattened."""
    parameters = {part: [p for name, p in model.named_parameters() if name.startswith(part)] for part in PARTS}
    flat = [p for part in PARTS for p in parameters[part]]
    gradients = iter(torch.autograd.grad(value, flat, retain_graph=True, allow_unused=True, materialize_grads=True))
    return {part: torch.cat([next(gradients).flatten() for _ in parameters[part]]) for part in PARTS}


def mean_gradients(kind, estimator, draws, objective):
    """Means of 100 batches of 1,000 estimates, [100, parameters], by part of the model."""
    model, x = problem(kind)
    variant = Variant("estimate", ARCHITECTURES[kind][0], objective, estimator, draws=draws, unbiased=False)
    model.baseline = estimator.make_network(9, model.latent_dim).double()
    initialise(model.baseline, lambda name: torch.Generator().manual_seed(7))
    rows, means = x.expand(ROWS, 3, 3), []
    average = ZERO - 3.0 if estimator.averaging_rate else ZERO
    for batch in range(BATCHES):
        noise = normal(variant.draws, ROWS, model.latent_dim, seed=batch)
        means.append(differentiate(model, estimate(variant, model, rows, noise, average).mean()))
    return {part: torch.stack([mean[part] for mean in means]) for part in PARTS}


@functools.cache
def exact_gradient(kind, objective):
    model, x = problem(kind)
    variant = Variant("exact", ARCHITECTURES[kind][0], objective, enumerated)
    model.baseline = enumerated.make_network(9, model.latent_dim)
    return differentiate(model, estimate(variant, model, x, normal(1, 1, model.latent_dim), ZERO).sum())


def z_scores(draws, exact):
    """Distances of the mean from the exact gradient in standard errors, by coordinate; 0 for constant exact ones."""
    distance, error = (draws.mean(0) - exact).abs(), draws.std(0) / len(draws) ** 0.5
    constant = error < 1e-14
    assert (distance[constant] < 1e-10).all()
    return torch.where(constant, 0.0, distance / error.clamp(min=1e-14))


def kinds(estimator):
    return [kind for kind in ARCHITECTURES if not estimator.kinds or kind in estimator.kinds]


@pytest.mark.parametrize(
    ("kind", "name", "objective"),
    [
        *((kind, name, elbo) for name, (estimator, _) in UNBIASED.items() for kind in kinds(estimator)),
        *(("bernoulli", name, elbo_mc) for name in ("loo", "arm", "disarm", "rebar")),
    ],
)
def test_the_mean_of_an_unbiased_estimator_is_the_enumerated_gradient(kind, name, objective):
    gradients = mean_gradients(kind, *UNBIASED[name], objective)
    for part, exact in exact_gradient(kind, objective).items():
        assert z_scores(gradients[part], exact).max() < 5, part


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("name", BIASED)
def test_a_declared_bias_is_found(kind, name):
    gradients, exact = mean_gradients(kind, BIASED[name], 1, elbo), exact_gradient(kind, elbo)
    z = {part: z_scores(gradients[part], exact[part]).max() for part in PARTS}
    assert z["encoder."] > 10
    assert z["decoder."] > 10 if name == "gumbel" else z["decoder."] < 5


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_enumerated_value_and_gradient_are_those_of_a_loop_over_the_states(kind):
    model, x = problem(kind)
    q = model.encoder(x)
    total = -model.prior.kl(q)[0]
    for state in q.states():
        z = state[None, None]
        total = total + q.log_prob(z).exp()[0, 0] * model.decoder.log_prob(x, z)[0, 0]
    variant = Variant("exact", ARCHITECTURES[kind][0], elbo, enumerated)
    value = estimate(variant, model, x, normal(1, 1, model.latent_dim), ZERO).sum()
    torch.testing.assert_close(value, total)
    torch.testing.assert_close(differentiate(model, value)["encoder."], differentiate(model, total)["encoder."])


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_vimco_is_unbiased_for_two_draws(kind):
    """The gradient of the importance-weighted bound by a sum over the states of both draws."""
    model, x = problem(kind)
    q = model.encoder(x)
    states = q.states()
    pairs = torch.cartesian_prod(torch.arange(len(states)), torch.arange(len(states)))
    z = states[pairs.T]
    log_w = iwae.log_weight(model, x.expand(len(pairs), 3, 3), z, model.encoder(x.expand(len(pairs), 3, 3)))
    probability = q.log_prob(states[:, None]).exp()[:, 0][pairs].prod(1)
    value = (probability * iwae.reduction.value(log_w)).sum()
    gradients = mean_gradients(kind, score_function(LEAVE_ONE_OUT), 2, iwae)
    for part, exact in differentiate(model, value).items():
        assert z_scores(gradients[part], exact).max() < 5, part


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_value_at_relaxed_draws_tends_to_the_value_at_draws(kind):
    model, x = problem(kind)
    noise = normal(1, ROWS, model.latent_dim, seed=31)
    rows = x.expand(ROWS, 3, 3)
    q = model.encoder(rows)
    hard = model.decoder.log_prob(rows, q.sample(noise))[0] - model.prior.kl(q)
    distances = []
    for temperature in (1.0, 0.1, 0.01, 0.001):
        variant = Variant("v", ARCHITECTURES[kind][0], elbo, gumbel_softmax(temperature), unbiased=False)
        model.baseline = variant.estimator.make_network(9, model.latent_dim)
        distances.append((estimate(variant, model, rows, noise, ZERO) - hard).abs().mean().item())
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.02 * distances[0]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_evaluation_sees_draws_and_no_relaxed_ones(kind, monkeypatch):
    model, x = problem(kind)
    seen = set()
    model.decoder.network.register_forward_pre_hook(lambda module, inputs: seen.update(inputs[0].unique().tolist()))
    metrics = evaluate(model, x.expand(20, 3, 3), torch.Generator().manual_seed(0), draws=5, log_likelihood_draws=50)
    model.decoder.network._forward_pre_hooks.clear()
    assert seen == {0.0, 1.0}
    assert metrics["elbo"] == pytest.approx(-metrics["reconstruction_error"] - metrics["kl"], rel=1e-9)
    q = model.encoder(x)
    z = q.states()[:, None]
    exact = (model.decoder.log_prob(x, z) + model.prior.log_prob(z)).logsumexp(0).item()
    assert metrics["elbo"] < metrics["log_likelihood"] < exact + 5 * metrics["log_likelihood_se"]


def test_active_units_of_categorical_latents_are_counted_once():
    """Latent 1 varies in all classes, latent 2 in none; the classes of latent 3 vary together more than each."""
    mean = torch.cat([normal(500, 4, seed=3).softmax(-1), torch.full((500, 4), 0.25), torch.zeros(500, 4)], 1)
    mean[:, 8:] = 0.25 + 0.07 * torch.tensor([1.0, -1.0, 1.0, -1.0]) * normal(500, 1, seed=4).sign()
    assert count_active(mean, 4) == 2
    assert count_active(mean, 1) == 4


@pytest.mark.parametrize(
    ("estimator", "architecture", "message"),
    [
        (disarm, mlp_categorical, "mine: the estimator disarm is for bernoulli latents, not categorical"),
        (arm, None, "mine: the estimator arm is for bernoulli latents, not gaussian"),
        (rebar, None, "mine: the estimator rebar is for bernoulli and categorical latents, not gaussian"),
    ],
)
def test_an_estimator_for_other_latents_is_refused(estimator, architecture, message):
    with pytest.raises(ValueError, match=message):
        build(Variant("mine", architecture or mlp_normal, elbo, estimator), DataSpec((3,), "bernoulli"), 10)
    with pytest.raises(ValueError, match="mine: estimator enumerated is for 1 draw per example, got 2"):
        Variant("mine", mlp_bernoulli, elbo, enumerated, draws=2)
