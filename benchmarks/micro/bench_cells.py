"""Benchmarks of a cell of the default preset, with one thread: training step, evaluation and gradient variance."""

from __future__ import annotations

import pytest
import torch

from benchmarks.common.environment import count_cores, peak_memory_mib
from benchmarks.common.kernels import configure_kernels
from benchmarks.micro.scale import plan_cases
from benchmarks.training import cell
from benchmarks.training.loop import make_step
from benchmarks.training.state import initial_state, setup_case
from vaezoo import VARIANTS, FittedVariant, evaluate
from vaezoo.evaluation import log_likelihood


def setup_variant(name):
    case = plan_cases([name], "default", seeds="1")[0]
    configure_kernels(case.protocol.threads, case.protocol.precision)
    return setup_case(case)


@pytest.fixture(scope="module", params=[v.name for v in VARIANTS])
def setup(request):
    return setup_variant(request.param)


@pytest.fixture(scope="module")
def vae():
    return setup_variant("vae")


def test_training_step(benchmark, setup):
    """A step on 100 examples with the draws of pixels and noise; `extra_info` says whether it is compiled."""
    advance = make_step(initial_state(setup), setup)
    rows = torch.arange(setup.protocol.batch_size)
    benchmark.extra_info["mode"] = "compiled" if setup.compiled_step else "eager"
    benchmark.pedantic(advance, (rows,), warmup_rounds=20, rounds=100)


def test_evaluation(benchmark, vae):
    """The evaluation of a checkpoint on 1,000 images, with 16 draws, and 100 for the log-likelihood."""
    benchmark(lambda: evaluate(vae.model, vae.data.test, torch.Generator()))


@pytest.mark.parametrize("name", ["vae", "reinforce-vae-loo", "iwae"])
def test_gradient_moments(benchmark, name):
    """The gradient variance of a checkpoint: 200 repeats on a minibatch of 100."""
    setup = setup_variant(name)
    noise = torch.randn(200, setup.variant.draws, 100, setup.protocol.latent_dim)
    x = (setup.data.train[:100] > 0.5).float()
    benchmark(lambda: cell.measure_gradient(setup.model, FittedVariant(setup.variant), x, noise))


def test_log_likelihood_with_5000_draws(benchmark, vae):
    """The log-likelihood of 1,000 images with all cores; `extra_info` has the additional peak memory."""
    torch.set_num_threads(count_cores())
    with torch.no_grad():
        q = vae.model.encoder(vae.data.test)
    before = peak_memory_mib()
    arguments = (vae.model, vae.data.test, q, 5000, torch.Generator())
    benchmark.pedantic(log_likelihood, arguments, rounds=1, iterations=1)
    torch.set_num_threads(1)
    benchmark.extra_info["added_mib"] = peak_memory_mib() - before
