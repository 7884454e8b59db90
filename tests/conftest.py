"""What tests share: small models in float64, gradients of single draws, and a test of their mean."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.func import functional_call, grad, vmap

from vaezoo import DataSpec, Variant, elbo, estimate, initialise, mlp_normal, pathwise
from vaezoo.oracles import LinearGaussian

ROOT = Path(__file__).parent.parent


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def build(architecture=mlp_normal, shape=(3,), likelihood="gaussian", hidden=(), latent_dim=2, seed=1):
    model = architecture(DataSpec(shape, likelihood, hidden), latent_dim).double()
    source = generator(seed)
    initialise(model, lambda name: source)
    return model


def variant(objective=elbo, estimator=pathwise, draws=1):
    return Variant("ad-hoc", mlp_normal, objective, estimator, draws)


def of_variant(v):
    return lambda model, x, noise: estimate(v, model, x, noise, x.new_zeros(()))


def gradient_draws(model, function, x, noise):
    """The minibatch gradient of each repeat of the noise [R, K, B, D], flattened by part: {part: [R, P]}."""
    parameters = {name: p.detach() for name, p in model.named_parameters()}

    def mean(parameters, noise):
        return functional_call(model, parameters, (function, x, noise)).mean()

    found = vmap(grad(mean), (None, 0), chunk_size=5000)(parameters, noise)
    return {
        part: torch.cat([g.flatten(1) for name, g in found.items() if name.startswith(part)], 1)
        for part in ("encoder", "decoder")
    }


def flat_gradient(model, value):
    """The gradient of a scalar in all parameters, flattened by part."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True, materialize_grads=True)
    return {
        part: torch.cat([g.flatten() for name, g in zip(names, found, strict=True) if name.startswith(part)])
        for part in ("encoder", "decoder")
    }


def worst_z(draws, exact):
    """The largest |mean - exact| in standard errors over coordinates; coordinates without spread must agree."""
    error = (draws.mean(0) - exact).abs()
    se = draws.std(0) / len(draws) ** 0.5
    still = se < 1e-14
    if (error[still] > 1e-10).any():
        return float("inf")
    return (error[~still] / se[~still]).max().item() if (~still).any() else 0.0


def oracle_of(model):
    """The linear-Gaussian model that a linear decoder is."""
    layer = model.decoder.network[-1]
    return LinearGaussian(layer.weight, layer.bias, model.decoder.likelihood.scale)


def exact_elbo(model, x):
    q = model.encoder(x)
    return oracle_of(model).expected_log_px(x, q) - model.prior.kl(q)


@pytest.fixture(scope="session")
def tools():
    """The helpers above, as one fixture."""
    names = "generator normal build variant of_variant gradient_draws flat_gradient worst_z oracle_of exact_elbo"
    return SimpleNamespace(**{name: globals()[name] for name in names.split()})


TINY = """
dataset = "digits"
seeds = 2
epochs = 2
checkpoints = [0, 1, 2]
batch_size = 50
evaluation_draws = 4
log_likelihood_draws = 8
gradient_repeats = 6
"""


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Decoded data go to a folder of the tests' own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAEZOO_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A preset whose cells take a blink, as a path."""
    path = tmp_path_factory.mktemp("preset") / "tiny.toml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture(scope="session")
def command():
    """Runs `python -m benchmarks` as a process: command(*arguments) -> CompletedProcess with text output."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "benchmarks", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory, command, tiny):
    """A finished run of all variants on the tiny preset: its folder and what the command printed."""
    out = tmp_path_factory.mktemp("results")
    done = command("run", "--all", "--preset", tiny, "--out", out, "--name", "tiny", "--workers", 2)
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(folder=out / "tiny", stdout=done.stdout, stderr=done.stderr)
