"""Wrong posteriors, likelihoods, objectives and layers, each with the property that `check` must find broken."""

import math
from dataclasses import replace

import torch
from torch import nn

from tests.oracles import change
from tests.vaezoo.testing.corpus import BOUND, DENSITY, DERIVATIVES, ENCODER, EXAMPLES, KL, add
from tests.vaezoo.testing.right_variants import OtherBernoulli
from vaezoo import (
    Model,
    Objective,
    elbo_mc,
    iwae,
    mlp_normal,
)
from vaezoo.distributions.families import Family
from vaezoo.distributions.posteriors import DiagonalNormal
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.models import Decoder, Encoder
from vaezoo.objectives import log_likelihood_weight, zero_exact
from vaezoo.reductions import LOG_MEAN_EXP, MEAN, log_mean_exp_reward


class DetachedScale(DiagonalNormal):
    def rsample(self, noise):
        return self.mean + self.scale.detach() * noise


class NoLogScale(DiagonalNormal):
    def log_prob(self, z):
        return super().log_prob(z) + self.log_scale.sum(-1)


class WiderSamples(DiagonalNormal):
    def rsample(self, noise):
        return self.mean + 1.1 * self.scale * noise

    def log_prob(self, z):
        return DiagonalNormal(self.mean, self.log_scale).log_prob(z)


def with_posterior(posterior):
    def architecture(spec, latent_dim):
        model = mlp_normal(spec, latent_dim)
        family = Family(posterior.__name__, ("mean", "log_scale"), posterior, stochastic=True)
        encoder = Encoder(model.encoder.trunk, spec.hidden[-1], latent_dim, family)
        return Model(encoder, model.decoder, model.prior, latent_dim)

    architecture.__name__ = posterior.__name__
    return architecture


add("detached-scale", DERIVATIVES, with_posterior(DetachedScale))
add("detached-scale-elbo-mc", ENCODER, with_posterior(DetachedScale), elbo_mc)
add("no-log-scale", KL, with_posterior(NoLogScale))
add("no-log-scale-iwae", BOUND, with_posterior(NoLogScale), iwae, draws=2)
add("wider-samples", BOUND, with_posterior(WiderSamples), iwae, draws=2)


class SquareLikelihood(nn.Module):
    support = "real"

    def log_prob(self, x, output):
        return -(x - output).square().sum(-1)

    def mean(self, output):
        return output


class GaussianOfBits(SquareLikelihood):
    support = "binary"

    def log_prob(self, x, output):
        return -0.5 * (x - output).square().sum(-1) / 0.01 - x.shape[-1] * math.log(0.1 * math.sqrt(2 * math.pi))


class MeanOverPixels(OtherBernoulli):
    def log_prob(self, x, output):
        return super().log_prob(x, output) / x.shape[-1]


class UnknownSupport(OtherBernoulli):
    support = "bits"


def with_likelihood(likelihood):
    def architecture(spec, latent_dim):
        model = mlp_normal(spec, latent_dim)
        return Model(model.encoder, Decoder(model.decoder.network, likelihood()), model.prior, latent_dim)

    architecture.__name__ = likelihood.__name__
    return architecture


for likelihood in (SquareLikelihood, GaussianOfBits, MeanOverPixels, UnknownSupport):
    add(f"likelihood-{likelihood.__name__}", DENSITY, with_likelihood(likelihood))


def without_prior(model, x, z, q):
    return model.decoder.log_prob(x, z) - q.log_prob(z)


def without_posterior(model, x, z, q):
    return model.decoder.log_prob(x, z) + model.prior.log_prob(z)


NO_MEAN = replace(LOG_MEAN_EXP, name="log_sum_exp", value=lambda log_w: log_w.logsumexp(0), reward=log_mean_exp_reward)
SUM = replace(MEAN, name="sum", value=lambda log_w: log_w.sum(0), reward=lambda log_w: log_w)
add("iwae-without-prior", BOUND, objective=Objective("a", without_prior, LOG_MEAN_EXP, zero_exact), draws=2)
add("iwae-without-posterior", BOUND, objective=Objective("b", without_posterior, LOG_MEAN_EXP, zero_exact), draws=2)
add("iwae-of-the-sum", BOUND, objective=Objective("c", iwae.log_weight, NO_MEAN, zero_exact), draws=2)
add("elbo-with-positive-kl", BOUND, objective=Objective("d", log_likelihood_weight, MEAN, lambda m, q: m.prior.kl(q)))
add("elbo-with-no-kl", BOUND, objective=Objective("e", log_likelihood_weight, MEAN, zero_exact))


class Altered(torch.autograd.Function):
    """The identity with a gradient that is 10 % too small."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, gradient):
        return 0.9 * gradient


class AlteredLayer(nn.Module):
    def forward(self, x):
        return Altered.apply(x)


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(0, keepdim=True)


def altered_decoder(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    model.decoder.network.insert(1, AlteredLayer())
    return model


def altered_encoder(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    model.encoder.trunk.append(AlteredLayer())
    return model


def centred_encoder(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    model.encoder.trunk.append(Centred())
    return model


def dropout(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    model.decoder.network.insert(1, nn.Dropout(0.2))
    return model


def unused_parameter(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    model.encoder.unused = nn.Linear(2, 2)
    return model


def half_prior(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    prior = change(STANDARD_NORMAL, name="half", kl=lambda q: 0.5 * STANDARD_NORMAL.kl(q))
    return Model(model.encoder, model.decoder, prior, latent_dim)


def scale_for_variance(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    kl = lambda q: 0.5 * (q.mean.square() + q.scale - 1 - q.log_scale).sum(-1)  # noqa: E731
    return Model(model.encoder, model.decoder, change(STANDARD_NORMAL, name="v", kl=kl), latent_dim)


add("altered-decoder", DERIVATIVES, altered_decoder)
add("altered-encoder", DERIVATIVES, altered_encoder)
add("centred-encoder", EXAMPLES, centred_encoder)
add("dropout", "reproducible under a seed", dropout)
add("unused-parameter", "gradients reach every parameter", unused_parameter)
add("half-prior", KL, half_prior)
add("scale-for-variance", KL, scale_for_variance)
