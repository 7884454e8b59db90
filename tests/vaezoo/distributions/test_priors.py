"""Priors with trained parameters, and free bits, against closed forms and finite differences."""

import dataclasses

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from tests.conftest import normal
from tests.vaezoo.gradients.plain_loops import STOCHASTIC, count_latents
from vaezoo import VARIANTS, DataSpec, FittedVariant, build, elbo, estimate
from vaezoo.distributions.families import NORMAL_PRIORS
from vaezoo.distributions.posteriors import DiagonalNormal
from vaezoo.distributions.priors import STANDARD_NORMAL, LearnedNormal

STEP = 1e-6


def make_prior():
    prior = LearnedNormal(3).double()
    prior.mean.data, prior.log_scale.data = normal(3, seed=1), 0.3 * normal(3, seed=2)
    return prior


def make_posterior():
    return DiagonalNormal(normal(4, 3, seed=3), 0.5 * normal(4, 3, seed=4))


def test_density_and_divergence_are_those_of_torch():
    prior, q, z = make_prior(), make_posterior(), normal(5, 4, 3)
    reference = Normal(prior.mean, prior.log_scale.exp())
    torch.testing.assert_close(prior.log_prob(z), reference.log_prob(z).sum(-1))
    expected = kl_divergence(Normal(q.mean, q.scale), reference)
    torch.testing.assert_close(prior.kl_per_latent(q), expected)
    torch.testing.assert_close(prior.kl(q), expected.sum(-1))
    torch.testing.assert_close(prior.sample(z), reference.mean + reference.stddev * z)


@pytest.mark.parametrize("name", NORMAL_PRIORS)
def test_each_prior_starts_as_the_standard_normal(name):
    prior, q, z = NORMAL_PRIORS[name](3), make_posterior(), normal(5, 4, 3)
    torch.testing.assert_close(prior.log_prob(z), STANDARD_NORMAL.log_prob(z))
    torch.testing.assert_close(prior.kl(q), STANDARD_NORMAL.kl(q))
    torch.testing.assert_close(prior.kl_per_latent(q).sum(-1), STANDARD_NORMAL.kl(q))
    torch.testing.assert_close(prior.sample(z), z)


@pytest.mark.parametrize("variant", STOCHASTIC, ids=lambda v: v.name)
def test_its_gradient_is_the_derivative_of_the_objective(variant):
    """In the parameters of the prior, as in the decoder's, every estimator has the gradient of its own value."""
    latents = count_latents(variant)
    model = build(variant, DataSpec((3,), "gaussian", (5,), prior="learned"), latents).double()
    x, noise = normal(4, 3, seed=5), normal(variant.draws, 4, latents, seed=6)
    zero, parameters = torch.zeros((), dtype=torch.float64), list(model.prior.parameters())

    def value():
        return estimate(variant, model, x, noise, zero).sum()

    gradients = torch.autograd.grad(value(), parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        flat = parameter.data.view(-1)
        for d in range(2):
            sides = []
            for step in (STEP, -STEP):
                flat[d] += step
                with torch.no_grad():
                    sides.append(value())
                flat[d] -= step
            assert gradient.flatten()[d].item() == pytest.approx(
                ((sides[0] - sides[1]) / (2 * STEP)).item(), rel=1e-6, abs=1e-8
            )


def test_an_architecture_that_ignores_the_prior_is_refused():
    def architecture(spec, latent_dim):
        return STOCHASTIC[0].architecture(DataSpec(spec.shape, spec.likelihood, spec.hidden), latent_dim)

    variant = dataclasses.replace(STOCHASTIC[0], name="mine", architecture=architecture)
    with pytest.raises(ValueError, match="mine has the prior standard-normal, not a learned one"):
        build(variant, DataSpec((3,), "gaussian", prior="learned"), 2)


@pytest.mark.parametrize("bits", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("prior", NORMAL_PRIORS)
def test_free_bits_limit_each_latent(bits, prior):
    by_name = {v.name: v for v in VARIANTS}
    models = [
        build(by_name["vae"], DataSpec((3,), "gaussian", (5,), prior=prior, free_bits=b), 2).double()
        for b in (0.0, bits)
    ]
    models[1].load_state_dict(models[0].state_dict())
    x, noise, zero = normal(4, 3, seed=5), normal(1, 4, 2, seed=6), torch.zeros((), dtype=torch.float64)
    plain, limited = (estimate(by_name["vae"], model, x, noise, zero) for model in models)
    terms = models[0].prior.kl_per_latent(models[0].encoder(x))
    torch.testing.assert_close(plain - limited, (terms.clamp(min=bits) - terms).sum(-1))
    assert (limited <= plain).all()
    exact = elbo.exact(models[1], models[1].encoder(x)).sum()
    gradient = torch.autograd.grad(exact, models[1].encoder.heads["mean"].bias, materialize_grads=True)[0]
    free = (terms < bits).all(0)
    assert (gradient[free] == 0).all()
    assert (gradient[(terms > bits).all(0)] != 0).all()


def test_a_measured_gradient_has_free_bits():
    variant = next(v for v in VARIANTS if v.name == "vae")
    model = build(variant, DataSpec((3,), "gaussian", (5,), free_bits=0.7), 2)
    assert FittedVariant(variant).attach_to(model).free_bits == 0.7
