"""Gradient estimates for one Bernoulli latent, f(z) = (z - t)²: exact means and variances in the logit.

With probability p of z = 1, the gradient of E[f(z)] in the logit is p (1 - p) (f(1) - f(0)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

TARGET = 0.45
Values = Any  # an array, or a number
DIFFERENCE = (1 - TARGET) ** 2 - TARGET**2  # f(1) - f(0)


def exact_gradient(p: Values) -> Values:
    """Return p (1 - p) (f(1) - f(0))."""
    return p * (1 - p) * DIFFERENCE


def _no_baseline(p: Values) -> Values:
    # one draw: f(1) (1 - p) or -f(0) p
    square = p * (1 - p) ** 2 * (1 - TARGET) ** 4 + (1 - p) * p**2 * TARGET**4
    return square - exact_gradient(p) ** 2


def _leave_one_out(p: Values) -> Values:
    # two draws: half the difference of f if they differ, else 0
    differ = 2 * p * (1 - p)
    return DIFFERENCE**2 / 4 * differ * (1 - differ)


def _arm(p: Values) -> Values:
    # the difference of f times u - 1/2, if the antithetic draws differ: |u - 1/2| > 1/2 - min(p, 1 - p)
    edge = 0.5 - np.minimum(p, 1 - p)
    return DIFFERENCE**2 * 2 / 3 * (0.5**3 - edge**3) - exact_gradient(p) ** 2


def _disarm(p: Values) -> Values:
    # half the difference of f times max(p, 1 - p), if the antithetic draws differ, else 0
    larger = np.maximum(p, 1 - p)
    differ = 2 * (1 - larger)
    return DIFFERENCE**2 / 4 * larger**2 * differ * (1 - differ)


VARIANCES: dict[str, Callable[[Values], Values]] = {  # of unbiased estimates, by variant
    "bernoulli-none": _no_baseline,
    "bernoulli-loo": _leave_one_out,
    "bernoulli-arm": _arm,
    "bernoulli-disarm": _disarm,
}


def relaxed_moments(temperature: float, is_straight: bool, p: float) -> tuple[float, float]:
    """Return squared bias and variance of Gumbel-softmax, by quadrature over the logistic noise.

    is_straight: whether f is differentiated at the hard draw, as in straight-through Gumbel-softmax.
    """
    uniform = (np.arange(400_000) + 0.5) / 400_000
    perturbed = np.log(p / (1 - p)) + np.log(uniform / (1 - uniform))
    relaxed = 1 / (1 + np.exp(-np.clip(perturbed / temperature, -500, 500)))
    z = (perturbed > 0).astype(float) if is_straight else relaxed
    gradients = 2 * (z - TARGET) * relaxed * (1 - relaxed) / temperature
    bias = gradients.mean() - exact_gradient(p)
    return float(bias**2), float(gradients.var())
