"""Standard errors and intervals of the gradient studies, over 1,000 independent repetitions: `tox -e slow`."""

import dataclasses
import functools
import math
from typing import Any

import pytest
import torch

from benchmarks.common.seed_statistics import log_ratio
from tests.monte_carlo import error_z
from vaezoo import VARIANTS, DataSpec, FittedVariant, initialise, mlp_normal
from vaezoo.gradients import Moments
from vaezoo.gradients.joint_measurement import measure_jointly

pytestmark = pytest.mark.slow
REPETITIONS, REPEATS, EXAMPLES, LATENTS, FLAGGED = 1000, 500, 20, 4, 30
VARIANT_NAMES = {"pathwise": "vae", "none": "reinforce-vae", "leave_one_out": "reinforce-vae-loo"}
PAIRS = (("none", "pathwise"), ("leave_one_out", "pathwise"), ("none", "leave_one_out"))


@dataclasses.dataclass(frozen=True)
class VarianceEstimate:
    """A variance and its reported standard error, from one repetition."""

    variance: float
    se: float


@dataclasses.dataclass(frozen=True)
class RateEstimate:
    """The logarithm of an exchange rate, its reported standard error and its kurtosis, from one repetition."""

    logarithm: float
    se: float
    kurtosis: float


def _select_noise(noise, rows):
    return noise[:, :, rows]


@pytest.fixture(scope="module")
def repetitions():
    """Measure a trained VAE on digits, 64-32-4, 1,000 times; return estimates by estimator or pair of estimators."""
    from sklearn.datasets import load_digits

    from benchmarks.planning.data.tensors import Dataset
    from benchmarks.planning.settings import load_settings
    from benchmarks.training.loop import train
    from benchmarks.training.state import Setup, initial_state
    from tests.planned import resolve

    images = torch.from_numpy(load_digits().images).float() / 16
    settings = load_settings("quick", {"epochs": 5, "batch_size": EXAMPLES})
    protocol = dataclasses.replace(resolve(settings), latent_dim=LATENTS, checkpoints=(5,))
    variants = {name: next(v for v in VARIANTS if v.name == full) for name, full in VARIANT_NAMES.items()}
    model = mlp_normal(DataSpec((8, 8), "bernoulli", (32,)), LATENTS)
    source = torch.Generator().manual_seed(1)
    initialise(model, lambda name: source)
    empty = images[:0]
    setup = Setup(variants["pathwise"], model, Dataset(images[:1500], empty, empty, empty, None), protocol, 0)
    for _ in train(initial_state(setup), setup):
        pass
    x = (torch.rand(EXAMPLES, 8, 8, generator=source) < images[:EXAMPLES]).float()
    estimates: dict[Any, list[Any]] = {name: [] for name in (*variants, *PAIRS)}
    for _ in range(REPETITIONS):
        noise = torch.randn(REPEATS, 2, EXAMPLES, LATENTS, generator=source)
        moments: dict[str, Moments] = {}
        for draws in (1, 2):
            group = {n: FittedVariant(v) for n, v in variants.items() if v.draws == draws}
            select = functools.partial(_select_noise, noise[:, :draws])
            measurements = measure_jointly(model, group, dict.fromkeys(group), x, select, None)
            moments |= {name: measurement.moments["encoder", ""] for name, measurement in measurements.items()}
        for name, m in moments.items():
            estimates[name].append(VarianceEstimate(m.variance, m.variance_se))
        for name, reference in PAIRS:
            rate, se = log_ratio(moments[name].sums.numpy(), moments[reference].sums.numpy())
            kurtosis = max(moments[name].kurtosis, moments[reference].kurtosis)
            estimates[name, reference].append(RateEstimate(rate, se, kurtosis))
    return estimates


@pytest.mark.parametrize("name", VARIANT_NAMES)
def test_standard_error_is_the_observed_spread(name, repetitions):
    variances, errors = zip(*(dataclasses.astuple(e) for e in repetitions[name]), strict=True)
    reported, observed = torch.tensor(errors).square().mean().sqrt(), torch.tensor(variances).std()
    print(f"{name}: reported standard error {reported:.4g}, observed {observed:.4g}")
    assert abs(error_z(variances, errors)) < 5


def _coverage(rates, exact):
    return sum(abs(r.logarithm - exact) <= 1.96 * r.se for r in rates) / max(1, len(rates))


def test_intervals_have_95_percent_coverage(repetitions):
    """The exact rate is approximated by the mean over all repetitions: 500,000 draws."""
    means = {name: sum(e.variance for e in repetitions[name]) / REPETITIONS for name in VARIANT_NAMES}
    covered = []
    for pair in PAIRS:
        name, reference = pair
        exact = math.log(means[name] / means[reference])
        plain, heavy = ([r for r in repetitions[pair] if (r.kurtosis > FLAGGED) == flag] for flag in (False, True))
        print(f"{name} for {reference}: coverage {_coverage(plain, exact):.1%}; ", end="")
        print(f"{_coverage(heavy, exact):.1%} for the {len(heavy) / REPETITIONS:.1%} flagged repetitions")
        if len(heavy) < REPETITIONS / 2:
            covered.append(abs(_coverage(plain, exact) - 0.95) < 5 * math.sqrt(0.95 * 0.05 / len(plain)))
    assert sum(covered) >= 2
