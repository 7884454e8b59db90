"""Time the measurement of the encoder's gradient variance, and compare it with a loop of backward passes.

    python -m benchmarks.micro.gradient_variance

The model is 784-400-20, with 1,000 draws on a minibatch of 100. The loop takes one backward pass per draw, in the
encoder only, and sums squared norms. Both sides use one thread. They take turns, and medians are compared.
"""

from __future__ import annotations

import functools
import statistics
import timeit
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from benchmarks.common.environment import peak_memory_mib
from vaezoo import VARIANTS, DataSpec, FittedVariant, Model, Variant, estimate, initialise, measure, mlp_normal

DRAWS, BATCH, LATENTS, TURNS = 1000, 100, 20, 5
LOOP_DRAWS = 100  # the time of the loop is proportional to its draws


def _run_loop(model: Model, variant: Variant, x: Tensor, noise: Tensor) -> None:
    parameters = list(model.encoder.parameters())
    for repeat in noise[:LOOP_DRAWS]:
        value = estimate(variant, model, x, repeat, torch.zeros(())).mean()
        sum(g.square().sum() for g in torch.autograd.grad(value, parameters))


def _measure_together(model: Model, variants: Sequence[Variant], x: Tensor, noise: Tensor) -> None:
    fitted = {v.name: FittedVariant(v, v.estimator.make_network(784, model.latent_dim)) for v in variants}
    measure(model, fitted, x, lambda rows: noise[:, :, rows], None)


def main() -> None:
    """Print times, ratios and the peak memory, which includes the memory of an idle interpreter with torch."""
    idle = peak_memory_mib()
    torch.set_num_threads(1)
    source = torch.Generator().manual_seed(0)
    model = mlp_normal(DataSpec((28, 28), "bernoulli", (400,)), LATENTS)
    initialise(model, lambda name: source)
    x = (torch.rand(BATCH, 28, 28, generator=source) < 0.15).float()
    noise = torch.randn(DRAWS, 1, BATCH, LATENTS, generator=source)
    one_draw = [v for v in VARIANTS if v.draws == 1 and v.architecture is mlp_normal]
    plain = [v for v in one_draw if v.objective.name == "elbo"]
    pathwise = next(v for v in plain if v.estimator.name == "pathwise")
    score = next(v for v in plain if v.estimator.baseline_name == "none")
    groups = {"pathwise": [pathwise], "score function": [score], "all": one_draw}
    functions: dict[str, Callable[[], None]] = {
        name: functools.partial(_measure_together, model, variants, x, noise) for name, variants in groups.items()
    }
    for function in functions.values():  # warm-up; the peak memory then excludes the loop
        function()
    peak = peak_memory_mib()
    for name in ("pathwise", "score function"):
        functions[f"{name}, loop"] = functools.partial(_run_loop, model, groups[name][0], x, noise)
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(TURNS):
        for name, function in functions.items():
            scale = DRAWS / LOOP_DRAWS if name.endswith("loop") else 1
            times[name].append(timeit.timeit(function, number=1) * scale)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{name:22} {seconds:6.2f} s")
    for name in ("pathwise", "score function"):
        print(f"{name}: {medians[f'{name}, loop'] / medians[name]:.2f} times faster than the loop")
    slowest = max(medians["pathwise"], medians["score function"])
    print(f"all {len(one_draw)} one-draw estimators together: {medians['all'] / slowest:.2f} times the slowest of them")
    print(f"peak memory {peak:.0f} MiB; an idle interpreter with torch has {idle:.0f} MiB")


if __name__ == "__main__":
    main()
