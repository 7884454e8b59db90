"""What a cell of the default preset consists of: training steps, evaluation, gradient moments. One thread each."""

from __future__ import annotations

import resource
import sys

import pytest
import torch

from benchmarks import experiment
from benchmarks.environment import cores
from benchmarks.micro.setting import planned, ready
from benchmarks.train import begun, stepping
from vaezoo import VARIANTS, evaluate
from vaezoo.evaluation import log_likelihood


@pytest.fixture(scope="module", params=[v.name for v in VARIANTS])
def anyone(request):
    return ready(planned([request.param], seeds="1")[0])


@pytest.fixture(scope="module")
def vae():
    return ready(planned(["vae"], seeds="1")[0])


def test_training_step(benchmark, anyone):
    """Of 100 examples, pixels and noise drawn; compiled where the rule says so."""
    case = anyone.case
    images = anyone.images.train
    state = begun(anyone.model, anyone.variant, images, case.protocol, 0)
    advance = stepping(state, anyone.variant, images, case.protocol, case.step)
    rows = torch.arange(case.protocol.batch_size)
    benchmark.extra_info["mode"] = "compiled" if case.step else "eager"
    benchmark.pedantic(advance, (rows,), warmup_rounds=20, rounds=100)


def test_evaluation(benchmark, vae):
    """Of a checkpoint: 16 draws and 100 of the log-likelihood, of 1,000 images."""
    benchmark(lambda: evaluate(vae.model, vae.images.test, torch.Generator()))


@pytest.mark.parametrize("name", ["vae", "reinforce-vae-loo", "iwae"])
def test_gradient_moments(benchmark, name):
    """Of a checkpoint: 200 repeats on a minibatch of 100."""
    own = ready(planned([name], seeds="1")[0])
    noise = torch.randn(200, own.case.draws, 100, own.case.protocol.latent_dim)
    x = (own.images.train[:100] > 0.5).float()
    benchmark(lambda: experiment.moments_of(own.variant, own.model, torch.zeros(()), x, noise))


def test_log_likelihood_with_5000_draws(benchmark, vae):
    """Of 1,000 images, with all cores; the memory that it adds is in `extra_info`."""
    torch.set_num_threads(cores())
    with torch.no_grad():
        q = vae.model.encoder(vae.images.test)
    before = _peak_mib()
    work = (vae.model, vae.images.test, q, 5000, torch.Generator())
    benchmark.pedantic(log_likelihood, work, rounds=1, iterations=1)
    torch.set_num_threads(1)
    benchmark.extra_info["added_mib"] = _peak_mib() - before


def _peak_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
