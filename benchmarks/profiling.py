"""Where a training step's time goes: torch's profiler over the loop's own step, as a table and a Chrome trace."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks import data, flops, kernels, planning, training
from benchmarks.cases import Case, Protocol
from benchmarks.errors import UserError
from benchmarks.executors.events import Limits
from benchmarks.seeds import generator
from benchmarks.train import begun, stepping
from vaezoo import build, initialise

WARM_UP = 20
SHOWN = 0.01  # of the time; smaller operations are added up
STEP = "Python, between operations"
FUSED = re.compile(r"graph_\d+_cpp_fused_+(.*?)_?\d*")
PRODUCT = re.compile(r"(aten::|aoti_torch_cpu_)(add)?(b?mm)(_out)?")


@dataclass(frozen=True)
class Line:
    """An operation: how often it runs in a step, and the seconds that it takes there itself."""

    operation: str
    calls: float
    seconds: float


def run(case: Case, steps: int, trace: Path) -> str:
    """Profile so many steps of a case's training; leaves the trace and returns the text to be printed."""
    protocol = case.protocol
    (case,) = training.prepare([case], 1, Limits())
    kernels.settle(protocol.threads, protocol.precision)
    variant = planning.entry(case).variant
    images = data.load(protocol.dataset, case.data_folder, protocol.binarization, protocol.device).train
    try:
        model = build(variant, planning.spec(protocol), protocol.latent_dim)
        initialise(model, lambda name: generator(case.seed, f"init/{name}"))
        model.to(protocol.device)
        advance = stepping(begun(model, variant, images, protocol, case.seed), variant, images, protocol, case.step)
        advance(torch.arange(protocol.batch_size, device=protocol.device))
    except Exception as error:  # of a plug-in's
        raise UserError(
            f"{case.variant} fails in its first step: {type(error).__name__}: {error}; mend it, and profile it again"
        ) from error
    minibatches = _minibatches(images, protocol)

    def several(count: int) -> float:
        start = kernels.now(protocol.device)
        for rows in itertools.islice(minibatches, count):
            with record_function(STEP):
                advance(rows)
        return (kernels.now(protocol.device) - start) / count

    several(WARM_UP)
    seconds = several(steps)
    rate = kernels.matrix_rate(protocol.device)
    with profile(activities=_activities(protocol.device)) as found:
        several(steps)
    trace.parent.mkdir(parents=True, exist_ok=True)
    found.export_chrome_trace(str(trace))
    events = [Line(e.key, e.count / steps, _own(e, protocol.device) / steps) for e in found.key_averages()]
    return "\n\n".join(
        [_head(case, seconds, rate), table(events), f"{trace}: open it in chrome://tracing or ui.perfetto.dev"]
    )


def _head(case: Case, seconds: float, rate: float) -> str:
    protocol, variant = case.protocol, planning.entry(case).variant
    mode = "compiled" if case.step else "eager"
    speed = protocol.batch_size / seconds
    work = speed * flops.per_example(variant, planning.spec(protocol), protocol.latent_dim)
    return (
        f"{case.variant} on {protocol.dataset}, {mode}, threads: {protocol.threads}\n"
        f"{1e3 * seconds:.2f} ms a step of {protocol.batch_size} examples, {speed:,.0f} examples/s\n"
        f"{work / 1e9:.0f} GFLOP/s in matrix products, {work / rate:.2f} of the {rate / 1e9:.0f} of large ones here"
    )


def _minibatches(images: Tensor, protocol: Protocol) -> Iterator[Tensor]:
    order, size = generator(0, "batches"), protocol.batch_size
    while True:
        rows = torch.randperm(len(images), generator=order)[: len(images) // size * size]
        yield from rows.to(images.device).split(size)


def _activities(device: str) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, ProfilerActivity.CUDA] if device == "cuda" else [ProfilerActivity.CPU]


def _own(event: object, device: str) -> float:
    name = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    return float(getattr(event, name)) / 1e6


def named(operation: str) -> str:
    """As a reader knows it: products under one name, compiled kernels by what they fuse."""
    if match := PRODUCT.fullmatch(operation):
        return f"matrix product ({match[2] or ''}{match[3]})"
    if match := FUSED.fullmatch(operation):
        return f"compiled: {match[1].replace('_', ' ')}"
    return operation.removeprefix("aten::")


def table(events: Iterable[Line]) -> str:
    """The operations by their time, the small ones added up."""
    lines = sorted((e for e in events if e.seconds > 0), key=lambda e: -e.seconds)
    whole = sum(e.seconds for e in lines)
    large = [Line(named(e.operation), e.calls, e.seconds) for e in lines if e.seconds >= SHOWN * whole]
    rest = lines[len(large) :]
    if rest:
        large.append(Line(f"{len(rest)} others", sum(e.calls for e in rest), sum(e.seconds for e in rest)))
    width = min(72, max(len(e.operation) for e in large))
    rows = [f"{'operation':{width}}  calls a step  µs a step  share", "-" * (width + 33)]
    for e in large:
        name = e.operation if len(e.operation) <= width else f"{e.operation[: width - 3]}..."
        rows.append(f"{name:{width}}  {e.calls:12.1f}  {1e6 * e.seconds:9.0f}  {e.seconds / whole:5.1%}")
    return "\n".join(rows)
