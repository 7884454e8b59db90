"""A figure of gradient estimates for one Bernoulli latent, f(z) = (z - t)², with exact variances in the logit.

With probability p of z = 1, the gradient of E[f(z)] in the logit is p (1 - p) (f(1) - f(0)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.gradient_studies.report import panels
from benchmarks.reporting.figures import style

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


VARIANCES: dict[str, Callable[[Values], Values]] = {  # of unbiased estimates
    "no baseline": _no_baseline,
    "leave-one-out": _leave_one_out,
    "ARM": _arm,
    "DisARM": _disarm,
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


PROBABILITY = 0.3
PURPLES = dict(zip(VARIANCES, ("#581c87", "#a21caf", "#7c3aed", "#d946ef"), strict=True))
RELAXATIONS = {"Gumbel-softmax": ("#d946ef", False), "straight-through": ("#701a75", True)}


def draw_one_latent() -> Figure:
    """Draw exact variances for one Bernoulli latent by its probability, and bias and variance by temperature."""
    figure, (left, right) = plt.subplots(2, 1, figsize=(style.WIDTH, 6.0))
    p = np.linspace(0.01, 0.99, 197)
    for name, variance in VARIANCES.items():
        left.plot(p, np.maximum(variance(p), 1e-6), label=name, color=PURPLES[name])
    style.set_log_y(left)
    left.set(xlabel="probability of z = 1", ylabel="variance of one estimate", title="Unbiased estimators")
    temperatures = np.geomspace(0.05, 3, 40)
    for name, (colour, is_straight) in RELAXATIONS.items():
        moments = np.array([relaxed_moments(t, is_straight, PROBABILITY) for t in temperatures])
        for i, (quantity, dashes) in enumerate((("squared bias", "dashed"), ("variance", "solid"))):
            right.plot(temperatures, moments[:, i], label=f"{name}: {quantity}", color=colour, linestyle=dashes)
    panels.set_log_axes(right, pd.Series([0.05, 0.1, 0.25, 0.5, 1, 2]), "temperature")
    right.set(ylabel="of one estimate", title="Relaxed draws")
    style.set_title(figure, "One Bernoulli latent: DisARM has no variance at p = 1/2, relaxed draws have bias")
    note = f"f(z) = (z - {TARGET})², gradient in the logit. Above: closed forms. Below: p = {PROBABILITY}, quadrature."
    style.add_note(figure, note)
    style.label_ends(left, right)
    return figure
