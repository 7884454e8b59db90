"""Monte Carlo means of gradients, and their distance to exact gradients in standard errors."""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, vmap

from vaezoo.models import Model
from vaezoo.testing.expectation import PARTS

REPEATS_PER_CHUNK = 5_000
ROUNDING_TOLERANCE = 1e-10

ModelFunction = Callable[[Model, Tensor, Tensor], Tensor]


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


def error_z(values: Sequence[float], claimed: Sequence[float]) -> float:
    """Return the claimed variance minus the observed one, in standard errors, from independent repetitions.

    values: one estimate for each repetition. claimed: the standard error that it claims.
    """
    observed, squares = torch.as_tensor(values, dtype=torch.float64), torch.as_tensor(claimed).double().square()
    deviations = (observed - observed.mean()).square()
    spread = (deviations.var() / len(observed)).sqrt().hypot((squares.var() / len(squares)).sqrt())
    return ((squares.mean() - observed.var()) / spread).item()
