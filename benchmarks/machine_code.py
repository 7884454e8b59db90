"""A training step as machine code: traced to a graph, compiled, loaded onto a cell's tensors, and checked there."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

import vaezoo
from benchmarks.adam import Adam, started, written_out
from benchmarks.step import step
from vaezoo import Model, Variant

AGREEMENT = {"float32": 1e-3, "bfloat16": 0.1}  # of gradients, relative

Step = Callable[[Tensor, Tensor], Tensor]
Inputs = tuple[list[Tensor], Tensor, Tensor, Tensor]


def exported(variant: Variant, model: Model, x: Tensor, noise: Tensor, precision: str) -> torch.export.ExportedProgram:
    """The step as a program for the compiler; refuses a model whose state is more than its parameters."""
    if names := [name for name, _ in model.named_buffers()]:
        raise TypeError(f"its model has buffers ({', '.join(names)}), which would be frozen")
    graph, inputs = traced(variant, model, x, noise, precision)
    return torch.export.export(graph, inputs, strict=False)


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


def compile_to(path: Path, program: torch.export.ExportedProgram) -> None:
    """Leave the machine code there, whole or not at all."""
    from torch._inductor import aoti_compile_and_package

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = aoti_compile_and_package(
            program,
            package_path=str(Path(folder) / path.name),
            inductor_configs={"cpp.enable_kernel_profile": True},  # so that a profiler tells kernels apart
        )
        Path(made).replace(path)


def load(path: str, adam: Adam, average: Tensor) -> Step:
    """The compiled step on these tensors, which it changes in place.

    Without torch's public loader, which imports the whole compiler: a second in every cell.
    """
    run = torch._C._aoti.AOTIModelPackageLoader(path, "model", True, 1, -1)
    state = [*(t.detach() for t in adam.tensors), average]

    def compiled(x: Tensor, noise: Tensor) -> Tensor:
        loss: Tensor = run.boxed_run([*state, x, noise])[0]
        return loss

    return compiled


def check(path: str, variant: Variant, model: Model, average: Tensor, precision: str, x: Tensor, noise: Tensor) -> None:
    """Refuse machine code whose gradient is not the plain step's: what a plug-in imports may have changed since."""

    def gradient(machine: bool) -> Tensor:
        own, mean = copy.deepcopy(model), average.clone()
        optimizer = started(own.parameters(), 1e-3)
        if machine:
            load(path, optimizer, mean)(x, noise)
        else:
            step(variant, own, optimizer, mean, precision, x, noise)
        return torch.cat([m.flatten() for m in optimizer.means])

    mend = f"delete {path}, or compile nothing with CXX=none"
    try:
        plain, found = gradient(machine=False), gradient(machine=True)
    except RuntimeError as error:
        raise RuntimeError(f"the compiled step can't be used: {error}; {mend}") from error
    if plain.isfinite().all() and not (found - plain).norm() <= AGREEMENT[precision] * plain.norm():
        raise RuntimeError(f"the compiled step has another gradient than the plain one; {mend}")
