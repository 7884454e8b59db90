"""The training step as machine code: traced and compiled once on a machine, then loaded by every cell in milliseconds.

The whole step is one graph: gradient, Adam and the baseline's moving average. Whether it is used is a function of
protocol, machine and libraries alone, never of how long something took.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

import vaezoo
from benchmarks import cases, data, plugins
from benchmarks.adam import Adam, started, written_out
from benchmarks.cases import Case
from benchmarks.environment import processor
from benchmarks.executors import processes
from benchmarks.step import step
from vaezoo import Model, Variant, build

SAVED_BY_STEP = 1e-3  # seconds, by not launching each operation from Python
SAVED_BY_FLOP = 1e-12  # seconds, by fewer passes through memory
PAYS = 1.7  # seconds of one cell; compiling takes ten times as long, once
CODE = ("vaezoo/*.py", "benchmarks/adam.py", "benchmarks/step.py", "benchmarks/compiling.py")

Step = Callable[[Tensor, Tensor], Tensor]


def compiler() -> str | None:
    """The C++ compiler's path; None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def saves(variant: Variant, protocol: cases.Protocol, examples: int) -> float:
    """Seconds that a compiled step is expected to save in one cell's training on so many examples."""
    model = build(variant, cases.spec(protocol), protocol.latent_dim)
    encoder, decoder = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder))
    flops = 6 * protocol.batch_size * (encoder + variant.draws * decoder)
    steps = protocol.epochs * (examples // protocol.batch_size)
    return steps * (SAVED_BY_STEP + SAVED_BY_FLOP * flops)


def artefact(case: Case) -> Path | None:
    """Where the case's compiled step lies, or is to lie; None where it is to run uncompiled."""
    return _artefact(case.variant, case.draws, case.source, case.protocol, case.data_folder, compiler())


@functools.cache
def _artefact(
    name: str, draws: int, source: str, protocol: cases.Protocol, data_folder: str, cxx: str | None
) -> Path | None:
    entry = plugins.find(name, draws, [source] if source else [])
    examples = len(np.load(Path(data_folder) / "train.npy", mmap_mode="r"))
    try:
        pays = saves(entry.variant, protocol, examples) > PAYS
    except Exception:  # an architecture that fails does so again in its cell, which says how
        return None
    if cxx is None or protocol.device != "cpu" or not pays:
        return None
    key = cases.identifier(
        {
            "variant": cases.fields(entry),
            "spec": repr(cases.spec(protocol)),
            "sizes": [protocol.batch_size, protocol.latent_dim, protocol.precision],
            "code": _code(),
            "machine": [
                platform.machine(),
                processor()["model name"],
                torch.__version__,
                torch.backends.cpu.get_cpu_capability(),
            ],
            "compiler": [cxx, Path(cxx).stat().st_size],
        }
    )
    return data.cache_root() / "steps" / f"{name}-{key}.pt2"


@functools.cache
def _code() -> str:
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for pattern in CODE:
        for path in sorted(root.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def find(case: Case) -> Path | None:
    """The case's compiled step; None where it runs uncompiled."""
    path = artefact(case)
    return path if path is not None and path.is_file() else None


def _refused(path: Path) -> Path:
    return path.with_suffix(".refused")


def prepare(wanted: Iterable[Case], workers: int) -> None:
    """Compile the steps of these cases that are not there yet, and say which have to run uncompiled."""
    paths = {path: case for case in wanted if (path := artefact(case)) is not None}
    missing = {path: case for path, case in paths.items() if not path.is_file() and not _refused(path).is_file()}
    if missing:
        print(f"compiling the training step of {len(missing)} variants, once on this machine", file=sys.stderr)
        with contextlib.closing(processes(work, list(missing.values()), "", workers)) as events:
            for _ in events:
                pass
    for path, case in paths.items():
        if not path.is_file():
            reason = _refused(path).read_text() if _refused(path).is_file() else "its compilation was killed"
            print(f"{case.variant} trains uncompiled: {reason}; see {path.with_suffix('.log')}", file=sys.stderr)


def work(case: Case, _: str) -> None:
    """Compile one step, or leave the reason why it can't be: what a process of its own does."""
    path = artefact(case)
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(data.cache_root() / "inductor"))
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    with path.with_suffix(".log").open("w") as log:
        for stream in (1, 2):  # a compiler's notes are for whoever looks for them
            os.dup2(log.fileno(), stream)
        try:
            _compile(case, path)
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            _refused(path).write_text(f"{type(error).__name__}: {lines[0]}")
            raise


def _compile(case: Case, path: Path) -> None:
    torch.set_num_threads(1)
    variant, protocol = cases.entry(case).variant, case.protocol
    spec = cases.spec(protocol)
    model = build(variant, spec, protocol.latent_dim)
    x = torch.zeros(protocol.batch_size, *spec.shape)
    noise = torch.zeros(variant.draws, protocol.batch_size, protocol.latent_dim)
    graph, inputs = traced(variant, model, x, noise, protocol.precision)

    from torch._inductor import aoti_compile_and_package

    exported = torch.export.export(graph, inputs, strict=False)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = aoti_compile_and_package(
            exported,
            package_path=str(Path(folder) / path.name),
            inductor_configs={"cpp.enable_kernel_profile": True},  # so that a profiler tells kernels apart
        )
        Path(made).replace(path)


Inputs = tuple[list[Tensor], Tensor, Tensor, Tensor]


def traced(variant: Variant, model: Model, x: Tensor, noise: Tensor, precision: str) -> tuple[torch.nn.Module, Inputs]:
    """The step as a graph of tensor operations on (Adam's tensors, average, x, noise), and example inputs."""
    from torch.fx.experimental.proxy_tensor import make_fx

    names = [name for name, _ in model.named_parameters()]
    count = len(names)

    def function(tensors: list[Tensor], average: Tensor, x: Tensor, noise: Tensor) -> Tensor:
        own = Adam(tensors[:count], tensors[count : 2 * count], tensors[2 * count : 3 * count], *tensors[3 * count :])
        leaves = {n: p.detach().requires_grad_() for n, p in zip(names, own.parameters, strict=True)}
        whole: Tensor = functional_call(
            model, leaves, (lambda m, x, noise: step(variant, m, own, average, precision, x, noise), x, noise)
        )
        return whole

    start = [p.detach().clone() for p in model.parameters()]
    average = vaezoo.started(variant, model, x, noise)
    inputs = (started(start, 1e-3).tensors, average, x, noise)
    table = {torch.ops.aten._fused_adam_.tensor_lr: written_out}
    return make_fx(function, decomposition_table=table)(*inputs), inputs


def load(path: Path, adam: Adam, average: Tensor) -> Step:
    """The compiled step on these tensors, which it changes in place.

    Without torch's public loader, which imports the whole compiler: a second in every cell.
    """
    run = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", True, 1, -1)
    state = [*(t.detach() for t in adam.tensors), average]

    def compiled(x: Tensor, noise: Tensor) -> Tensor:
        loss: Tensor = run.boxed_run([*state, x, noise])[0]
        return loss

    return compiled
