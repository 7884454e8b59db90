"""The laboratory's own errors, over 2,000 independent repetitions: `tox -e slow`."""

import dataclasses
import math

import pytest
import torch

from benchmarks.statistics import log_ratio
from vaezoo import VARIANTS, DataSpec, initialise, mlp_normal
from vaezoo.measurement import measure
from vaezoo.replay import Subject

pytestmark = pytest.mark.slow
REPETITIONS, REPEATS, EXAMPLES, LATENTS, FLAGGED = 2000, 500, 20, 4, 30
NAMES = {"pathwise": "vae", "none": "reinforce-vae", "leave_one_out": "reinforce-vae-loo"}
PAIRS = (("none", "pathwise"), ("leave_one_out", "pathwise"), ("none", "leave_one_out"))


@dataclasses.dataclass(frozen=True)
class Seen:
    """One repetition: a variance and its claimed error."""

    variance: float
    se: float


@dataclasses.dataclass(frozen=True)
class Rate:
    """One repetition: the logarithm of an exchange rate, its claimed error, and the kurtosis that decides on a flag."""

    logarithm: float
    se: float
    kurtosis: float


@pytest.fixture(scope="module")
def repetitions():
    """A digits VAE, 64-32-4: what 2,000 repetitions say, by estimator."""
    from sklearn.datasets import load_digits

    from benchmarks.cases import resolve
    from benchmarks.settings import load
    from benchmarks.train import begun, train

    images = torch.from_numpy(load_digits().images).float() / 16
    protocol = dataclasses.replace(
        resolve(load("quick", {"epochs": 5, "batch_size": EXAMPLES})), latent_dim=LATENTS, checkpoints=(5,)
    )
    variants = {name: next(v for v in VARIANTS if v.name == full) for name, full in NAMES.items()}
    model = mlp_normal(DataSpec((8, 8), "bernoulli", (32,)), LATENTS)
    source = torch.Generator().manual_seed(1)
    initialise(model, lambda name: source)
    state = begun(model, variants["pathwise"], images[:1500], protocol, 0)
    for _ in train(state, variants["pathwise"], images[:1500], protocol):
        pass
    x = (torch.rand(EXAMPLES, 8, 8, generator=source) < images[:EXAMPLES]).float()
    seen = {name: [] for name in (*variants, *PAIRS)}
    for _ in range(REPETITIONS):
        noise = torch.randn(REPEATS, 2, EXAMPLES, LATENTS, generator=source)
        moments = {}
        for draws in (1, 2):
            own = {n: Subject(v) for n, v in variants.items() if v.draws == draws}
            found = measure(model, own, x, lambda r, k=draws, noise=noise: noise[:, :k, r], decoder=None)
            moments |= {name: f.moments["encoder", ""] for name, f in found.items()}
        for name, m in moments.items():
            seen[name].append(Seen(m.variance, m.variance_se))
        for one, other in PAIRS:
            rate, se = log_ratio(moments[one].sums.numpy(), moments[other].sums.numpy())
            seen[one, other].append(Rate(rate, se, max(moments[n].kurtosis for n in (one, other))))
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_the_claimed_standard_error_is_the_observed_spread(name, repetitions):
    variances = torch.tensor([s.variance for s in repetitions[name]])
    claimed = torch.tensor([s.se for s in repetitions[name]]).square().mean().sqrt()
    print(f"{name}: claimed {claimed:.4g}, observed {variances.std():.4g}")
    assert claimed / variances.std() == pytest.approx(1, abs=0.10)


def _covered(rates, truth):
    return sum(abs(r.logarithm - truth) <= 1.96 * r.se for r in rates) / max(1, len(rates))


def test_intervals_cover_what_they_claim(repetitions):
    """The reference is the mean over all repetitions: 10^6 draws."""
    exact = {name: sum(s.variance for s in repetitions[name]) / REPETITIONS for name in NAMES}
    unflagged = []
    for one, other in PAIRS:
        rates = repetitions[one, other]
        truth = math.log(exact[one] / exact[other])
        plain, heavy = ([r for r in rates if (r.kurtosis > FLAGGED) == flag] for flag in (False, True))
        print(f"{one} for {other}: covers {_covered(plain, truth):.1%}, ", end="")
        print(f"and where flagged, {len(heavy) / REPETITIONS:.1%} of all, {_covered(heavy, truth):.1%}")
        if len(heavy) < REPETITIONS / 2:
            unflagged.append(0.93 <= _covered(plain, truth) <= 0.97)
    assert sum(unflagged) >= 2
