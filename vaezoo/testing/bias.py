"""The bias of a gradient estimate: its mean over many draws minus the exact gradient, which is from quadrature."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from vaezoo.distributions.likelihoods import Gaussian
from vaezoo.models import Decoder, Encoder, Model, initialise
from vaezoo.testing import quadrature
from vaezoo.variants import Variant

PARTS = ("encoder", "decoder")
REPEATS_PER_CHUNK = 5_000
ROUNDING_TOLERANCE = 1e-10

ModelFunction = Callable[[Model, Tensor, Tensor], Tensor]


def linear_gaussian_model(template: Model, pixels: int) -> Model:
    """Return a model with linear encoder and decoder and unit noise; latents, prior and posterior as in `template`."""
    model = Model(
        Encoder(nn.Identity(), pixels, template.latent_dim, template.encoder.family),
        Decoder(nn.Linear(template.latent_dim, pixels), Gaussian()),
        template.prior,
        template.latent_dim,
    ).double()
    source = torch.Generator().manual_seed(1)
    initialise(model, lambda name: source)
    return model


def flat_gradient(model: Model, value: Float[Tensor, ""], part: str = "") -> Float[Tensor, " P"]:
    """Return the gradient of a scalar in the parameters of the model or one part of it; 0 for parameters not used."""
    parameters = [p for name, p in model.named_parameters() if name.startswith(part)]
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in gradients])


def draw_gradients(
    model: Model,
    function: ModelFunction,
    x: Float[Tensor, "B ..."],
    noise: Float[Tensor, "R K B D"],
    parts: Iterable[str] = PARTS,
) -> dict[str, Float[Tensor, "R P"]]:
    """Return the gradient of the mean of `function` over x for each repeat of the noise, by part of the model.

    The part "" is the whole model.
    """
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def mean(parameters: dict[str, Tensor], noise: Tensor) -> Tensor:
        value: Tensor = functional_call(model, parameters, (function, x, noise))
        return value.mean()

    gradients = vmap(grad(mean), (None, 0), chunk_size=REPEATS_PER_CHUNK)(parameters, noise)
    return {
        part: torch.cat([g.flatten(1) for name, g in gradients.items() if name.startswith(part)], 1) for part in parts
    }


def expected_objective(variant: Variant, model: Model, x: Float[Tensor, "B ..."], nodes: int) -> Float[Tensor, ""]:
    """Return E[L(x)] over the noise of the variant's draws, mean over x, nats, by quadrature; for small models.

    It is differentiable, so it gives the exact gradient. F must be symmetric in the draws.
    """
    points, weights = quadrature.product_rule(variant.draws, model.latent_dim, nodes)
    rows = x.repeat_interleave(len(weights), 0)
    noise = points.repeat(1, len(x), 1)
    objective, q = variant.objective, model.encoder(rows)
    log_w = objective.log_weight(model, rows, q.rsample(noise), q)
    values = objective.reduction.value(log_w) + objective.exact(model, q)
    return (values.view(len(x), -1) @ weights).mean()


def largest_z(
    draws: Float[Tensor, "R P"], exact: Float[Tensor, " P"], error: float | Float[Tensor, " P"] = 0.0
) -> float:
    """Return the largest |mean - exact| over coordinates in standard errors; infinity if a constant one is not exact.

    error: standard error of `exact`.
    """
    distance, se = (draws.mean(0) - exact).abs(), draws.std(0) / len(draws) ** 0.5
    random = se >= 1e-14
    if (distance[~random] > ROUNDING_TOLERANCE).any():
        return float("inf")
    total_se = (se.square() + torch.as_tensor(error, dtype=se.dtype).square()).sqrt().expand_as(distance)
    z = distance[random] / total_se[random]
    return z.max().item() if len(z) else 0.0


def measure_bias(
    variant: Variant, model: Model, function: ModelFunction, x: Float[Tensor, "B ..."], noise: Float[Tensor, "R K B D"]
) -> dict[str, float]:
    """Return the largest z-score of the mean gradient, by part of a small model ("encoder", "decoder").

    The error of the quadrature is estimated by the difference to the rule with one node fewer.
    """
    gradients = draw_gradients(model, function, x, noise)
    nodes = quadrature.max_nodes(variant.draws, model.latent_dim)
    fine, coarse = (expected_objective(variant, model, x, n) for n in (nodes, nodes - 1))
    z = {}
    for part in PARTS:
        exact = flat_gradient(model, fine, part)
        z[part] = largest_z(gradients[part], exact, exact - flat_gradient(model, coarse, part))
    return z
