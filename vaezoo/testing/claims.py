"""Properties that compare a variant's declarations with exact numbers: bias, bounds, densities, derivatives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.testing import quadrature
from vaezoo.testing.expectation import (
    PARTS,
    PIECEWISE_STEP,
    SIGNIFICANT_Z,
    STANDARD,
    Bias,
    Effort,
    differentiate_numerically,
    draw_directions,
    flat_gradient,
    list_draws,
    mean_objective,
    mean_over_noise,
    measure_bias,
    objective_values,
)
from vaezoo.testing.findings import Finding, find_worst, relative_difference
from vaezoo.testing.problems import Problem, architecture_problems, find_family, linear_problems, normal
from vaezoo.variants import Variant

SMALL_ERROR = 1e-6
SUPPORT_POINTS = 801
WIDTH, WIDE_BATCH = 1.4, 4000  # standard deviation of the noise in the test of rare draws; draws of a batch
OUTPUTS = torch.tensor([-2.0, 0.3, 1.7], dtype=torch.float64)  # outputs of the decoder


def check_bias(variant: Variant, effort: Effort = STANDARD) -> Iterator[Finding]:
    """Yield whether the mean gradient is exact on linear-Gaussian models, for the encoder and for the decoder.

    A biased variant may have a bias in the encoder only, unless its draws are relaxed.
    """
    measured = {problem.name: measure_bias(problem, effort) for problem in linear_problems(variant)}
    for part in PARTS:
        biases = {name: by_part[part] for name, by_part in measured.items()}
        only_encoder = part == "decoder" and not variant.estimator.is_relaxed
        claim = "unbiased" if variant.unbiased else "biased in the encoder only" if only_encoder else "biased"
        unbiased = variant.unbiased or only_encoder
        significant = [name for name, bias in biases.items() if bias.significant]
        holds = not significant if unbiased else bool(significant)
        name = max(biases, key=lambda key: biases[key].relative / biases[key].resolution)
        yield Finding(f"bias of the {part}'s gradient", holds, f"declared {claim}; {_describe_bias(name, biases)}")


def _describe_bias(name: str, biases: dict[str, Bias]) -> str:
    bias, resolution = biases[name], max(bias.resolution for bias in biases.values())
    method = "draws" if bias.monte_carlo else "quadrature"
    return (
        f"the mean gradient is off by {100 * bias.relative:.2g} % with {name}, by {method}; a bias of "
        f"{100 * resolution:.2g} % would show"
    )


def check_mean_value(variant: Variant, effort: Effort = STANDARD) -> Iterator[Finding]:
    """Yield whether the mean value is that of the objective, for estimators that make other draws from the noise."""
    if not (variant.estimator.transforms_noise or variant.estimator.is_relaxed):
        return
    differences, tolerances = {}, {}
    if find_family(variant).is_discrete:
        for problem in linear_problems(variant):
            mean, se = _compare_sampled_mean(problem, effort.batches)
            differences[problem.name], tolerances[problem.name] = abs(mean), max(SMALL_ERROR, SIGNIFICANT_Z * se)
        finding = _compare("mean value is the objective", differences, tolerances)
        is_relaxed = variant.estimator.is_relaxed
        claim = f"declared {'that of relaxed draws' if is_relaxed else 'the objective'}; {finding.figure}"
        yield replace(finding, holds=finding.holds != is_relaxed, figure=claim)
        return
    for problem in linear_problems(variant):
        nodes = quadrature.grid_nodes(problem.variant.draws * problem.model.latent_dim)
        with torch.no_grad():
            fine, coarse = (mean_over_noise(problem, problem.estimate, n).item() for n in (nodes, nodes - 1))
            exact = mean_objective(problem, nodes).item()
        differences[problem.name] = abs(fine - exact) / abs(exact)
        tolerances[problem.name] = max(SMALL_ERROR, 3 * abs(fine - coarse) / abs(exact))
    yield _compare("mean value is the objective", differences, tolerances)
    differences, tolerances = {}, {}
    for problem in linear_problems(variant):
        mean, se = _compare_wide_draws(problem, effort.batches)
        differences[problem.name], tolerances[problem.name] = abs(mean), max(SMALL_ERROR, SIGNIFICANT_Z * se)
    yield _compare("mean value is the objective for rare draws", differences, tolerances)


def _compare_sampled_mean(problem: Problem, batches: int) -> tuple[float, float]:
    """Return the difference of the mean estimate and the mean objective, and its standard error, relative."""
    means = []
    for batch in range(batches):
        rows = problem.x.repeat_interleave(WIDE_BATCH // len(problem.x), 0)
        noise = normal(problem.variant.draws, len(rows), problem.model.latent_dim, seed=500 + batch)
        with torch.no_grad():
            means.append(problem.estimate(rows, noise).mean())
    with torch.no_grad():
        exact = mean_objective(problem, 0)
    values = torch.stack(means) / exact.abs()
    return (values.mean() - exact.sign()).item(), values.std().item() / batches**0.5


def _compare_wide_draws(problem: Problem, batches: int) -> tuple[float, float]:
    """Return the mean difference of estimate and objective by importance sampling, and its standard error, relative.

    The proposal is wider than standard normal, so that rare draws count. Both values are averaged over noise and
    mirrored noise: the difference of an antithetic estimate is then 0 for all noise, so that small means can be seen.
    """
    differences, sizes = [], []
    for batch in range(batches):
        rows = problem.x.repeat_interleave(WIDE_BATCH // len(problem.x), 0)
        noise = WIDTH * normal(problem.variant.draws, len(rows), problem.model.latent_dim, seed=500 + batch)
        log_ratio = (-0.5 * noise.square() * (1 - WIDTH**-2)).sum((0, 2)) + math.log(WIDTH) * noise[:, 0].numel()
        with torch.no_grad():
            estimate, exact = (
                0.5 * (function(rows, noise) + function(rows, -noise))
                for function in (problem.estimate, partial(objective_values, problem))
            )
        differences.append((log_ratio.exp() * (estimate - exact)).mean())
        sizes.append((log_ratio.exp() * exact).mean())
    size = torch.stack(sizes).mean().abs()
    values = torch.stack(differences) / size
    return values.mean().item(), values.std().item() / batches**0.5


def _compare(name: str, differences: dict[str, float], tolerances: dict[str, float]) -> Finding:
    # the worst problem is that of the largest difference in units of its tolerance
    problem, ratio = find_worst({key: difference / tolerances[key] for key, difference in differences.items()})
    figure = f"off by {100 * differences[problem]:.2g} % with {problem}; {100 * tolerances[problem]:.2g} % would show"
    return Finding(name, ratio <= 1, figure)


def check_derivatives(variant: Variant) -> Iterator[Finding]:
    """Yield whether autograd gives the derivatives of the objective at fixed noise, through the variant's own parts."""
    differences = {}
    for problem in architecture_problems(variant)[:2]:
        noise = problem.noise()[0]
        for part in PARTS:
            directions = draw_directions(problem.model, part)

            def value(problem: Problem = problem, noise: Tensor = noise) -> Tensor:
                return objective_values(problem, problem.x, noise, reparameterized=not problem.is_discrete).mean()

            numerical = differentiate_numerically(problem.model, part, value, directions, PIECEWISE_STEP)
            exact = directions @ flat_gradient(problem.model, value(), part)
            differences[f"{part}, {problem.name}"] = relative_difference(exact, numerical)
    name, worst = find_worst(differences)
    figure = f"off by {100 * worst:.2g} % from finite differences with {name}"
    yield Finding("gradients are derivatives", worst < 1e-4, figure)


def check_kl(variant: Variant) -> Iterator[Finding]:
    """Yield whether the closed form of KL(q‖p) is the mean of log q(z|x) - log p(z), by quadrature or over states."""
    differences, tolerances = {}, {}
    for problem in architecture_problems(variant)[:2]:
        model = problem.model
        if not model.stochastic:
            return
        nodes = quadrature.grid_nodes(model.latent_dim)
        with torch.no_grad():
            q = model.encoder(problem.x)
            exact = model.prior.kl(q)
            values = []
            for n in (nodes, nodes - 1):
                z, weights = list_draws(model.encoder.family, q, model.latent_dim, n)
                values.append(((q.log_prob(z) - model.prior.log_prob(z)) * weights).sum(0))
        differences[problem.name] = relative_difference(values[0], exact)
        tolerances[problem.name] = max(SMALL_ERROR, 3 * relative_difference(values[1], values[0]))
    yield _compare("KL in closed form", differences, tolerances)


def check_density(variant: Variant) -> Iterator[Finding]:
    """Yield whether p(x|z) of one pixel and of two sums or integrates to 1 over the values that pixels may have."""
    likelihood = architecture_problems(variant)[0].model.decoder.likelihood
    supports = {
        "binary": (torch.tensor([0.0, 1.0], dtype=torch.float64), torch.ones(2, dtype=torch.float64)),
        "unit": _trapezoid(torch.linspace(0, 1, SUPPORT_POINTS, dtype=torch.float64)),
        "real": _trapezoid(torch.linspace(-9, 9, SUPPORT_POINTS, dtype=torch.float64).sinh()),
    }
    if likelihood.support not in supports:
        names = ", ".join(map(repr, supports))
        yield Finding("likelihood is a density", False, f"the support is {likelihood.support!r}; use one of {names}")
        return
    points, weights = supports[likelihood.support]
    totals = []
    for pixels in (1, 2):
        x = torch.cartesian_prod(*[points] * pixels).view(-1, pixels)
        volume = torch.cartesian_prod(*[weights] * pixels).view(-1, pixels).prod(1)
        with torch.no_grad():
            density = likelihood.log_prob(x, OUTPUTS[:, None, None].expand(-1, len(x), pixels)).exp()
        totals.append(density @ volume)
    total = torch.cat(totals)
    worst = total[(total - 1).abs().argmax()].item()
    figure = f"p(x|z) over {likelihood.support} pixels has the total {worst:.6g}"
    yield Finding("likelihood is a density", abs(worst - 1) < 1e-5, figure)


def _trapezoid(points: Float[Tensor, " N"]) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
    gaps = points.diff()
    return points, torch.cat([gaps[:1], gaps[1:] + gaps[:-1], gaps[-1:]]) / 2


def check_bound(variant: Variant) -> Iterator[Finding]:
    """Yield whether the objective is at most log p(x), if it is declared a bound.

    If the objective has no part in closed form, the weights must also satisfy E[w] = p(x).
    """
    objective = variant.objective
    if not objective.bound:
        return
    for problem in linear_problems(variant)[:2]:
        model, x = problem.model, problem.x
        if not model.stochastic:
            return
        nodes = quadrature.grid_nodes(problem.variant.draws * model.latent_dim)
        with torch.no_grad():
            q = model.encoder(x)
            z, weights = list_draws(model.encoder.family, q, model.latent_dim, 24)
            if problem.is_discrete:
                log_px = (model.decoder.log_prob(x, z) + model.prior.log_prob(z)).logsumexp(0)
            else:
                points = quadrature.grid_rule(1, model.latent_dim, 24)[0][0][:, None].expand(-1, len(x), -1)
                log_px = (model.decoder.log_prob(x, model.prior.sample(points)) + weights.log()).logsumexp(0)
            mean = mean_objective(problem, nodes).item()
            log_w = objective.log_weight(model, x, z, q)
            ratio = ((log_w + weights.log()).logsumexp(0) - log_px).exp()
            without_exact = not objective.exact(model, q).any()
        gap = log_px.mean().item() - mean
        holds = gap > -1e-6 and (not without_exact or bool(((ratio - 1).abs() < 1e-3).all()))
        figure = f"log p(x) - L = {gap:.3g} nats with {problem.name}"
        if without_exact:
            figure += f"; E[w] / p(x) = {ratio[(ratio - 1).abs().argmax()]:.6g}"
        if not holds:
            break
    yield Finding("objective is a bound of log p(x)", holds, figure)
