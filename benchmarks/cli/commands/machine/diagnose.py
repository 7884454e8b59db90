"""`doctor`: look at this machine, and say what a run would do here and why."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.cli.options import Out, option
from benchmarks.common.errors import ExitCode, StoppedError, UserError

if TYPE_CHECKING:
    from benchmarks.common.machine.checks import Check


def diagnose(
    json_: Annotated[bool, option("Print the checks as JSON.", "text", "--json")] = False, out: Out = Path("results")
) -> int:
    """Look at this machine: say what a run would do here, why, and what to do. Exit code 2 if no run can work."""
    from benchmarks.common.machine import checks

    results = [*checks.list_checks(out), *_check_libraries()]
    if json_:
        print(json.dumps({"checks": [dataclasses.asdict(check) for check in results]}, indent=1))
    else:
        print("\n".join(_describe(check) for check in results))
    return ExitCode.INCOMPLETE if any(check.state == "fault" for check in results) else ExitCode.OK


def _describe(check: Check) -> str:
    from benchmarks.reporting.formats import terminal_width

    text = f"{check.fact}. To do: {check.remedy}." if check.remedy else f"{check.fact}."
    head = f"{check.state:5}  {check.name:15}  "
    return textwrap.fill(text, max(60, terminal_width()), initial_indent=head, subsequent_indent=" " * len(head))


def _check_libraries() -> Iterator[Check]:
    """Yield the checks that import torch, in a process of its own."""
    from benchmarks.common import environment
    from benchmarks.common.machine.checks import Check
    from benchmarks.execution import isolated_call

    try:
        torch, faults = isolated_call.call_isolated(_look_at_torch)
    except (StoppedError, UserError) as error:
        reason = " ".join(str(error).split())
        yield Check("torch", reason, "reinstall torch, or raise the limits of memory and processes", "fault")
        return
    yield Check("torch", f"{environment.read_torch_version()}; {torch}")
    for fault in faults:
        yield Check("plug-ins", fault, "without it, all other variants can be used", "note")


def _look_at_torch() -> tuple[str, list[str]]:
    """Return the kernels and GPUs of torch, and why installed packages of variants are left out."""
    import torch

    from benchmarks.common import kernels
    from benchmarks.planning import registry

    kernels.configure_kernels(1)
    count = torch.cuda.device_count()
    devices = ", ".join(torch.cuda.get_device_name(i) for i in range(count)) or "none"
    products = f"float32 products by {kernels.choose_library()}, relative error {kernels.measure_product_error():.0e}"
    return f"{products}; GPUs: {devices}", registry.load_installed().faults
