"""Profile of a training step by torch's profiler: a table of its operations, and a Chrome trace."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, record_function
from torch.profiler import profile as torch_profile

from benchmarks.common import kernels
from benchmarks.common.errors import UserError
from benchmarks.execution.interface import Limits
from benchmarks.planning.cases import Case, Protocol
from benchmarks.planning.random_streams import make_generator
from benchmarks.reporting.formats import text_table
from benchmarks.training.loop import make_step
from benchmarks.training.state import initial_state, setup_case
from benchmarks.training.step import count_flops
from benchmarks.training.task import prepare_cells

WARM_UP_STEPS = 20
MIN_SHARE = 0.01  # of the time
MAX_NAME = 72  # characters
FUSED_PATTERN = re.compile(r"graph_\d+_cpp_fused_+(.*?)_?\d*")
PRODUCT_PATTERN = re.compile(r"(aten::|aoti_torch_cpu_)(add)?(b?mm)(_out)?")


def profile_step(case: Case, steps: int, trace: Path) -> str:
    """Profile training steps of a case, write the trace, and return the text to print."""
    protocol = case.protocol
    (case,) = prepare_cells([case], 1, Limits())
    kernels.configure_kernels(protocol.threads, protocol.precision, protocol.batch_size)
    try:
        setup = setup_case(case)
        advance = make_step(initial_state(setup), setup)
        advance(torch.arange(protocol.batch_size, device=protocol.device))
    except Exception as error:  # any error of a plug-in
        raise UserError(
            f"{case.variant} fails in its first step: {type(error).__name__}: {error}; fix that and run again"
        ) from error
    minibatches = _draw_minibatches(setup.data.train, protocol)

    def run_steps(count: int) -> float:
        start = kernels.read_clock(protocol.device)
        for rows in itertools.islice(minibatches, count):
            with record_function("Python, between operations"):
                advance(rows)
        return (kernels.read_clock(protocol.device) - start) / count

    run_steps(WARM_UP_STEPS)
    seconds = run_steps(steps)
    rate = kernels.measure_matrix_rate(protocol.device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if protocol.device == "cuda" else [])]
    with torch_profile(activities=activities) as profiler:
        run_steps(steps)
    trace.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(trace))
    self_time = "self_device_time_total" if protocol.device == "cuda" else "self_cpu_time_total"
    events = [(e.key, e.count / steps, float(getattr(e, self_time)) / 1e6 / steps) for e in profiler.key_averages()]
    speed = protocol.batch_size / seconds
    work = speed * count_flops(setup.variant, setup.spec, protocol.latent_dim)
    return (
        f"{case.variant} on {protocol.dataset}, {'compiled' if case.step else 'eager'}, threads: {protocol.threads}\n"
        f"{1e3 * seconds:.2f} ms per step of {protocol.batch_size} examples, {speed:,.0f} examples/s\n"
        f"{work / 1e9:.0f} GFLOP/s in matrix products; large ones reach {rate / 1e9:.0f} here "
        f"(ratio {work / rate:.2f})\n\n"
        f"{_render_operations(events)}\n\n{trace}: open it in chrome://tracing or ui.perfetto.dev"
    )


def _draw_minibatches(images: Tensor, protocol: Protocol) -> Iterator[Tensor]:
    order, size = make_generator(0, "batches"), protocol.batch_size
    while True:
        rows = torch.randperm(len(images), generator=order)[: len(images) // size * size]
        yield from rows.to(images.device).split(size)


def _name_operation(operation: str) -> str:
    """Return a readable name: one name for all matrix products, and the fused operations of a compiled kernel."""
    if match := PRODUCT_PATTERN.fullmatch(operation):
        return f"matrix product ({match[2] or ''}{match[3]})"
    if match := FUSED_PATTERN.fullmatch(operation):
        return f"compiled: {match[1].replace('_', ' ')}"
    return operation.removeprefix("aten::")


def _render_operations(events: Sequence[tuple[str, float, float]]) -> str:
    """Return a table of events (operation, calls per step, own seconds per step), the longest first.

    Operations below `MIN_SHARE` of the time are summed in the last row.
    """
    operations = sorted(((name, calls, s) for name, calls, s in events if s > 0), key=lambda event: -event[2])
    total = sum(s for _, _, s in operations)
    entries = [(_name_operation(name)[:MAX_NAME], calls, s) for name, calls, s in operations if s >= MIN_SHARE * total]
    if rest := operations[len(entries) :]:
        entries.append((f"{len(rest)} others", sum(calls for _, calls, _ in rest), sum(s for _, _, s in rest)))
    rows = [[name, f"{calls:.1f}", f"{1e6 * s:.0f}", f"{s / total:.1%}"] for name, calls, s in entries]
    return text_table(["operation", "calls per step", "µs per step", "share"], rows, ("left", *["right"] * 3))
