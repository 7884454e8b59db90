"""Helpers and fixtures that tests share: small models in float64, gradients and their moments, runs of the commands."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import filelock
import hypothesis
import jaxtyping
import pandas as pd
import pytest
import torch

from benchmarks.reporting.metrics import TIMINGS
from benchmarks.reporting.results_table import PROVENANCE
from tests import monte_carlo
from tests.oracles import LinearGaussian, expected_log_px
from vaezoo import VARIANTS, DataSpec, FittedVariant, Variant, elbo, estimate, initialise, measure, mlp_normal, pathwise
from vaezoo.gradients import leading_spread
from vaezoo.testing import expectation

ROOT = Path(__file__).parent.parent
hypothesis.settings.register_profile("default", max_examples=20, derandomize=True)  # tests say the same each time
hypothesis.settings.register_profile("faults", max_examples=300)
hypothesis.settings.load_profile("default")
torch.set_num_threads(1)  # the tests' own processes share the cores; more threads than cores wait for each other


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


def estimate_function(v):
    """The variant's estimate as a function of (model, x, noise)."""
    return lambda model, x, noise: estimate(v, model, x, noise, x.new_zeros(()))


def flat_gradient(model, value):
    """The gradient of a scalar in all parameters, flattened by part."""
    return {part: expectation.flat_gradient(model, value, part) for part in expectation.PARTS}


def moments(model, v, x, noise, spread_of_layer=leading_spread, route=None):
    """Moments of the variant's gradient by part of the model; the decoder is left out if `spread_of_layer` is None.

    route: a known route, which saves the test for it where a test measures hundreds of times.
    """
    variants, routes = {v.name: FittedVariant(v)}, {v.name: route} if route else {}
    by_key = measure(model, variants, x, lambda rows: noise[:, :, rows], spread_of_layer, routes)[v.name].moments
    return {part: by_key[part, ""] for part in expectation.PARTS if (part, "") in by_key}


def linear_gaussian_oracle(model):
    """The linear-Gaussian model with the parameters of a linear decoder."""
    layer = model.decoder.network[-1]
    return LinearGaussian(layer.weight, layer.bias, model.decoder.likelihood.scale)


def exact_elbo(model, x):
    q = model.encoder(x)
    return expected_log_px(linear_gaussian_oracle(model), x, q) - model.prior.kl(q)


@pytest.fixture(scope="session")
def tools():
    """The helpers above, as one fixture."""
    helpers = (generator, normal, build, variant, estimate_function, flat_gradient, moments, linear_gaussian_oracle)
    helpers += (exact_elbo, monte_carlo.draw_gradients, monte_carlo.largest_z)
    return SimpleNamespace(**{function.__name__: function for function in helpers})


@pytest.fixture
def unchecked_types():
    """For tests that make thousands of calls: without the check of types and shapes, which other tests have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


DISCRETE = ("bernoulli-loo", "bernoulli-disarm", "bernoulli-rebar", "bernoulli-gumbel", "categorical-loo")
FINISHED = [v.name for v in VARIANTS if not v.latent_dim or v.name in DISCRETE]
TINY = """
dataset = "digits"
seeds = 2
epochs = 2
checkpoints = [0, 1, 2]
batch_size = 50
latent_dim = 10
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
def ask(cache):
    """Like `command`, but without the seconds for imports: processes forked where torch is already imported."""
    program = [sys.executable, ROOT / "tests" / "benchmarks" / "command_server.py"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:

        def run(*arguments, folder=ROOT, **environment):
            request = [str(a) for a in arguments], str(folder), environment
            print(json.dumps(request), file=server.stdin, flush=True)
            return subprocess.CompletedProcess(arguments, *json.loads(server.stdout.readline()))

        yield run
        server.stdin.close()


@pytest.fixture(scope="session")
def make_once(tmp_path_factory, worker_id):
    """Let one of pytest's workers run a command for all: make_once(name, execute) -> folder, and what it printed.

    execute: a function that runs the command for a given folder, and returns its CompletedProcess.
    """
    base = tmp_path_factory.getbasetemp()
    out = base if worker_id == "master" else base.parent  # the parent is that of all workers

    def make(name, execute):
        folder, printed = out / name, out / f"{name}.json"
        with filelock.FileLock(out / f"{name}.lock"):
            if not printed.is_file():
                folder.mkdir(exist_ok=True)
                done = execute(folder)
                assert done.returncode == 0, done.stderr
                printed.write_text(json.dumps({"stdout": done.stdout, "stderr": done.stderr}))
        return SimpleNamespace(folder=folder, **json.loads(printed.read_text()))

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory, make_once, command, tiny):
    """A finished run of most variants on the tiny preset: a copy of its folder, and what the command printed."""
    run = ("run", *FINISHED, "--preset", tiny, "--name", "tiny", "--workers", 2, "--keep-models")
    shared = make_once("all-variants", lambda out: command(*run, "--out", out))
    folder = tmp_path_factory.mktemp("results") / "tiny"
    shutil.copytree(shared.folder / "tiny", folder)
    shared.stdout = shared.stdout.replace(str(shared.folder / "tiny"), str(folder))
    return SimpleNamespace(folder=folder, stdout=shared.stdout, stderr=shared.stderr)


@pytest.fixture(scope="session")
def words(tiny):
    """The command of a small run of four cells: words(out, name, *more)."""

    def make(out, name, *more):
        return ["run", "vae", "reinforce-vae", "--preset", tiny, "--no-figures", "--out", out, "--name", name, *more]

    return make


@pytest.fixture(scope="session")
def undisturbed(make_once, ask, words):
    """The folder of that run, when nothing goes wrong."""
    return make_once("undisturbed", lambda out: ask(*words(out, "run"))).folder / "run"


LOOSE = TIMINGS | {column.name for column in PROVENANCE} - {"cell_id", "protocol_id", "data_checksum", "error"}


@pytest.fixture(scope="session")
def numbers():
    """results.csv of a folder as text, without timings, memory and provenance."""
    return lambda folder: pd.read_csv(folder / "results.csv", dtype=str).drop(columns=sorted(LOOSE))


@pytest.fixture(scope="session")
def start_command():
    """A command in a session of its own that has written `landmark`; nothing of it is left behind."""

    @contextlib.contextmanager
    def start(arguments, landmark, **environment):
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        variables = {**os.environ, **environment}
        with subprocess.Popen(arguments, start_new_session=True, cwd=ROOT, env=variables, **pipes) as process:
            try:
                deadline = time.monotonic() + 60
                while not landmark.exists() and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    return start
