"""Discrete posteriors and priors against torch's distributions, enumeration and finite differences."""

import math

import pytest
import torch
from torch.autograd.functional import jvp
from torch.distributions import Bernoulli, OneHotCategorical, kl_divergence

from tests.conftest import normal
from vaezoo.distributions import discrete
from vaezoo.distributions.discrete import FactorizedBernoulli, FactorizedCategorical
from vaezoo.distributions.families import BERNOULLI, FAMILIES, categorical
from vaezoo.models import DataSpec, mlp_bernoulli, mlp_categorical

DRAWS = 200_000


def bernoulli(seed=1, scale=1.5):
    return FactorizedBernoulli(scale * normal(3, 4, seed=seed))


def categorical_posterior(seed=1, scale=1.5):
    return FactorizedCategorical(scale * normal(3, 2, 5, seed=seed))


POSTERIORS = pytest.mark.parametrize("make", [bernoulli, categorical_posterior])


def reference(q):
    """The same distribution of torch, one for each latent."""
    return Bernoulli(logits=q.logits) if isinstance(q, FactorizedBernoulli) else OneHotCategorical(logits=q.logits)


def size(q):
    return q.mean.shape[-1]


@POSTERIORS
def test_moments_density_and_divergence_are_those_of_torch(make):
    q, p = make(), make(seed=2)
    expected, z = reference(q), q.sample(normal(6, 3, size(q), seed=3))
    torch.testing.assert_close(q.mean, expected.mean.flatten(1))
    torch.testing.assert_close(q.scale, expected.variance.sqrt().flatten(1))
    log_q = expected.log_prob(z if z.shape[-1] == 4 else z.unflatten(-1, (2, 5))).sum(-1)
    torch.testing.assert_close(q.log_prob(z), log_q)
    torch.testing.assert_close(q.kl_per_latent(p), kl_divergence(expected, reference(p)))


@POSTERIORS
def test_draws_have_the_probabilities_of_the_posterior(make):
    q = make()
    z = q.sample(normal(DRAWS, 3, size(q), seed=4))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    deviation = (z.mean(0) - q.mean) / (q.scale / math.sqrt(DRAWS))
    assert deviation.abs().max() < 5


def test_a_draw_is_the_sign_of_the_perturbed_logit_and_mirrored_noise_gives_the_antithetic_draw():
    q, noise = bernoulli(), normal(1000, 3, 4, seed=5)
    assert torch.equal(q.sample(noise), (q.perturb(noise) > 0).double())
    uniform = torch.special.ndtr(noise)
    assert torch.equal(q.sample(noise), (uniform > 1 - q.mean).double())
    assert torch.equal(q.sample(-noise), (1 - uniform > 1 - q.mean).double())


def test_a_draw_is_the_largest_perturbed_logit():
    q, noise = categorical_posterior(), normal(1000, 3, 10, seed=5)
    z, perturbed = q.sample(noise).unflatten(-1, (2, 5)), q.perturb(noise)
    assert (z.sum(-1) == 1).all()
    assert torch.equal(z.argmax(-1), perturbed.argmax(-1))
    gumbel = -(-torch.special.ndtr(noise).log()).log()
    torch.testing.assert_close(perturbed, q.logits.log_softmax(-1) + gumbel.unflatten(-1, (2, 5)))


def conditional_draws(q, s):
    """Return a function of the logits: the perturbed logits given the draw, with the noise that gives s."""
    if isinstance(q, FactorizedBernoulli):
        sign = s.sign()
        noise = s.abs().expm1().log() - torch.nn.functional.softplus(sign * q.logits)
        return lambda logits: sign * torch.nn.functional.softplus(noise + torch.nn.functional.softplus(sign * logits))
    largest = s.amax(-1, keepdim=True)
    exponential = ((-s).exp() - (-largest).exp()) * q.logits.softmax(-1)  # 0 for the class drawn
    return lambda logits: -(exponential / logits.softmax(-1) + (-largest).exp()).log()


@POSTERIORS
def test_the_derivative_of_conditional_noise_is_that_of_finite_differences(make):
    q = make()
    s, direction, step = q.perturb(normal(7, 3, size(q), seed=7)), normal(*q.logits.shape, seed=8), 1e-6
    draw = conditional_draws(q, s)
    torch.testing.assert_close(draw(q.logits), s)
    value, slope = jvp(lambda logits: type(q)(logits).condition(s), q.logits, direction)
    torch.testing.assert_close(value, s)
    sides = [draw(q.logits + sign * step * direction) for sign in (1, -1)]
    torch.testing.assert_close(slope, (sides[0] - sides[1]) / (2 * step), rtol=1e-6, atol=1e-8)


@POSTERIORS
def test_relaxed_draws_tend_to_the_draws_and_stay_in_the_simplex(make):
    q, noise = make(), normal(2000, 3, size(q := make()), seed=10)
    distances = [(q.soften(q.perturb(noise), t) - q.sample(noise)).abs().mean().item() for t in (2.0, 0.5, 0.1, 0.001)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3
    relaxed = q.soften(q.perturb(noise), 0.5)
    assert ((relaxed > 0) & (relaxed < 1)).all()
    if make is categorical_posterior:
        torch.testing.assert_close(relaxed.unflatten(-1, (2, 5)).sum(-1), torch.ones(2000, 3, 2).double())


@POSTERIORS
def test_midpoint_has_the_value_and_the_derivative_of_a_mean_between_posterior_and_draw(make):
    q, direction = make(), normal(*make().logits.shape, seed=11)
    z = q.sample(normal(1, 3, size(q), seed=12))
    middle, slope = jvp(lambda logits: type(q)(logits).midpoint(z), q.logits, direction)
    torch.testing.assert_close(middle, (z + q.mean) / 2)
    rows = middle[0] if make is bernoulli else middle[0].unflatten(-1, (2, 5))
    logits = rows.logit() if make is bernoulli else rows.log()
    _, expected = jvp(lambda logits: type(q)(logits).mean, logits, direction)
    torch.testing.assert_close(slope[0], expected)


@POSTERIORS
def test_the_probabilities_of_all_states_add_to_one(make):
    q = make()
    states = q.states()
    assert len(states) == len(states.unique(dim=0)) == (16 if make is bernoulli else 25)
    torch.testing.assert_close(q.log_prob(states[:, None].expand(-1, 3, -1)).exp().sum(0), torch.ones(3).double())


def test_too_many_states_are_refused():
    with pytest.raises(ValueError, match="the latents have 8192 states; a sum over all states is for at most 4096"):
        FactorizedBernoulli(torch.zeros(1, 13)).states()
    assert len(FactorizedCategorical(torch.zeros(1, 4, 8)).states()) == discrete.MAX_STATES


@POSTERIORS
def test_draws_have_no_derivative(make):
    with pytest.raises(TypeError, match="draws of discrete latents have no derivative"):
        make().rsample(normal(1, 3, 4))
    assert not make().sample(normal(1, 3, size(make()))).requires_grad


@POSTERIORS
def test_extreme_logits_have_finite_values_and_derivatives(make):
    signs = torch.where(make().logits > 0, 1.0, -1.0)
    logits = (500 * signs).double().requires_grad_()
    q = type(make())(logits)
    noise = 4 * normal(40, 3, size(q), seed=13)
    z = q.sample(noise)
    parts = [
        q.log_prob(z),
        q.perturb(noise),
        q.condition(q.perturb(noise)),
        q.soften(q.perturb(noise), 0.1),
        q.midpoint(z),
    ]
    for part in parts:
        (gradient,) = torch.autograd.grad(part.sum(), logits, retain_graph=True)
        assert part.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("family", [BERNOULLI, categorical(5)], ids=lambda family: family.name)
@pytest.mark.parametrize("choice", ["fixed", "learned"])
def test_priors_start_as_uniform_and_have_the_divergence_of_torch(family, choice):
    prior, q = family.priors[choice](10), family.build(normal(3, 10, seed=14))
    states = q.sample(normal(6, 3, 10, seed=15))
    latents, classes = (10, 2) if family.width == 1 else (2, 5)
    torch.testing.assert_close(prior.log_prob(states), torch.full((6, 3), -latents * math.log(classes)).double())
    parameters = list(prior.parameters())
    assert len(parameters) == (choice == "learned")
    assert not list(prior.buffers())
    if parameters:
        parameters[0].data = normal(10, seed=16).float()
    p = family.build((parameters[0] if parameters else torch.zeros(10)).double().expand(3, -1))
    torch.testing.assert_close(prior.kl_per_latent(q), kl_divergence(reference(q), reference(p)))
    torch.testing.assert_close(prior.kl(q), prior.kl_per_latent(q).sum(-1))
    draws = prior.sample(normal(DRAWS // 10, 10, seed=17))
    assert ((draws.mean(0) - p.mean[0]) / (p.scale[0] / math.sqrt(len(draws)))).abs().max() < 5


def test_names_and_sizes():
    assert set(FAMILIES) == {"diagonal_normal", "point_mass", "bernoulli", "categorical(10)"}
    assert categorical(10) is categorical(10)
    with pytest.raises(ValueError, match=r"16 latent dimensions are no multiple of 10, .* use 20"):
        mlp_categorical(DataSpec((4,), "bernoulli", (3,)), 16)
    with pytest.raises(ValueError, match="a categorical latent has 2 classes or more, not 1"):
        categorical(1)
    assert mlp_bernoulli(DataSpec((4,), "bernoulli", (3,)), 6).prior.name == "uniform"
