"""Variants with a mistake that a user might make, each with the property that `check` must find broken."""

import dataclasses
import math
from dataclasses import replace

import torch
from torch import nn

from tests.vaezoo.testing.right_variants import OtherBernoulli, score
from vaezoo import (
    LEARNED,
    LEAVE_ONE_OUT,
    NO_BASELINE,
    Baseline,
    Estimator,
    Model,
    Objective,
    Variant,
    blocked,
    doubly_reparameterized,
    elbo,
    elbo_mc,
    iwae,
    mlp_normal,
    pathwise,
    score_function,
    sticking_the_landing,
)
from vaezoo.distributions.posteriors import DiagonalNormal, Family
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.models import Decoder, Encoder
from vaezoo.objectives import log_likelihood_weight, zero_exact
from vaezoo.reductions import LOG_MEAN_EXP, MEAN, log_mean_exp_reward

ENCODER, DECODER = "bias of the encoder's gradient", "bias of the decoder's gradient"
VALUE, EXAMPLES = "value is the objective", "examples are independent"
DERIVATIVES, DENSITY, BOUND = "gradients are derivatives", "likelihood is a density", "objective is a bound of log p(x)"
KL, LEAST_SQUARES = "KL in closed form", "baseline learns by least squares"
WRONG = []


def wrong(property_, objective=elbo, architecture=mlp_normal, draws=1, **options):
    """Return a decorator that adds a variant with the decorated function as its estimate."""

    def add(function):
        details = {name: options.pop(name) for name in ("transforms_noise", "fewest_draws") if name in options}
        name = function.__name__.replace("_", "-")
        estimator = Estimator(function.__name__, function, **details)
        WRONG.append((Variant(name, architecture, objective, estimator, draws, **options), property_))
        return function

    return add


def add(name, property_, architecture=mlp_normal, objective=elbo, estimator=pathwise, draws=1, **options):
    WRONG.append((Variant(name, architecture, objective, estimator, draws, **options), property_))


def reinforce(log_weight, reduction, q, noise):
    z = q.sample(noise)
    log_w = log_weight(z, q)
    return z, log_w, q.log_prob(z), reduction.reward(log_w), reduction.value(log_w)


@wrong(ENCODER, draws=4)
def right_for_two_draws(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward) * len(noise) / 2


@wrong(ENCODER)
def right_for_two_latents(log_weight, reduction, q, noise, prediction):
    z, _, _, reward, value = reinforce(log_weight, reduction, q, noise)
    parts = -0.5 * ((z - q.mean) / q.scale).square() - q.log_scale
    return value + score(2 * parts.mean(-1), reward)


@wrong(ENCODER)
def clamped_reward(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward.clamp(-50, 50))


@wrong(VALUE)
def clamped_noise(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise.clamp(-3, 3)), q))


@wrong(ENCODER)
def two_percent_more(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + 1.02 * score(log_q, reward)


@wrong(DECODER)
def no_gradient_in_the_decoder(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value.detach() + score(log_q, reward)


@wrong(DECODER)
def twice_the_gradient_in_the_decoder(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return 2 * value - value.detach() + score(log_q, reward)


@wrong(ENCODER)
def wrong_sign(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value - score(log_q, reward)


@wrong(ENCODER)
def score_of_the_mean_only(log_weight, reduction, q, noise, prediction):
    z, _, _, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(DiagonalNormal(q.mean, q.log_scale.detach()).log_prob(z), reward)


@wrong(DECODER, elbo_mc)
def value_counted_twice(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward) + (value - value.detach())


@wrong(EXAMPLES)
def mean_reward_of_the_minibatch(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward.mean(-1, keepdim=True))


@wrong("noise is independent across examples")
def noise_shared_by_examples(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise[:, :1].expand_as(noise)), q))


@wrong("reproducible under a seed")
def noise_drawn_inside(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(torch.randn_like(noise)), q))


@wrong("inputs stay unchanged")
def noise_changed_in_place(log_weight, reduction, q, noise, prediction):
    value = reduction.value(log_weight(q.rsample(noise), q))
    noise.mul_(2)
    return value


@wrong(ENCODER, iwae, draws=3)
def weights_not_detached(log_weight, reduction, q, noise, prediction):
    log_w = log_weight(q.rsample(noise), q)
    surrogate = (log_w.softmax(0) * log_w).sum(0)
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


@wrong(ENCODER, iwae, draws=3)
def weights_of_the_wrong_sign(log_weight, reduction, q, noise, prediction):
    log_w = log_weight(q.rsample(noise), q)
    surrogate = ((-log_w).softmax(0).detach() * log_w).sum(0)
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


@wrong(ENCODER, iwae, draws=3)
def weights_not_squared(log_weight, reduction, q, noise, prediction):
    z = q.rsample(noise)
    log_w = log_weight(z, q.detach())
    surrogate = (log_w.softmax(0).detach() * log_w).sum(0)
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


@wrong(ENCODER, draws=2)
def reward_of_the_wrong_draw(log_weight, reduction, q, noise, prediction):
    _, _, log_q, reward, value = reinforce(log_weight, reduction, q, noise)
    return value + score(log_q, reward.roll(1, 0))


@wrong(ENCODER)
def path_of_the_mean_only(log_weight, reduction, q, noise, prediction):
    z = q.mean + (q.scale * noise).detach()
    return reduction.value(log_weight(z, q))


@wrong(ENCODER)
def two_percent_less_path(log_weight, reduction, q, noise, prediction):
    z = q.rsample(noise)
    return reduction.value(log_weight(0.98 * z + 0.02 * z.detach(), q))


@wrong("shapes")
def column_of_values(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q))[:, None]


@wrong("shapes")
def mean_over_examples(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q)).mean()


@wrong("shapes")
def not_a_number(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q)) * math.nan


@wrong("shapes")
def an_error(log_weight, reduction, q, noise, prediction):
    raise KeyError("missing")


@wrong(VALUE)
def one_nat_more(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise), q)) + 1


@wrong(VALUE, iwae, draws=3)
def mean_instead_of_log_mean_exp(log_weight, reduction, q, noise, prediction):
    return log_weight(q.rsample(noise), q).mean(0)


@wrong(VALUE)
def antithetic_undeclared(log_weight, reduction, q, noise, prediction):
    return 0.5 * sum(reduction.value(log_weight(q.rsample(side * noise), q)) for side in (1, -1))


@wrong("mean value is the objective", transforms_noise=True)
def half_of_the_noise(log_weight, reduction, q, noise, prediction):
    return reduction.value(log_weight(q.rsample(noise.abs()), q))


@wrong(ENCODER, transforms_noise=True)
def antithetic_with_one_path(log_weight, reduction, q, noise, prediction):
    sides = q.rsample(noise), q.rsample(-noise).detach()
    return 0.5 * sum(reduction.value(log_weight(z, q)) for z in sides)


def includes_its_draw(log_w, reduction, prediction):
    return reduction.reward(log_w.mean(0, keepdim=True).expand_as(log_w))


def largest_of_all(log_w, reduction, prediction):
    return log_w.max(0).values.expand_as(log_w) / len(log_w)


def updated_before_use(log_w, reduction, prediction):
    moved = prediction + 0.1 * (reduction.value(log_w) - prediction)
    return reduction.reward(moved.expand_as(log_w))


add("includes-its-draw", ENCODER, estimator=score_function(Baseline("includes", includes_its_draw)), draws=3)
add("largest-of-all", ENCODER, estimator=score_function(Baseline("largest", largest_of_all)), draws=2)
add("updated-before-use", ENCODER, estimator=score_function(Baseline("updated", updated_before_use, rate=0.1)))


def drive_the_network(factor):
    real = score_function(LEARNED)

    def estimate(log_weight, reduction, q, noise, prediction):
        value = real.estimate(log_weight, reduction, q, noise, prediction.detach())
        error = (prediction - value.detach()).square()
        return value - factor * (error - error.detach())

    return Estimator(f"network_times_{factor}", estimate, LEARNED)


add("network-driven-away", LEAST_SQUARES, estimator=drive_the_network(-1.0))
add("network-at-half-speed", LEAST_SQUARES, estimator=drive_the_network(0.5))
add("network-not-driven", LEAST_SQUARES, estimator=drive_the_network(0.0))

add("stl-on-iwae-declared-unbiased", ENCODER, objective=iwae, estimator=sticking_the_landing, draws=3)
add("blocked-declared-unbiased", ENCODER, estimator=blocked)
add("pathwise-declared-biased", ENCODER, unbiased=False)
add("dreg-declared-biased", ENCODER, objective=iwae, estimator=doubly_reparameterized, draws=3, unbiased=False)
add("loo-declared-biased", ENCODER, estimator=score_function(LEAVE_ONE_OUT), draws=2, unbiased=False)


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
    prior = dataclasses.replace(STANDARD_NORMAL, name="half", kl=lambda q: 0.5 * STANDARD_NORMAL.kl(q))
    return Model(model.encoder, model.decoder, prior, latent_dim)


def scale_for_variance(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    kl = lambda q: 0.5 * (q.mean.square() + q.scale - 1 - q.log_scale).sum(-1)  # noqa: E731
    return Model(model.encoder, model.decoder, dataclasses.replace(STANDARD_NORMAL, name="v", kl=kl), latent_dim)


add("altered-decoder", DERIVATIVES, altered_decoder)
add("altered-encoder", DERIVATIVES, altered_encoder)
add("centred-encoder", EXAMPLES, centred_encoder)
add("dropout", "reproducible under a seed", dropout)
add("unused-parameter", "gradients reach every parameter", unused_parameter)
add("half-prior", KL, half_prior)
add("scale-for-variance", KL, scale_for_variance)
add("score-declared-biased", ENCODER, estimator=score_function(NO_BASELINE), unbiased=False)
