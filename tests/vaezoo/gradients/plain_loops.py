"""Gradients by their definition: one backward pass for each example and repeat."""

import torch
from torch.func import functional_call, grad, vmap

from vaezoo import VARIANTS, FittedVariant, estimate, mlp_bernoulli, mlp_categorical, mlp_normal

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
