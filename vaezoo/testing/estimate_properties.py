"""Properties of single estimates: shapes, values, gradients and what they depend on."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from vaezoo.distributions.posteriors import Posterior
from vaezoo.estimators import blocked, pathwise
from vaezoo.gradients import measure, minibatch_gradient
from vaezoo.gradients.encoder_jacobian import posterior_parameters
from vaezoo.testing.expectation import (
    PARTS,
    SMOOTH_STEP,
    differentiate_numerically,
    draw_directions,
    flat_gradient,
    objective_values,
)
from vaezoo.testing.findings import Finding, find_worst, relative_difference
from vaezoo.testing.problems import EXAMPLES, Problem, architecture_problems
from vaezoo.variants import FittedVariant, Variant, estimate_parts_at

TOLERANCE = 1e-10
LOOP_TOLERANCE = 1e-8
CONTROL_TOLERANCE = 1e-5  # of finite differences
REPEATS = 8
LOOP_REPEATS = 4  # each needs a backward pass for every example; an identity holds for any number
CONSTANT = 1e-9  # a variance of this share of the squared gradient is due to rounding


def small_problem(variant: Variant) -> Problem:
    """Return the problem with the variant's own number of draws."""
    return architecture_problems(variant)[0]


def check_shapes(variant: Variant) -> Iterator[Finding]:
    """Yield whether the estimate is one finite number per example."""
    figures = []
    for problem in architecture_problems(variant):
        value = problem.estimate(problem.x, problem.noise()[0])
        finite = int(value.isfinite().sum())
        if value.shape != (EXAMPLES,) or finite < EXAMPLES:
            figures.append(f"{problem.name}: {list(value.shape)} for {EXAMPLES} examples, {finite} finite")
    yield Finding("shapes", not figures, "; ".join(figures) or f"[{EXAMPLES}] for {EXAMPLES} examples, all finite")


def check_value(variant: Variant) -> Iterator[Finding]:
    """Yield whether the value is the objective F(log w) + A at draws of the posterior."""
    if variant.estimator.transforms_noise or variant.estimator.is_relaxed:
        return  # its mean is compared by `check_mean_value`
    differences = {}
    for problem in architecture_problems(variant):
        noise = problem.noise()[0]
        value, expected = problem.estimate(problem.x, noise), objective_values(problem, problem.x, noise)
        differences[problem.name] = relative_difference(value, expected)
    yield _worst("value is the objective", differences)


def check_same_value(variant: Variant) -> Iterator[Finding]:
    """Yield whether other estimators of the same objective have the same value with equal noise."""
    if variant.estimator.transforms_noise or variant.estimator.is_relaxed:
        return
    problem, baseline = small_problem(variant), variant.estimator.baseline
    noise = problem.noise()[0]
    value, differences = problem.estimate(problem.x, noise), {}
    for estimator in (blocked,) if problem.is_discrete else (pathwise, blocked):
        other = replace(problem, variant=replace(variant, estimator=replace(estimator, baseline=baseline)))
        differences[estimator.name] = relative_difference(value, other.estimate(problem.x, noise))
    yield _worst("value does not depend on the estimator", differences)


def check_gradients_reach(variant: Variant) -> Iterator[Finding]:
    """Yield whether the gradient in every parameter is finite and not 0."""
    problem = small_problem(variant)
    value = problem.estimate(problem.x, problem.noise()[0]).mean()
    parameters = dict(problem.model.named_parameters())
    gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
    by_name = dict(zip(parameters, gradients, strict=True))
    missing = [name for name, g in by_name.items() if not (g.isfinite().all() and g.abs().sum() > 0)]
    figure = f"{len(by_name) - len(missing)} of {len(by_name)}{', but not ' if missing else ''}{', '.join(missing)}"
    yield Finding("gradients reach every parameter", not missing, figure)


def check_examples(variant: Variant) -> Iterator[Finding]:
    """Yield whether value and gradient of an example are the same alone and in a minibatch."""
    problem = small_problem(variant)
    x, noise = problem.x, problem.noise()[0]
    together = problem.estimate(x, noise)
    differences = []
    for b in range(EXAMPLES):
        alone = problem.estimate(x[b : b + 1], noise[:, b : b + 1])[0]
        differences.append(relative_difference(together[b], alone))
        pair = (flat_gradient(problem.model, value) for value in (together[b], alone))
        differences.append(relative_difference(*pair))
    figure = f"relative difference {max(differences):.1g} between an example alone and among {EXAMPLES}"
    yield Finding("examples are independent", all(d < TOLERANCE for d in differences), figure)


def check_noise(variant: Variant) -> Iterator[Finding]:
    """Yield whether other noise for one example changes the value of this example only."""
    problem = small_problem(variant)
    x, noise = problem.x, problem.noise()[0]
    before = problem.estimate(x, noise)
    same, others = 0, 0
    for b in range(EXAMPLES):
        changed = torch.zeros(EXAMPLES, dtype=torch.bool)
        for other in problem.noise(REPEATS, seed=9):  # some of it may give discrete latents the same values
            replaced = noise.clone()
            replaced[:, b] = other[:, b]
            changed |= (problem.estimate(x, replaced) - before).abs() > TOLERANCE * before.abs()
        same += int(changed[b])
        others += int(changed.sum()) - int(changed[b])
    expected = EXAMPLES if problem.model.stochastic and variant.estimator.uses_noise else 0
    figure = f"other noise for one example changed its value in {same} of {EXAMPLES} cases, other values in {others}"
    yield Finding("noise is independent across examples", same == expected and others == 0, figure)


def check_inputs(variant: Variant) -> Iterator[Finding]:
    """Yield whether examples and noise are unchanged after an estimate."""
    problem = small_problem(variant)
    x, noise = problem.x.clone(), problem.noise()[0]
    problem.estimate(x, noise)
    changed = [n for n, a, b in (("x", x, problem.x), ("noise", noise, problem.noise()[0])) if not torch.equal(a, b)]
    yield Finding("inputs stay unchanged", not changed, f"changed: {', '.join(changed) or 'nothing'}")


def check_reproducible(variant: Variant) -> Iterator[Finding]:
    """Yield whether value and gradient do not depend on torch's global generator: all noise must be an argument."""
    runs = []
    with torch.random.fork_rng():
        for seed in (0, 1):
            torch.manual_seed(seed)
            problem = small_problem(variant)
            value = problem.estimate(problem.x, problem.noise()[0])
            runs.append(torch.cat([value.detach(), flat_gradient(problem.model, value.mean())]))
    differing = int((runs[0] != runs[1]).sum())
    yield Finding("reproducible under a seed", differing == 0, f"{differing} of {len(runs[0])} numbers differ")


def check_moments(variant: Variant) -> Iterator[Finding]:
    """Yield whether the measured gradient variance is that of a loop of backward passes over the same noise."""
    differences = {}
    for problem in architecture_problems(variant):
        model, x = problem.model, problem.x
        if not model.stochastic:
            return
        fitted = FittedVariant(problem.variant, model.baseline, x.new_tensor(problem.average))
        noise = problem.noise(LOOP_REPEATS, seed=8)
        measurement = measure(model, {"": fitted}, x, functools.partial(_take_examples, noise))[""]
        # the joint route measures the variance of each example, the direct route that of the minibatch
        groups = [[b] for b in range(EXAMPLES)] if measurement.route == "joint" else [list(range(EXAMPLES))]
        for part in PARTS:
            total, size = 0.0, 0.0
            for rows in groups:
                gradients = [minibatch_gradient(model, fitted, x[rows], repeat[:, rows]) for repeat in noise]
                for name in gradients[0]:
                    if name.startswith(part):
                        values = torch.stack([g[name] for g in gradients])
                        total += float(values.var(0).sum()) / len(groups) ** 2
                        size += float(values.square().sum())
            error = abs(measurement.moments[part, ""].variance - total)
            key = f"{problem.name}, {part}, {measurement.route} route"
            differences[key] = error / max(total, CONSTANT * size, 1e-300)
    yield _worst("measured variance is that of a plain loop", differences, LOOP_TOLERANCE)


def check_baseline(variant: Variant) -> Iterator[Finding]:
    """Yield whether the network of a baseline gets the gradient of its squared error."""
    problem = small_problem(variant)
    network = list(problem.model.baseline.parameters())
    if not network or variant.estimator.control:
        return
    x, noise = problem.x, problem.noise()[0]
    gradients = torch.autograd.grad(problem.estimate(x, noise).mean(), network)
    q = problem.model.encoder(x)
    log_w = variant.objective.log_weight(problem.model, x, q.sample(noise), q)
    stochastic = variant.objective.reduction.value(log_w).detach()
    prediction = problem.average + problem.model.baseline(x.flatten(1)).squeeze(-1)
    expected = torch.autograd.grad(-(prediction - stochastic).square().mean(), network)
    differences = map(relative_difference, gradients, expected)
    _, difference = find_worst({str(i): value for i, value in enumerate(differences)})
    figure = f"relative difference {difference:.1g} to the gradient of -(c - F)²"
    yield Finding("baseline learns by least squares", difference < LOOP_TOLERANCE, figure)


def check_control(variant: Variant) -> Iterator[Finding]:
    """Yield whether a control variate gets the gradient of the squared gradient in the posterior's parameters.

    The gradient through -log q(z|x) in the log weights is left out, as in the control variate's own term.
    """
    log_weight = variant.objective.log_weight
    objective = replace(variant.objective, log_weight=lambda model, x, z, q: log_weight(model, x, z, q.detach()))
    variant = replace(variant, objective=objective)
    if not variant.estimator.control:
        return
    problem = small_problem(variant)
    model, x, noise = problem.model, problem.x, problem.noise()[0]
    with torch.no_grad():
        q = model.encoder(x)
    leaves = {name: value.requires_grad_() for name, value in posterior_parameters(q).items()}

    @torch.enable_grad()
    def negative_square() -> Tensor:
        live: Posterior = replace(q, **leaves)
        stochastic, _ = estimate_parts_at(variant, model, live, x, noise, x.new_zeros(len(x)))
        gradients = torch.autograd.grad(stochastic.sum(), list(leaves.values()))
        return -torch.cat([g.flatten() for g in gradients]).square().sum()

    directions = draw_directions(model, "baseline.")
    actual = directions @ flat_gradient(model, problem.estimate(x, noise).sum(), "baseline.")
    expected = differentiate_numerically(model, "baseline.", negative_square, directions, SMOOTH_STEP)
    differences = {f"K = {variant.draws}": relative_difference(actual, expected)}
    yield _worst("control variate learns by the squared gradient", differences, CONTROL_TOLERANCE)


def _worst(name: str, differences: dict[str, float], tolerance: float = TOLERANCE) -> Finding:
    problem, difference = find_worst(differences)
    return Finding(name, difference < tolerance, f"relative difference {difference:.1g} with {problem}")


def _take_examples(noise: Tensor, rows: slice) -> Tensor:
    return noise[:, :, rows]
