"""The encoder's gradient variance from 1,000 draws on a batch of 100 (784-400-20), against a loop of backward passes.

    python -m benchmarks.micro.gradient_variance

The loop differentiates the encoder alone and does no work but the squared norm. Both have the same threads and kernels;
they take turns, and medians are compared.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vaezoo import VARIANTS, DataSpec, Model, Variant, estimate, initialise, mlp_normal
from vaezoo.measurement import measure
from vaezoo.replay import Subject

DRAWS, BATCH, LATENTS, TURNS, THREADS = 1000, 100, 20, 5, 1
LOOP = 100  # draws of the loop, whose time grows with them


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _loop(model: Model, variant: Variant, x: Tensor, noise: Tensor) -> None:
    parameters = list(model.encoder.parameters())
    for repeat in noise[:LOOP]:
        value = estimate(variant, model, x, repeat, torch.zeros(())).mean()
        sum(g.square().sum() for g in torch.autograd.grad(value, parameters))


def _together(model: Model, variants: Sequence[Variant], x: Tensor, noise: Tensor) -> None:
    networks = {v.name: v.estimator.baseline.network(784) for v in variants}
    measure(model, {v.name: Subject(v, networks[v.name]) for v in variants}, x, lambda r: noise[:, :, r], decoder=None)


def main() -> None:
    """Print the ratios and the peak of the resident memory, also that of an idle interpreter with torch."""
    idle = _peak()
    torch.set_num_threads(THREADS)
    source = torch.Generator().manual_seed(0)
    model = mlp_normal(DataSpec((28, 28), "bernoulli", (400,)), LATENTS)
    initialise(model, lambda name: source)
    x = (torch.rand(BATCH, 28, 28, generator=source) < 0.15).float()
    noise = torch.randn(DRAWS, 1, BATCH, LATENTS, generator=source)
    one_draw = [v for v in VARIANTS if v.draws == 1 and v.architecture is mlp_normal]
    plain = [v for v in one_draw if v.objective.name == "elbo"]
    pathwise = next(v for v in plain if v.estimator.name == "pathwise")
    score = next(v for v in plain if v.estimator.baseline.name == "none")
    works: dict[str, Callable[[], object]] = {
        "pathwise": lambda: _together(model, [pathwise], x, noise),
        "score function": lambda: _together(model, [score], x, noise),
        "all": lambda: _together(model, one_draw, x, noise),
    }
    for work in works.values():  # warm-up, and the peak without the loop's share
        work()
    peak = _peak()
    works |= {
        "pathwise, loop": lambda: _loop(model, pathwise, x, noise),
        "score function, loop": lambda: _loop(model, score, x, noise),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            times[name].append(_seconds(work) * (DRAWS / LOOP if name.endswith("loop") else 1))
    median = {name: statistics.median(own) for name, own in times.items()}
    for name, seconds in median.items():
        print(f"{name:22} {seconds:6.2f} s")
    for name in ("pathwise", "score function"):
        print(f"{name}: {median[f'{name}, loop'] / median[name]:.2f} times faster than the loop")
    dearest = max(median["pathwise"], median["score function"])
    print(f"all {len(one_draw)} one-draw estimators together: {median['all'] / dearest:.2f} times the dearest alone")
    print(f"peak memory {peak:.0f} MiB, of which {idle:.0f} MiB are the idle interpreter with torch")


def _peak() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    main()
