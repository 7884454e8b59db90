"""The properties that every variant must have, tested on small models, in float64, with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.estimators import blocked, pathwise
from vaezoo.models import DataSpec, Model, initialise
from vaezoo.testing import bias
from vaezoo.variants import Variant, build, estimate

SPEC = DataSpec((8, 8), "bernoulli", (6,))
EXAMPLES, LATENTS, REPEATS = 5, 2, 400_000
AVERAGE = -3.0  # moving average of a baseline that predicts, nats; the properties hold for any value
TOLERANCE = 1e-10
SIGNIFICANT_Z = 5.0
MAX_DRAWS = 2


@dataclass(frozen=True)
class Finding:
    """Whether a property of a variant holds, and the measured numbers as a sentence."""

    property: str
    holds: bool
    figure: str


def normal(*shape: int, seed: int) -> Tensor:
    """Return standard normal numbers from a seed, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def estimate_function(variant: Variant) -> bias.ModelFunction:
    """Return the variant's estimate as a function of (model, x, noise)."""
    average = AVERAGE if variant.estimator.averaging_rate else 0.0
    return lambda model, x, noise: estimate(variant, model, x, noise, x.new_tensor(average))


def small_problem(variant: Variant) -> tuple[Model, Float[Tensor, "B ..."], Float[Tensor, "K B D"]]:
    """Return a small model of the variant's architecture, binary examples, and noise for its draws."""
    model = build(variant, SPEC, LATENTS).double()
    initialise(model, lambda name: torch.Generator().manual_seed(3))
    x = (normal(EXAMPLES, *SPEC.shape, seed=4) > 0).double()
    return model, x, normal(variant.draws, EXAMPLES, LATENTS, seed=5)


def relative_difference(value: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference, divided by the largest absolute expected number."""
    return ((value - expected).abs().max() / expected.abs().max().clamp(min=1e-300)).item()


def check_shapes(variant: Variant) -> Iterator[Finding]:
    """Yield whether the estimate is one finite number per example."""
    value = estimate_function(variant)(*small_problem(variant))
    finite = int(value.isfinite().sum())
    holds = value.shape == (EXAMPLES,) and finite == EXAMPLES
    yield Finding("shapes", holds, f"{list(value.shape)} for {EXAMPLES} examples, {finite} finite")


def check_value(variant: Variant) -> Iterator[Finding]:
    """Yield whether the value is the objective F(log w) + A at draws of the posterior."""
    model, x, noise = small_problem(variant)
    q, objective = model.encoder(x), variant.objective
    log_w = objective.log_weight(model, x, q.sample(noise), q)
    difference = relative_difference(
        estimate_function(variant)(model, x, noise), objective.reduction.value(log_w) + objective.exact(model, q)
    )
    yield Finding("value is the objective", difference < TOLERANCE, f"relative difference {difference:.1g}")


def check_same_value(variant: Variant) -> Iterator[Finding]:
    """Yield whether other estimators of the same objective have the same value with equal noise."""
    model, x, noise = small_problem(variant)
    baseline = variant.estimator.baseline
    others = [replace(variant, estimator=replace(estimator, baseline=baseline)) for estimator in (pathwise, blocked)]
    value = estimate_function(variant)(model, x, noise)
    difference = max(relative_difference(value, estimate_function(other)(model, x, noise)) for other in others)
    figure = f"relative difference {difference:.1g} to {' and '.join(o.estimator.name for o in others)}"
    yield Finding("value does not depend on the estimator", difference < TOLERANCE, figure)


def check_gradients_reach(variant: Variant) -> Iterator[Finding]:
    """Yield whether the gradient in every parameter is finite and not 0."""
    model, x, noise = small_problem(variant)
    value, parameters = estimate_function(variant)(model, x, noise).mean(), dict(model.named_parameters())
    gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True, materialize_grads=True)
    by_name = dict(zip(parameters, gradients, strict=True))
    missing = [name for name, g in by_name.items() if not (g.isfinite().all() and g.abs().sum() > 0)]
    figure = f"{len(by_name) - len(missing)} of {len(by_name)}{', but not ' if missing else ''}{', '.join(missing)}"
    yield Finding("gradients reach every parameter", not missing, figure)


def check_examples(variant: Variant) -> Iterator[Finding]:
    """Yield whether value and gradient of an example are the same alone and in a minibatch."""
    model, x, noise = small_problem(variant)
    together = estimate_function(variant)(model, x, noise)
    differences = []
    for b in range(EXAMPLES):
        alone = estimate_function(variant)(model, x[b : b + 1], noise[:, b : b + 1])[0]
        differences.append(relative_difference(together[b], alone))
        pair = (bias.flat_gradient(model, value) for value in (together[b], alone))
        differences.append(relative_difference(*pair))
    figure = f"relative difference {max(differences):.1g} between an example alone and among {EXAMPLES}"
    yield Finding("examples are independent", max(differences) < TOLERANCE, figure)


def check_noise(variant: Variant) -> Iterator[Finding]:
    """Yield whether a change of the noise of one example changes the value of this example only."""
    model, x, noise = small_problem(variant)
    before = estimate_function(variant)(model, x, noise)
    same, others = 0, 0
    for b in range(EXAMPLES):
        shifted = noise.clone()
        shifted[:, b] += 1
        changed = (estimate_function(variant)(model, x, shifted) - before).abs() > TOLERANCE * before.abs()
        same += int(changed[b])
        others += int(changed.sum()) - int(changed[b])
    expected = EXAMPLES if model.stochastic else 0
    figure = f"other noise for one example changed its value in {same} of {EXAMPLES} cases, other values in {others}"
    yield Finding("noise is independent across examples", same == expected and others == 0, figure)


def check_bias(variant: Variant) -> Iterator[Finding]:
    """Yield whether the mean gradient on a linear-Gaussian model is exact, for the encoder and for the decoder.

    A variant of more draws is tested with two: the error of the quadrature grows with the draws and could hide a bias.
    A biased variant may have a bias in the encoder only.
    """
    draws = min(variant.draws, max(MAX_DRAWS, variant.estimator.min_draws))
    reduced = replace(variant, draws=draws)
    model = bias.linear_gaussian_model(build(reduced, SPEC, LATENTS), pixels=3)
    model.baseline = reduced.estimator.make_network(3).double()
    x, noise = 0.7 * normal(2, 3, seed=6), normal(REPEATS, draws, 2, LATENTS, seed=9)
    z = bias.measure_bias(reduced, model, estimate_function(reduced), x, noise)
    for part, size in z.items():
        unbiased = variant.unbiased or part == "decoder"
        claim = "unbiased" if variant.unbiased else "biased" if part == "encoder" else "biased in the encoder only"
        holds = (size < SIGNIFICANT_Z) == unbiased
        distance = (
            f"off by {size:.3g} standard errors" if size < float("inf") else "wrong in a coordinate without noise"
        )
        figure = (
            f"declared {claim}; the mean of {REPEATS:,} ({draws} draw{'s' if draws > 1 else ''} each) is {distance}"
        )
        yield Finding(f"bias of the {part}'s gradient", holds, figure)


def check_kl(variant: Variant) -> Iterator[Finding]:
    """Yield whether the closed form of KL(q‖p) is the mean of log q(z|x) - log p(z) over draws from q."""
    model, x, _ = small_problem(variant)
    if not model.stochastic:
        return
    with torch.no_grad():
        q = model.encoder(x)
        z = q.sample(normal(REPEATS, EXAMPLES, LATENTS, seed=10))
        size = bias.largest_z(q.log_prob(z) - model.prior.log_prob(z), model.prior.kl(q))
    figure = f"off by {size:.3g} standard errors from the mean of {REPEATS:,} draws"
    yield Finding("KL in closed form", size < SIGNIFICANT_Z, figure)


def check_reproducible(variant: Variant) -> Iterator[Finding]:
    """Yield whether value and gradient do not depend on torch's global generator: all noise must be an argument."""
    runs = []
    with torch.random.fork_rng():
        for seed in (0, 1):
            torch.manual_seed(seed)
            model, x, noise = small_problem(variant)
            value = estimate_function(variant)(model, x, noise)
            runs.append(torch.cat([value.detach(), bias.flat_gradient(model, value.mean())]))
    differing = int((runs[0] != runs[1]).sum())
    yield Finding("reproducible under a seed", differing == 0, f"{differing} of {len(runs[0])} numbers differ")


def check_vmap(variant: Variant) -> Iterator[Finding]:
    """Yield whether vmap(grad) over repeats of the noise gives the gradients of a loop over them."""
    model, x, _ = small_problem(variant)
    function, noise = estimate_function(variant), normal(3, variant.draws, EXAMPLES, LATENTS, seed=8)
    together = bias.draw_gradients(model, function, x, noise, parts=[""])[""]
    loop = torch.stack([bias.flat_gradient(model, function(model, x, n).mean()) for n in noise])
    difference = relative_difference(together, loop)
    yield Finding("works under vmap", difference < TOLERANCE, f"relative difference {difference:.1g} to a loop")


PROPERTIES: dict[str, Callable[[Variant], Iterator[Finding]]] = {
    "shapes": check_shapes,
    "value is the objective": check_value,
    "value does not depend on the estimator": check_same_value,
    "gradients reach every parameter": check_gradients_reach,
    "examples are independent": check_examples,
    "noise is independent across examples": check_noise,
    "bias": check_bias,
    "KL in closed form": check_kl,
    "reproducible under a seed": check_reproducible,
    "works under vmap": check_vmap,
}


def check(variant: Variant) -> Iterator[Finding]:
    """Test the properties of a variant and yield a finding for each; if a test raises an error, it does not hold."""
    for name, measure in PROPERTIES.items():
        try:
            yield from measure(variant)
        except Exception as error:  # functions of a user's variant can raise anything
            yield Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def count_decoder_passes(variant: Variant) -> int:
    """Return how often the decoder is evaluated per example for one gradient estimate; measured on a small model."""
    model, x, noise = small_problem(variant)
    rows = 0

    def count(module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal rows
        rows += inputs[0].shape[:-1].numel()

    model.decoder.register_forward_hook(count)
    estimate_function(variant)(model, x, noise)
    return rows // EXAMPLES
