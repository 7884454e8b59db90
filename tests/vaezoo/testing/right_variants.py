"""Variants that a user might bring, and that are right: `check` passes them, `run` and `gradients` measure them."""

import dataclasses
import math

import torch
from torch import nn
from torch.nn import functional

from tests.oracles import change
from vaezoo import (
    Baseline,
    Estimator,
    Model,
    Objective,
    Variant,
    elbo,
    elbo_mc,
    iwae,
    mlp_normal,
    pathwise,
    score_function,
)
from vaezoo.distributions.families import DIAGONAL_NORMAL, Family
from vaezoo.distributions.posteriors import DiagonalNormal
from vaezoo.distributions.priors import STANDARD_NORMAL
from vaezoo.models import Decoder, Encoder
from vaezoo.objectives import importance_weight, zero_exact
from vaezoo.reductions import Reduction


def score(log_q, reward):
    return (reward.detach() * (log_q - log_q.detach())).sum(0)


def constant_baseline(log_weight, reduction, q, noise, prediction):
    z = q.sample(noise)
    log_w = log_weight(z, q)
    return reduction.value(log_w) + score(q.log_prob(z), reduction.reward(log_w) + 30 / len(log_w))


def half_leave_one_out(log_w, reduction, prediction):
    """Half of the mean of the others; any function of the other draws is allowed."""
    return 0.5 * (log_w.sum(0) - log_w) / (len(log_w) - 1) / len(log_w)


def median_of_others(log_w, reduction, prediction):
    others = torch.stack([torch.cat([log_w[:k], log_w[k + 1 :]]).median(0).values for k in range(len(log_w))])
    return others / len(log_w)


def antithetic(log_weight, reduction, q, noise, prediction):
    return 0.5 * sum(reduction.value(log_weight(q.rsample(side * noise), q)) for side in (1, -1))


def two_calls(log_weight, reduction, q, noise, prediction):
    z = q.rsample(noise)
    return 0.5 * (reduction.value(log_weight(z, q)) + reduction.value(log_weight(z, q)))


def taylor(log_weight, reduction, q, noise, prediction):
    """MuProp: the score function of the rest of a Taylor expansion at the mean, whose linear part is exact."""
    z = q.sample(noise)
    mean = q.mean.detach().expand_as(z)
    fixed = q.detach()
    slope = torch.func.grad(lambda point: log_weight(point, fixed).sum())(mean).detach()
    log_w = log_weight(z, q)
    rest = reduction.reward(log_w) - (log_weight(mean, q) + (slope * (z - mean)).sum(-1)) / len(z)
    linear = (slope * (q.mean - mean)).sum(-1).mean(0)
    return reduction.value(log_w) + score(q.log_prob(z), rest) + linear - linear.detach()


def stacked_taylor(log_weight, reduction, q, noise, prediction):
    """The same control variate without its slope; draws and means are decoded in one call."""
    z = q.sample(noise)
    both = log_weight(torch.cat([z, q.mean.detach().expand_as(z)]), q)
    log_w, at_mean = both[: len(z)], both[len(z) :]
    return reduction.value(log_w) + score(q.log_prob(z), reduction.reward(log_w) - at_mean / len(z))


def with_control_flow(log_weight, reduction, q, noise, prediction):
    """Python branches on values, which `torch.func.vmap` refuses."""
    log_w = log_weight(q.rsample(noise), q)
    return reduction.value(log_w if float(log_w.detach().mean()) < 0 else log_w + 0)


def two_pass_dreg(log_weight, reduction, q, noise, prediction):
    z = q.rsample(noise)
    log_w = log_weight(z, q.detach())
    weights = log_w.softmax(0).detach()
    leaf = z.detach().requires_grad_()
    encoder = (weights.square() * log_weight(z, q.detach())).sum(0)
    decoder = (weights * log_weight(leaf, q.detach())).sum(0)
    counted = (weights.square() * log_weight(leaf, q.detach())).sum(0)  # the decoder's gradient of the first term
    surrogate = encoder + decoder - counted
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


def self_normalised(log_weight, reduction, q, noise, prediction):
    log_w = log_weight(q.rsample(noise), q)
    surrogate = (log_w.softmax(0).detach() * log_w).sum(0)
    return reduction.value(log_w).detach() + surrogate - surrogate.detach()


def vr_iwae(alpha):
    """Daudel et al. 2023, arXiv:2210.06226: log mean of w^(1 - alpha), divided by 1 - alpha."""
    power = 1 - alpha

    def value(log_w):
        return ((power * log_w).logsumexp(0) - math.log(len(log_w))) / power

    reduction = Reduction(
        f"vr({alpha:g})",
        value,
        path_scale=lambda log_w: 1 - power * (1 - (power * log_w).softmax(0)),
        reward=lambda log_w: value(log_w).expand_as(log_w),
    )
    return Objective(f"vr_iwae({alpha:g})", importance_weight, reduction, zero_exact)


@dataclasses.dataclass(frozen=True)
class SoftplusNormal:
    """The normal posterior with another parameter for its scale."""

    mean: torch.Tensor
    raw: torch.Tensor

    @property
    def scale(self):
        return functional.softplus(self.raw)

    @property
    def log_scale(self):
        return self.scale.log()

    def as_normal(self):
        return DiagonalNormal(self.mean, self.log_scale)

    def rsample(self, noise):
        return self.mean + self.scale * noise

    def sample(self, noise):
        return self.rsample(noise).detach()

    def log_prob(self, z):
        return self.as_normal().log_prob(z)

    def detach(self):
        return SoftplusNormal(self.mean.detach(), self.raw.detach())


class OtherBernoulli(nn.Module):
    support = "binary"

    def log_prob(self, x, output):
        target = x.to(output.dtype).expand_as(output)
        return -functional.binary_cross_entropy_with_logits(output, target, reduction="none").sum(-1)

    def mean(self, output):
        return output.sigmoid()


def softplus_posterior(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    family = Family("softplus_normal", ("mean", "raw"), SoftplusNormal, stochastic=True)
    encoder = Encoder(model.encoder.trunk, spec.hidden[-1], latent_dim, family)
    prior = change(STANDARD_NORMAL, kl=lambda q: STANDARD_NORMAL.kl(q.as_normal()))
    return Model(encoder, model.decoder, prior, latent_dim)


def other_likelihood(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    return Model(model.encoder, Decoder(model.decoder.network, OtherBernoulli()), model.prior, latent_dim)


def without_bias(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    network, pixels = model.decoder.network, math.prod(spec.shape)
    network[-1] = nn.Linear(network[-1].in_features, pixels, bias=False)
    return model


class _Convolutions(nn.Module):
    """A decoder's network: a linear layer, then a convolution over the image."""

    def __init__(self, latent_dim, shape):
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(latent_dim, math.prod(shape))
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, z):
        images = self.linear(z).tanh().reshape(-1, 1, *self.shape)
        return self.convolution(images).reshape(*z.shape[:-1], -1)


def convolutional(spec, latent_dim):
    trunk = nn.Sequential(nn.Unflatten(1, (1, *spec.shape)), nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Flatten())
    encoder = Encoder(trunk, 2 * math.prod(spec.shape), latent_dim, DIAGONAL_NORMAL)
    likelihood = mlp_normal(spec, latent_dim).decoder.likelihood
    return Model(encoder, Decoder(_Convolutions(latent_dim, spec.shape), likelihood), STANDARD_NORMAL, latent_dim)


class _Tied(nn.Module):
    """A decoder's network that uses the transposed weight of the encoder's head for the mean."""

    def __init__(self, head, features, pixels):
        super().__init__()
        self.head = head
        self.output = nn.Linear(features, pixels)

    def forward(self, z):
        return self.output(functional.linear(z, self.head.weight.T).tanh())


def tied(spec, latent_dim):
    model = mlp_normal(spec, latent_dim)
    network = _Tied(model.encoder.heads["mean"], spec.hidden[-1], math.prod(spec.shape))
    return Model(model.encoder, Decoder(network, model.decoder.likelihood), model.prior, latent_dim)


HALF_LOO = Baseline("half_leave_one_out", half_leave_one_out, min_draws=2)
MEDIAN = Baseline("median_of_others", median_of_others, min_draws=3)

VARIANTS = [
    Variant("constant-baseline", mlp_normal, elbo, Estimator("constant_baseline", constant_baseline)),
    Variant("half-loo", mlp_normal, elbo, score_function(HALF_LOO), draws=4),
    Variant("median-of-others", mlp_normal, elbo, score_function(MEDIAN), draws=3),
    Variant("antithetic", mlp_normal, elbo, Estimator("antithetic", antithetic, transforms_noise=True)),
    Variant("antithetic-iwae", mlp_normal, iwae, Estimator("antithetic", antithetic, transforms_noise=True), draws=3),
    Variant("two-calls", mlp_normal, elbo, Estimator("two_calls", two_calls)),
    Variant("taylor", mlp_normal, elbo, Estimator("taylor", taylor)),
    Variant("taylor-2", mlp_normal, elbo, Estimator("taylor", taylor), draws=2),
    Variant("stacked-taylor", mlp_normal, elbo, Estimator("stacked_taylor", stacked_taylor)),
    Variant("control-flow", mlp_normal, elbo_mc, Estimator("control_flow", with_control_flow)),
    Variant("two-pass-dreg", mlp_normal, iwae, Estimator("two_pass_dreg", two_pass_dreg), draws=4),
    Variant("self-normalised", mlp_normal, iwae, Estimator("self_normalised", self_normalised), draws=3),
    Variant("vr-iwae", mlp_normal, vr_iwae(0.5), pathwise, draws=3),
    Variant("vr-iwae-reinforce", mlp_normal, vr_iwae(0.5), Estimator("constant_baseline", constant_baseline), draws=2),
    Variant("softplus", softplus_posterior, elbo, pathwise),
    Variant("other-likelihood", other_likelihood, elbo, pathwise),
    Variant("without-bias", without_bias, elbo, pathwise),
    Variant("convolutional", convolutional, elbo, pathwise),
    Variant("tied", tied, elbo, pathwise),
]
