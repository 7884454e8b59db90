"""Compiled training steps: the rule that decides which cells have one, compiling it once per machine, and loading it.

The decision depends on variant, protocol, machine and libraries, and not on measured times.
"""

from __future__ import annotations

import copy
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from torch.func import functional_call

import vaezoo
from benchmarks.common import cache_paths
from benchmarks.common.environment import hash_modules, read_processor
from benchmarks.common.machine import compiler
from benchmarks.execution.child_process import lift_memory_limit
from benchmarks.planning import model_specs, planner
from benchmarks.planning.cases import Case, Protocol, hash_identity
from benchmarks.planning.schedules import CONSTANT, OptimizerSettings, parse_optimizer
from benchmarks.training import step
from benchmarks.training.step import ADAM, Optimizer, fused_adam_decomposition, initial_optimizer, take_step
from vaezoo import DataSpec, Model, Variant, build

SECONDS_SAVED_PER_STEP = 1e-3  # because Python does not launch each operation
SECONDS_SAVED_PER_FLOP = 1e-12  # because data pass fewer times through memory
MIN_SAVED_SECONDS = 1.7  # of one cell; compiling takes ten times as long, but only once


def estimate_saved_seconds(variant: Variant, spec: DataSpec, protocol: Protocol, examples: int) -> float:
    """Return an estimate of the seconds that a compiled step saves in one cell. examples: size of the training set."""
    model = build(variant, spec, protocol.latent_dim)
    encoder, decoder = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder))
    flops = 6 * protocol.batch_size * (encoder + variant.draws * decoder)
    steps = protocol.epochs * (examples // protocol.batch_size)
    return steps * (SECONDS_SAVED_PER_STEP + SECONDS_SAVED_PER_FLOP * flops)


def choose_step_path(case: Case) -> Path | None:
    """Return the path of the case's compiled step, which may not exist yet; None if the step runs uncompiled."""
    entry, protocol, cxx = planner.find_registered(case), case.protocol, compiler.find_compiler()
    spec, count = model_specs.read_spec(case), len(np.load(Path(case.data_folder) / "train.npy", mmap_mode="r"))
    try:
        saved_seconds = estimate_saved_seconds(entry.variant, spec, protocol, count - protocol.held_out)
    except (Exception, SystemExit):  # the architecture fails again in the cell, which records the error
        return None
    is_compiled = compiler.name_compiler() != compiler.DISABLED and protocol.device == "cpu"
    if not is_compiled or saved_seconds <= MIN_SAVED_SECONDS:
        return None
    capability = torch.backends.cpu.get_cpu_capability()
    key = hash_identity(
        {
            "variant": planner.describe_variant(entry),
            "spec": model_specs.describe_spec(spec, case.architecture_fingerprint),
            "settings": [protocol.batch_size, protocol.latent_dim, protocol.precision, protocol.threads],
            "schedule": [protocol.optimizer, count_scheduled(protocol)],
            "code": hash_modules(vaezoo, step, sys.modules[__name__])[:12],
            "machine": [platform.machine(), read_processor(), torch.__version__, capability],
            "compiler": [cxx, Path(cxx).stat().st_size] if cxx else [],
        }
    )
    return cache_paths.cache_root() / "steps" / f"{case.variant}-{key}.pt2"


def compile_step(case: Case, _: str) -> None:
    """Compile a case's step to the file `case.step`, or write the reason why it cannot be compiled beside it."""
    path = Path(case.step)
    lift_memory_limit()
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # the first of several processes compiles it for all
        if path.is_file():
            return
        for name in [name for name in os.environ if name.startswith("TORCHINDUCTOR_")]:
            del os.environ[name]  # the file name does not depend on these settings
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(compiler.find_program_folder() / "inductor")
        os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
        with path.with_suffix(".log").open("w") as log:
            for stream in (1, 2):  # the output of the compiler goes to the log file
                os.dup2(log.fileno(), stream)
            try:
                program = export_step(case)
            except (MemoryError, OSError):
                raise
            except Exception as error:  # permanent, because the variant raised it; compiler errors are tried again
                reason = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
                path.with_suffix(".refused").write_text(reason)
                raise
            compile_program(path, program)


GRADIENT_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}  # relative

Step = Callable[[Tensor, Tensor, Tensor], Tensor]


def count_scheduled(protocol: Protocol) -> int:
    """Return how many numbers of the progress a step needs: the share of training, and the weight of the KL."""
    return 1 if protocol.kl_schedule == CONSTANT else 2


def export_step(case: Case) -> torch.export.ExportedProgram:
    """Return a case's step as a program for the compiler."""
    variant, protocol = planner.find_registered(case).variant, case.protocol
    torch.set_num_threads(protocol.threads)  # the compiled code has this number of threads
    spec = model_specs.read_spec(case)
    model = build(variant, spec, protocol.latent_dim)
    x = torch.zeros(protocol.batch_size, *spec.shape)
    noise = torch.zeros(variant.draws, protocol.batch_size, protocol.latent_dim)
    settings, progress = parse_optimizer(protocol.optimizer), torch.ones(count_scheduled(protocol))
    traced = trace_step(variant, model, x, noise, progress, protocol.precision, settings)
    return torch.export.export(*traced, strict=False)


def trace_step(
    variant: Variant,
    model: Model,
    x: Tensor,
    noise: Tensor,
    progress: Tensor,
    precision: str,
    settings: OptimizerSettings = ADAM,
) -> tuple[torch.nn.Module, tuple[Any, ...]]:
    """Return the step as a graph of operations on (optimizer, average, x, noise, progress), and example inputs.

    Raises `TypeError` for a model with buffers.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    if buffers := [name for name, _ in model.named_buffers()]:
        raise TypeError(f"the model has buffers ({', '.join(buffers)}), which would be constants in a compiled step")
    names = [name for name, _ in model.named_parameters()]
    count = len(names)

    def run(tensors: list[Tensor], average: Tensor, x: Tensor, noise: Tensor, progress: Tensor) -> Tensor:
        parts = tensors[:count], tensors[count : 2 * count], tensors[2 * count : 3 * count]
        optimizer = Optimizer(*parts, tensors[-2], tensors[-1], settings)
        leaves = {n: p.detach().requires_grad_() for n, p in zip(names, optimizer.parameters, strict=True)}

        def step(m: Model, x: Tensor, noise: Tensor) -> Tensor:
            return take_step(variant, m, optimizer, average, precision, x, noise, progress)

        loss: Tensor = functional_call(model, leaves, (step, x, noise))
        return loss

    start = [p.detach().clone() for p in model.parameters()]
    average = vaezoo.initial_average(variant, model, x, noise)
    inputs = (initial_optimizer(start, 1e-3, settings).tensors, average, x, noise, progress)
    table = {torch.ops.aten._fused_adam_.tensor_lr: fused_adam_decomposition}
    return make_fx(run, decomposition_table=table)(*inputs), inputs


def compile_program(path: Path, program: torch.export.ExportedProgram) -> None:
    """Compile the program and move the finished file to the path."""
    from torch._inductor import aoti_compile_and_package

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        options = {"cpp.enable_kernel_profile": True}  # so that a profiler shows each kernel
        package = str(Path(folder) / path.name)
        Path(aoti_compile_and_package(program, package_path=package, inductor_configs=options)).replace(path)


def load_step(path: str, optimizer: Optimizer, average: Tensor) -> Step:
    """Return the compiled step; it changes these tensors in place.

    torch's public loader is not used, because it imports the compiler, which takes a second in every cell.
    """
    package = torch._C._aoti.AOTIModelPackageLoader(path, "model", True, 1, -1)
    state = [*(t.detach() for t in optimizer.tensors), average]
    return lambda x, noise, progress: package.boxed_run([*state, x, noise, progress])[0]


def check_step(
    path: str,
    variant: Variant,
    model: Model,
    average: Tensor,
    precision: str,
    x: Tensor,
    noise: Tensor,
    progress: Tensor,
    settings: OptimizerSettings = ADAM,
) -> None:
    """Raise `RuntimeError` if the compiled step cannot run or has another gradient than the uncompiled step.

    A module that a plug-in imports may have changed since the step was compiled.
    """

    def compute_gradient(compiled: bool) -> Tensor:
        model_copy, average_copy = copy.deepcopy(model), average.clone()
        optimizer = initial_optimizer(model_copy.parameters(), 1e-3, settings)
        if compiled:
            load_step(path, optimizer, average_copy)(x, noise, progress)
        else:
            take_step(variant, model_copy, optimizer, average_copy, precision, x, noise, progress)
        return torch.cat([m.flatten() for m in optimizer.means])

    remedy = "delete that file and run again, or set CXX=none to compile nothing"
    try:
        expected, gradient = compute_gradient(compiled=False), compute_gradient(compiled=True)
    except RuntimeError as error:
        raise RuntimeError(f"the compiled step {path} cannot run: {error}; {remedy}") from error
    size, difference, tolerance = expected.norm(), (gradient - expected).norm(), GRADIENT_TOLERANCE[precision]
    if expected.isfinite().all() and not difference <= tolerance * size:
        raise RuntimeError(
            f"the gradient of the compiled step {path} differs from that of the uncompiled step by "
            f"{difference / size:.1e}, more than {tolerance}; {remedy}"
        )
