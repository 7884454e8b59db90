"""The bias of a gradient estimate, measured: its mean over many draws against the exact gradient, by quadrature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from vaezoo import quadrature
from vaezoo.likelihoods import Gaussian
from vaezoo.models import Decoder, Encoder, Model
from vaezoo.networks import initialise
from vaezoo.variants import Variant

PARTS = ("encoder", "decoder")
AT_ONCE = 5_000
ROUNDING = 1e-10

ModelFunction = Callable[[Model, Tensor, Tensor], Tensor]


def linear_gaussian(own: Model, pixels: int) -> Model:
    """Linear maps each way and unit noise, with `own`'s latents, prior and kind of posterior."""
    model = Model(
        Encoder(nn.Identity(), pixels, own.latent_dim, own.encoder.family),
        Decoder(nn.Linear(own.latent_dim, pixels), Gaussian()),
        own.prior,
        own.latent_dim,
    ).double()
    source = torch.Generator().manual_seed(1)
    initialise(model, lambda name: source)
    return model


def flat_gradient(model: Model, value: Float[Tensor, ""], part: str) -> Float[Tensor, " P"]:
    """The gradient of a scalar in the parameters of one part of the model; 0 where none arrives."""
    parameters = [p for name, p in model.named_parameters() if name.startswith(f"{part}.")]
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def gradient_draws(
    model: Model, function: ModelFunction, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> dict[str, Float[Tensor, "R P"]]:
    """The gradient of the mean over x of `function` for each repeat of the noise, flattened, by part of the model."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def mean(parameters: dict[str, Tensor], noise: Tensor) -> Tensor:
        value: Tensor = functional_call(model, parameters, (function, x, noise))
        return value.mean()

    found = vmap(grad(mean), (None, 0), chunk_size=AT_ONCE)(parameters, noise)
    return {
        part: torch.cat([g.flatten(1) for name, g in found.items() if name.startswith(f"{part}.")], 1) for part in PARTS
    }


def expected(variant: Variant, model: Model, x: Float[Tensor, "B ..."], nodes: int) -> Float[Tensor, ""]:
    """E[L(x)] over the noise of the variant's draws for a small model, mean over x: by quadrature.

    Differentiable, so it gives the exact gradient. F is taken not to mind the order of the draws.
    """
    at, weights = quadrature.points(variant.draws, model.latent_dim, nodes)
    rows = x.repeat_interleave(len(weights), 0)
    noise = at.repeat(1, len(x), 1)
    objective, q = variant.objective, model.encoder(rows)
    log_w = objective.log_weight(model, rows, q.rsample(noise), q)
    values = objective.reduction.value(log_w) + objective.exact(model, q)
    return (values.view(len(x), -1) @ weights).mean()


def worst_z(draws: Float[Tensor, "R P"], exact: Float[Tensor, " P"], error: float | Float[Tensor, " P"] = 0.0) -> float:
    """The largest |mean - exact| over coordinates, in standard errors; coordinates without spread must agree.

    error: that of `exact` itself, where it has one.
    """
    off, se = (draws.mean(0) - exact).abs(), draws.std(0) / len(draws) ** 0.5
    still = se < 1e-14
    if (off[still] > ROUNDING).any():
        return float("inf")
    z = off[~still] / (se.square() + torch.as_tensor(error, dtype=se.dtype).square()).sqrt().expand_as(off)[~still]
    return z.max().item() if len(z) else 0.0


def measured(
    variant: Variant, model: Model, function: ModelFunction, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> dict[str, float]:
    """|z| of the worst coordinate of the encoder's and the decoder's mean gradient, for a small model.

    The quadrature's own error is taken as its difference to a rule with one node less.
    """
    found = gradient_draws(model, function, x, noise)
    nodes = quadrature.most_nodes(variant.draws, model.latent_dim)
    fine, coarse = (expected(variant, model, x, n) for n in (nodes, nodes - 1))
    z = {}
    for part in PARTS:
        exact = flat_gradient(model, fine, part)
        z[part] = worst_z(found[part], exact, exact - flat_gradient(model, coarse, part))
    return z
