"""Properties that a variant has to have, each with its figure: what `check` prints and your own tests can assert.

    @pytest.mark.parametrize("finding", vaezoo.testing.check(MINE), ids=lambda finding: finding.property)
    def test_mine(finding):
        assert finding.holds, finding.figure

All in float64, with fixed seeds, on small models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, vmap

from vaezoo import bias
from vaezoo.estimators import Estimator, blocked, pathwise
from vaezoo.models import DataSpec, Model
from vaezoo.networks import initialise
from vaezoo.variants import Variant, build, estimate

SPEC = DataSpec((8, 8), "bernoulli", (6,))
EXAMPLES, LATENTS, REPEATS = 5, 2, 400_000
AVERAGE = -3.0  # of a baseline that predicts: any number will do, since it is an input
TOLERANCE = 1e-10
SIGNIFICANT = 5.0
MOST_DRAWS = 2


@dataclass(frozen=True)
class Finding:
    """Whether one property holds, and the figure that shows it."""

    property: str
    holds: bool
    figure: str


def normal(*shape: int, seed: int) -> Tensor:
    """Standard normal numbers from a seed, in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def function_of(variant: Variant) -> bias.ModelFunction:
    """The variant's estimate as a function of (model, x, noise)."""
    average = AVERAGE if variant.estimator.baseline.rate else 0.0
    return lambda model, x, noise: estimate(variant, model, x, noise, x.new_tensor(average))


def small(variant: Variant) -> tuple[Model, Float[Tensor, "B ..."], Float[Tensor, "K B D"]]:
    """A small model of the variant's architecture, binary examples, and noise for its draws."""
    model = build(variant, SPEC, LATENTS).double()
    initialise(model, lambda name: torch.Generator().manual_seed(3))
    x = (normal(EXAMPLES, *SPEC.shape, seed=4) > 0).double()
    return model, x, normal(variant.draws, EXAMPLES, LATENTS, seed=5)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected size."""
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-300)).item()


def gradients(model: Model, value: Float[Tensor, ""]) -> dict[str, Tensor]:
    """The gradient of a scalar in each of the model's parameters; 0 where none arrives."""
    named = dict(model.named_parameters())
    found = torch.autograd.grad(
        value, list(named.values()), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return dict(zip(named, found, strict=True))


def flat(found: dict[str, Tensor]) -> Tensor:
    """All of them, one after the other."""
    return torch.cat([g.flatten() for g in found.values()])


def shapes(variant: Variant) -> Iterator[Finding]:
    """One finite number an example."""
    value = function_of(variant)(*small(variant))
    finite = int(value.isfinite().sum())
    holds = value.shape == (EXAMPLES,) and finite == EXAMPLES
    yield Finding("shapes", holds, f"{list(value.shape)} for {EXAMPLES} examples, {finite} finite")


def value(variant: Variant) -> Iterator[Finding]:
    """The value is the objective F(log w) + A at the posterior's draws."""
    model, x, noise = small(variant)
    q, objective = model.encoder(x), variant.objective
    log_w = objective.log_weight(model, x, q.sample(noise), q)
    off = difference(
        function_of(variant)(model, x, noise), objective.reduction.value(log_w) + objective.exact(model, q)
    )
    yield Finding("value is the objective", off < TOLERANCE, f"relative difference {off:.1g}")


def same_value(variant: Variant) -> Iterator[Finding]:
    """The value does not depend on the estimator: at the same noise it is another one's."""
    model, x, noise = small(variant)
    baseline = variant.estimator.baseline
    others = [
        dataclasses.replace(variant, estimator=Estimator(e.name, e.estimate, baseline)) for e in (pathwise, blocked)
    ]
    mine = function_of(variant)(model, x, noise)
    off = max(difference(mine, function_of(other)(model, x, noise)) for other in others)
    figure = f"relative difference {off:.1g} to {' and '.join(o.estimator.name for o in others)}"
    yield Finding("value does not depend on the estimator", off < TOLERANCE, figure)


def reached(variant: Variant) -> Iterator[Finding]:
    """Every parameter gets a gradient."""
    model, x, noise = small(variant)
    found = gradients(model, function_of(variant)(model, x, noise).mean())
    dry = [name for name, g in found.items() if not (g.isfinite().all() and g.abs().sum() > 0)]
    figure = f"{len(found) - len(dry)} of {len(found)}{', but not ' if dry else ''}{', '.join(dry)}"
    yield Finding("gradients reach every parameter", not dry, figure)


def examples(variant: Variant) -> Iterator[Finding]:
    """Each example's value and gradient are the same alone and within a minibatch."""
    model, x, noise = small(variant)
    together = function_of(variant)(model, x, noise)
    off = 0.0
    for b in range(EXAMPLES):
        alone = function_of(variant)(model, x[b : b + 1], noise[:, b : b + 1])[0]
        off = max(off, difference(together[b], alone))
        off = max(off, difference(flat(gradients(model, together[b])), flat(gradients(model, alone))))
    figure = f"relative difference {off:.1g} between an example alone and within {EXAMPLES}"
    yield Finding("examples do not see each other", off < TOLERANCE, figure)


def own_noise(variant: Variant) -> Iterator[Finding]:
    """Noise is independent across examples: moving that of one moves its own value, and no other."""
    model, x, noise = small(variant)
    before = function_of(variant)(model, x, noise)
    own, others = 0, 0
    for b in range(EXAMPLES):
        moved = noise.clone()
        moved[:, b] += 1
        changed = (function_of(variant)(model, x, moved) - before).abs() > TOLERANCE * before.abs()
        own += int(changed[b])
        others += int(changed.sum()) - int(changed[b])
    right = EXAMPLES if model.stochastic else 0
    figure = f"moving the noise of one example moved its own value in {own} of {EXAMPLES} cases, another's in {others}"
    yield Finding("noise is independent across examples", own == right and others == 0, figure)


def declared_bias(variant: Variant) -> Iterator[Finding]:
    """The mean gradient on a linear-Gaussian model against the exact one, encoder and decoder apart.

    With two draws where the variant has more: the quadrature's error grows with them, and would hide a bias. The
    decoder's gradient is never allowed one.
    """
    draws = min(variant.draws, max(MOST_DRAWS, variant.estimator.baseline.min_draws))
    few = dataclasses.replace(variant, draws=draws)
    model = bias.linear_gaussian(build(few, SPEC, LATENTS), pixels=3)
    model.baseline = few.estimator.baseline.network(3).double()
    x, noise = 0.7 * normal(2, 3, seed=6), normal(REPEATS, draws, 2, LATENTS, seed=9)
    z = bias.measured(few, model, function_of(few), x, noise)
    for part, size in z.items():
        unbiased = variant.unbiased or part == "decoder"
        claim = "unbiased" if variant.unbiased else "biased" if part == "encoder" else "biased in the encoder alone"
        holds = (size < SIGNIFICANT) == unbiased
        off = f"off by {size:.3g} standard errors" if size < float("inf") else "off, and without any noise"
        each = f"{draws} draw{'s' if draws > 1 else ''} each"
        figure = f"declared {claim}; the mean of {REPEATS:,} ({each}) is {off}"
        yield Finding(f"bias of the {part}'s gradient", holds, figure)


def closed_form(variant: Variant) -> Iterator[Finding]:
    """KL(q‖p) in closed form is the mean of log q(z|x) - log p(z) over draws from q."""
    model, x, _ = small(variant)
    if not model.stochastic:
        return
    with torch.no_grad():
        q = model.encoder(x)
        z = q.sample(normal(REPEATS, EXAMPLES, LATENTS, seed=10))
        off = bias.worst_z(q.log_prob(z) - model.prior.log_prob(z), model.prior.kl(q))
    figure = f"off by {off:.3g} standard errors from the mean of {REPEATS:,} draws"
    yield Finding("KL in closed form", off < SIGNIFICANT, figure)


def reproducible(variant: Variant) -> Iterator[Finding]:
    """Equal seeds give equal bits, whatever the state of torch's global generator: nothing is drawn inside."""
    found = []
    with torch.random.fork_rng():
        for seed in (0, 1):
            torch.manual_seed(seed)
            model, x, noise = small(variant)
            result = function_of(variant)(model, x, noise)
            found.append(torch.cat([result.detach(), flat(gradients(model, result.mean()))]))
    differing = int((found[0] != found[1]).sum())
    yield Finding("reproducible under a seed", differing == 0, f"{differing} of {len(found[0])} numbers differ")


def mapped(variant: Variant) -> Iterator[Finding]:
    """vmap(grad) over repeats of the noise is the loop over them."""
    model, x, _ = small(variant)
    noise = normal(3, variant.draws, EXAMPLES, LATENTS, seed=8)
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def mean(parameters: dict[str, Tensor], noise: Tensor) -> Tensor:
        result: Tensor = functional_call(model, parameters, (function_of(variant), x, noise))
        return result.mean()

    together = vmap(grad(mean), (None, 0))(parameters, noise)
    loop = [flat(gradients(model, function_of(variant)(model, x, n).mean())) for n in noise]
    off = difference(torch.cat([g.flatten(1) for g in together.values()], 1), torch.stack(loop))
    yield Finding("works under vmap", off < TOLERANCE, f"relative difference {off:.1g} to a loop")


PROPERTIES: dict[str, Callable[[Variant], Iterator[Finding]]] = {
    "shapes": shapes,
    "value is the objective": value,
    "value does not depend on the estimator": same_value,
    "gradients reach every parameter": reached,
    "examples do not see each other": examples,
    "noise is independent across examples": own_noise,
    "bias": declared_bias,
    "KL in closed form": closed_form,
    "reproducible under a seed": reproducible,
    "works under vmap": mapped,
}


def check(variant: Variant) -> Iterator[Finding]:
    """Each property in turn. One that can't be measured, since the variant raises an error, doesn't hold."""
    for name, measure in PROPERTIES.items():
        try:
            yield from measure(variant)
        except Exception as error:  # whatever a user's own function raises is a finding
            yield Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def decoder_passes(variant: Variant) -> int:
    """Times that the decoder is evaluated for an example to have one gradient estimate, counted."""
    model, x, noise = small(variant)
    decoded = 0

    def count(module: torch.nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal decoded
        decoded += inputs[0].shape[:-1].numel()

    model.decoder.register_forward_hook(count)
    function_of(variant)(model, x, noise)
    return decoded // EXAMPLES
