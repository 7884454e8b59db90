"""Benchmarks of a cell of the default preset, with one thread, and of the end of a run that is interrupted."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time

import pytest
import torch

from benchmarks.common.environment import peak_memory_mib
from benchmarks.common.kernels import configure_kernels
from benchmarks.common.machine.cores import count_cores
from benchmarks.micro.scale import plan_cases
from benchmarks.training import cell
from benchmarks.training.loop import make_step
from benchmarks.training.state import initial_state, setup_case
from vaezoo import VARIANTS, FittedVariant, evaluate
from vaezoo.evaluation import log_likelihood


def setup_variant(name):
    case = plan_cases([name], "default", seeds="1")[0]
    configure_kernels(case.protocol.threads, case.protocol.precision, case.protocol.batch_size)
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


def test_end_of_an_interrupted_run(benchmark, tmp_path):
    """From Ctrl-C until the process of the command has ended, while its workers train."""
    numbers = itertools.count()

    def start():
        folder = tmp_path / str(next(numbers))
        options = ["--preset", "quick", "--epochs", "5000", "--out", folder, "--name", "x"]
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "run", "vae", *options], stderr=subprocess.DEVNULL
        )
        while not (folder / "x" / "environment.json").exists():
            time.sleep(0.02)
        time.sleep(1.5)
        return (process,), {}

    def interrupt(process):
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130

    benchmark.pedantic(interrupt, setup=start, rounds=3)
