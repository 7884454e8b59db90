"""The mean of a gradient estimate against the gradient of the mean objective: the bias.

Both means are over the standard normal noise, by Gauss-Hermite quadrature. The rows of one batch are the points of the
rule, so a mean gradient is one backward pass. For discrete latents, the mean objective is a sum over all states, and
the mean of the estimates is over random draws. The gradient of the mean objective is by finite differences, so it is
right for posteriors and likelihoods whose own gradients are wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.distributions.families import Family
from vaezoo.distributions.posteriors import Posterior
from vaezoo.models import Model
from vaezoo.testing import quadrature
from vaezoo.testing.problems import Problem, normal

PARTS = ("encoder", "decoder")
DIRECTIONS = 4
SMOOTH_STEP, PIECEWISE_STEP = 1e-4, 1e-6  # the second one is unlikely to cross a kink of ReLU
SMALLEST_RESOLUTION = 1e-6  # of finite differences
FEW_POINTS, FINE = 2_000, 1e-4  # fewer points suffice if the error of the quadrature is at most this
COARSE = 0.02  # a larger error of the quadrature means that the estimate is no smooth function of the noise
BATCH_SIZE, DISCRETE_BATCH_SIZE = 20_000, 2_500
SIGNIFICANT_Z = 5.0


@dataclass(frozen=True)
class Effort:
    """How long the measurement of a mean may take.

    points: largest number of points of a quadrature. batches: number of batches where draws replace quadrature.
    """

    points: int
    batches: int


STANDARD = Effort(points=quadrature.MAX_GRID_POINTS, batches=50)
THOROUGH = Effort(points=2_000_000, batches=1000)


@dataclass(frozen=True)
class Bias:
    """The bias of a gradient, relative to the size of the exact gradient.

    resolution: a bias of this size would have been seen. monte_carlo: whether quadrature was not accurate.
    """

    relative: float
    resolution: float
    monte_carlo: bool

    @property
    def significant(self) -> bool:
        """Whether the bias is larger than the error of the measurement."""
        return not self.relative <= self.resolution


def parameters_of(model: Model, part: str | tuple[str, ...]) -> list[Tensor]:
    """Return the parameters of a part or of several; those that both parts share belong to the encoder."""
    return [p for name, p in model.named_parameters() if name.startswith(part)]


def flat_gradient(model: Model, value: Float[Tensor, ""], part: str | tuple[str, ...] = "") -> Float[Tensor, " P"]:
    """Return the gradient of a scalar in the parameters of the model or parts of it; 0 for parameters not used."""
    gradients = torch.autograd.grad(
        value, parameters_of(model, part), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return torch.cat([g.flatten() for g in gradients])


def differentiate_numerically(
    model: Model, part: str, function: Callable[[], Tensor], directions: Float[Tensor, "J P"], step: float
) -> Float[Tensor, " J"]:
    """Return derivatives of a function of the parameters of one part along directions, by central differences."""
    parameters = parameters_of(model, part)
    sizes = [p.numel() for p in parameters]
    derivatives = []
    with torch.no_grad():
        for direction in directions:
            values = []
            for side in (step, -step):
                for p, change in zip(parameters, direction.split(sizes), strict=True):
                    p += side * change.view_as(p)
                values.append(function())
                for p, change in zip(parameters, direction.split(sizes), strict=True):
                    p -= side * change.view_as(p)
            derivatives.append((values[0] - values[1]) / (2 * step))
    return torch.stack(derivatives)


def draw_directions(model: Model, part: str) -> Float[Tensor, "J P"]:
    """Return random directions of length 1 in the parameters of one part of the model."""
    directions = normal(DIRECTIONS, sum(p.numel() for p in parameters_of(model, part)), seed=11)
    return nn.functional.normalize(directions)


def objective_values(
    problem: Problem, x: Float[Tensor, "B ..."], noise: Float[Tensor, "K B D"], reparameterized: bool = False
) -> Float[Tensor, " B"]:
    """Return F(log w) + A at the draws of the posterior, nats: the value that an estimate must have."""
    model, objective = problem.model, problem.variant.objective
    q = model.encoder(x)
    log_w = objective.log_weight(model, x, q.rsample(noise) if reparameterized else q.sample(noise), q)
    return objective.reduction.value(log_w) + objective.exact(model, q)


def mean_over_noise(problem: Problem, function: Callable[[Tensor, Tensor], Tensor], nodes: int) -> Float[Tensor, ""]:
    """Return the mean of function(x [N, ...], noise [K, N, D]) [N] over the examples and the noise, by quadrature."""
    points, weights = quadrature.grid_rule(problem.variant.draws, problem.model.latent_dim, nodes)
    rows = problem.x.repeat_interleave(len(weights), 0)
    values = function(rows, points.repeat(1, len(problem.x), 1))
    return (values.view(len(problem.x), -1) @ weights).mean()


def list_draws(
    family: Family, q: Posterior, latent_dim: int, nodes: int
) -> tuple[Float[Tensor, "S B D"], Float[Tensor, "S B"]]:
    """Return draws z of q and their weights: all states with their probabilities, or the points of a quadrature."""
    examples = len(q.mean)
    if family.is_discrete:
        z = q.states()[:, None].expand(-1, examples, -1)  # type: ignore[attr-defined]
        return z, q.log_prob(z).exp()
    points, weights = quadrature.grid_rule(1, latent_dim, nodes)
    return q.sample(points[0][:, None].expand(-1, examples, -1)), weights[:, None].expand(-1, examples)


def mean_objective(problem: Problem, nodes: int) -> Float[Tensor, ""]:
    """Return the mean of the objective over the examples and draws, nats, by `list_draws`.

    A log weight depends on one draw alone. So those of all points of one draw are computed once, and then combined.
    """
    model, objective, x = problem.model, problem.variant.objective, problem.x
    q = model.encoder(x)
    z, weights = list_draws(model.encoder.family, q, model.latent_dim, nodes)
    log_w = objective.log_weight(model, x, z, q)
    draws = problem.variant.draws
    choices = torch.cartesian_prod(*[torch.arange(len(weights))] * draws).view(-1, draws)
    values = objective.reduction.value(log_w[choices.T].flatten(1)).view(-1, len(x))
    probabilities = weights[choices[:, 0]]
    for draw in choices.T[1:]:
        probabilities = probabilities * weights[draw]
    return ((probabilities * values).sum(0) + objective.exact(model, q)).mean()


def exact_derivatives(problem: Problem, directions: dict[str, Tensor], nodes: int) -> Float[Tensor, "G J"]:
    """Return the derivatives of the mean objective along directions of each part, by finite differences."""
    value = partial(mean_objective, problem, nodes)
    along = [differentiate_numerically(problem.model, part, value, d, SMOOTH_STEP) for part, d in directions.items()]
    return torch.stack(along)


def derivatives_along(
    model: Model, value: Float[Tensor, ""], directions: dict[str, Float[Tensor, "J P"]]
) -> Float[Tensor, "G J"]:
    """Return the derivatives of a scalar along directions of each part, by one backward pass."""
    gradients = flat_gradient(model, value, tuple(directions)).split([d.shape[1] for d in directions.values()])
    return torch.stack([d @ gradient for d, gradient in zip(directions.values(), gradients, strict=True)])


def mean_derivatives(problem: Problem, directions: dict[str, Tensor], nodes: int) -> Float[Tensor, "G J"]:
    """Return the mean of the gradient estimate along directions of each part, by quadrature."""
    return derivatives_along(problem.model, mean_over_noise(problem, problem.estimate, nodes), directions)


def measure_bias(problem: Problem, effort: Effort) -> dict[str, Bias]:
    """Measure the bias of a variant's gradient in each part of a linear-Gaussian model."""
    model, variant = problem.model, problem.variant
    directions = {part: draw_directions(model, part) for part in PARTS}
    if problem.is_discrete:
        exact = exact_derivatives(problem, directions, 0)
        errors = torch.full((len(PARTS),), SMALLEST_RESOLUTION)
        return _measure_by_draws(problem, directions, exact, errors, effort.batches)
    for points in (FEW_POINTS, effort.points):
        nodes = quadrature.grid_nodes(variant.draws * model.latent_dim, points)
        expected, fewer_expected = (exact_derivatives(problem, directions, n) for n in (nodes, nodes - 1))
        actual, fewer_actual = (mean_derivatives(problem, directions, n) for n in (nodes, nodes - 1))
        sizes, exact_errors = expected.norm(dim=1), (expected - fewer_expected).norm(dim=1)
        errors = ((actual - fewer_actual).norm(dim=1) + exact_errors) / sizes
        if (errors <= FINE).all():
            break
    accurate = errors <= COARSE if model.stochastic else torch.ones(len(PARTS), dtype=torch.bool)
    relative, resolution = (actual - expected).norm(dim=1) / sizes, errors.clamp(min=SMALLEST_RESOLUTION)
    by_quadrature = [
        Bias(*pair, monte_carlo=False) for pair in zip(relative.tolist(), resolution.tolist(), strict=True)
    ]
    biases = dict(zip(PARTS, by_quadrature, strict=True))
    if not accurate.all():
        by_draws = _measure_by_draws(problem, directions, expected, exact_errors, effort.batches)
        biases |= {part: by_draws[part] for part, is_accurate in zip(PARTS, accurate, strict=True) if not is_accurate}
    return biases


def _measure_by_draws(
    problem: Problem, directions: dict[str, Tensor], expected: Tensor, errors: Tensor, batches: int
) -> dict[str, Bias]:
    # errors: those of `expected`. The standard error is from the means of batches, each of which needs a backward pass.
    model, draws, latents = problem.model, problem.variant.draws, problem.model.latent_dim
    estimates, controls = [], []
    for batch in range(batches):
        size = DISCRETE_BATCH_SIZE if problem.is_discrete else BATCH_SIZE
        rows = problem.x.repeat_interleave(size // len(problem.x), 0)
        noise = normal(draws, len(rows), latents, seed=100 + batch)
        estimates.append(derivatives_along(model, problem.estimate(rows, noise).mean(), directions))
        if problem.is_discrete:  # without a pathwise gradient; the score has the mean 0
            q = model.encoder(rows)
            value, offset = q.log_prob(q.sample(noise)).sum(0).mean(), torch.zeros(())
        else:
            value, offset = objective_values(problem, rows, noise, reparameterized=True).mean(), expected
        controls.append(derivatives_along(model, value, directions) - offset)
    means, control = torch.stack(estimates), torch.stack(controls)
    centred = control - control.mean(0)
    slope = (means * centred).sum(0) / centred.square().sum(0).clamp(min=1e-300)
    values = means - slope * control
    off, se = (values.mean(0) - expected).abs(), values.std(0) / batches**0.5
    biases = {}
    for g, part in enumerate(directions):
        worst, size_of_part = (off[g] / se[g].clamp(min=1e-300)).argmax(), expected[g].norm().item()
        resolution = (SIGNIFICANT_Z * se[g, worst].item() + 3 * errors[g].item()) / size_of_part
        biases[part] = Bias(off[g, worst].item() / size_of_part, resolution, monte_carlo=True)
    return biases
