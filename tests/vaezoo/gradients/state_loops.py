"""Mean and variance of gradient estimates for Bernoulli latents, by a plain loop over all states of the draws."""

import itertools

import torch

from vaezoo import FittedVariant, Variant, elbo, mlp_bernoulli
from vaezoo.estimators import enumerated
from vaezoo.gradients import minibatch_gradient


def make(estimator, draws=1):
    return FittedVariant(Variant("it", mlp_bernoulli, elbo, estimator, draws=draws, unbiased=False))


def encoder_gradient(model, fitted, x, noise):
    gradient = minibatch_gradient(model, fitted, x, noise)
    return torch.cat([g.flatten() for name, g in gradient.items() if name.startswith("encoder.")])


def exact_gradient(model, x):
    return encoder_gradient(model, make(enumerated), x, x.new_zeros(1, len(x), model.latent_dim))


def loop_over_states(model, x, estimator, draws):
    """Mean [P] and variance of the encoder's gradient of one example; its estimate sees the noise through the draws."""
    q, total, square = model.encoder(x), 0.0, 0.0
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=draws * model.latent_dim)), dtype=x.dtype)
    for state in states:
        z = state.view(draws, 1, model.latent_dim)
        probability = q.log_prob(z.to(q.logits.dtype)).sum().exp().item()
        g = encoder_gradient(model, make(estimator, draws), x, torch.where(z > 0.5, 9.0, -9.0).to(x.dtype))
        total, square = total + probability * g, square + probability * g.square().sum().item()
    return total, square - total.square().sum().item()


def compute_errors(model, x, estimator, draws):
    """Squared bias and variance of the gradient of a minibatch."""
    loops = [loop_over_states(model, x[[b]], estimator, draws) for b in range(len(x))]
    mean = sum(mean for mean, _ in loops) / len(x)
    squared_bias = (mean - exact_gradient(model, x)).square().sum().item()
    return squared_bias, sum(variance for _, variance in loops) / len(x) ** 2
