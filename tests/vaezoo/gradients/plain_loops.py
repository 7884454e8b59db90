"""Gradients by their definition: one backward pass for each example and repeat, or for each state of the draws."""

import itertools

import torch
from torch.func import functional_call, grad, vmap

from vaezoo import VARIANTS, FittedVariant, Variant, elbo, estimate, mlp_bernoulli, mlp_categorical, mlp_normal
from vaezoo.estimators import enumerated
from vaezoo.gradients import minibatch_gradient

STOCHASTIC = [v for v in VARIANTS if v.name != "autoencoder"]
GAUSSIAN = [v for v in STOCHASTIC if v.architecture is mlp_normal]
LATENTS = {mlp_normal: 2, mlp_bernoulli: 3, mlp_categorical: 10}  # of a small model


def count_latents(variant):
    return LATENTS.get(variant.architecture, 2)


def fit(variant, seed=3):
    """The variant with a random network and a moving average of -4 nats, where its baseline has them."""
    torch.manual_seed(seed)
    network = variant.estimator.make_network(9, count_latents(variant)).double()
    return FittedVariant(variant, network, torch.tensor(-4.0 if variant.estimator.averaging_rate else 0.0).double())


def loop(model, fitted, x, noise):
    """Per-example gradients of each parameter [R, B, P], by the definition."""
    fitted_model = fitted.attach_to(model)
    parameters = {name: p.detach() for name, p in fitted_model.named_parameters()}

    def single_estimate(parameters, x, noise):
        function = lambda m, x, n: estimate(fitted.variant, m, x, n, fitted.average)  # noqa: E731
        return functional_call(fitted_model, parameters, (function, x[None], noise[:, None]))[0]

    gradients = vmap(vmap(grad(single_estimate), (None, 0, 1)), (None, None, 0))(parameters, x, noise)
    return {name: g.flatten(2) for name, g in gradients.items() if not name.startswith("baseline")}


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
