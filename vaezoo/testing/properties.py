"""The properties that every variant must have, tested on small models, in float64, with fixed seeds."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

from torch import Tensor
from torch.func import debug_unwrap

from vaezoo.models import Architecture, DataSpec, Model
from vaezoo.testing import claims, estimate_properties
from vaezoo.testing.estimate_properties import small_problem
from vaezoo.testing.expectation import THOROUGH
from vaezoo.testing.findings import Finding
from vaezoo.variants import Variant

PROPERTIES: dict[str, Callable[[Variant], Iterator[Finding]]] = {
    "shapes": estimate_properties.check_shapes,
    "value is the objective": estimate_properties.check_value,
    "mean value is the objective": claims.check_mean_value,
    "value does not depend on the estimator": estimate_properties.check_same_value,
    "gradients reach every parameter": estimate_properties.check_gradients_reach,
    "gradients are derivatives": claims.check_derivatives,
    "examples are independent": estimate_properties.check_examples,
    "noise is independent across examples": estimate_properties.check_noise,
    "inputs stay unchanged": estimate_properties.check_inputs,
    "reproducible under a seed": estimate_properties.check_reproducible,
    "baseline learns by least squares": estimate_properties.check_baseline,
    "control variate learns by the squared gradient": estimate_properties.check_control,
    "measured variance is that of a plain loop": estimate_properties.check_moments,
    "bias": claims.check_bias,
    "KL in closed form": claims.check_kl,
    "likelihood is a density": claims.check_density,
    "objective is a bound of log p(x)": claims.check_bound,
}


THOROUGH_PROPERTIES: dict[str, Callable[[Variant], Iterator[Finding]]] = {
    **PROPERTIES,
    "mean value is the objective": functools.partial(claims.check_mean_value, effort=THOROUGH),
    "bias": functools.partial(claims.check_bias, effort=THOROUGH),
}


def check(variant: Variant, thorough: bool = False, architecture: Architecture | None = None) -> Iterator[Finding]:
    """Test the properties of a variant and yield a finding for each; if a test raises an error, it does not hold.

    Args:
        variant: the variant, of the project or your own.
        thorough: whether to look for a smaller bias, with up to 20 times the work: minutes instead of seconds.
        architecture: networks in place of the variant's; None for its own.

    Returns:
        The findings, in the order of `PROPERTIES`.
    """
    if architecture is not None:
        variant = replace(variant, architecture=_use_networks(variant.architecture, architecture))
    for name, test in (THOROUGH_PROPERTIES if thorough else PROPERTIES).items():
        try:
            yield from test(variant)
        except Exception as error:  # functions of a user's variant can raise anything
            yield Finding(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")


def _use_networks(
    build: Callable[[DataSpec, int], Model], architecture: Architecture
) -> Callable[[DataSpec, int], Model]:
    return lambda spec, latent_dim: build(replace(spec, architecture=architecture), latent_dim)


def count_decoder_passes(variant: Variant) -> int:
    """Return how often the decoder is evaluated per example for one gradient estimate; measured on a small model.

    A decoder may compute log p(x|z) without its function `forward`, so both functions are counted; the larger count is
    the result.
    """
    problem = small_problem(variant)
    decoder = problem.model.decoder
    log_prob, rows = decoder.log_prob, Counter[str]()

    def count(function: str, z: Tensor) -> None:
        # the size in memory, because torch.func.vmap hides the dimension over which it maps
        rows[function] += debug_unwrap(z).numel() // z.shape[-1]

    def count_log_prob(x: Tensor, z: Tensor) -> Tensor:
        count("log_prob", z)
        return log_prob(x, z)

    decoder.log_prob = count_log_prob  # type: ignore[method-assign]
    decoder.register_forward_pre_hook(lambda module, inputs: count("forward", inputs[0]))
    problem.estimate(problem.x, problem.noise()[0])
    return max(rows.values(), default=0) // len(problem.x)
