"""The task of the runner whose cells train a variant. Only the processes of the cells import torch."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.atomic_files import Record
from benchmarks.common.machine import compiler
from benchmarks.execution import isolated_call
from benchmarks.execution.interface import Limits, Task
from benchmarks.execution.local import run_processes
from benchmarks.planning.cases import Case
from benchmarks.planning.settings import Settings
from benchmarks.reporting import results_table
from benchmarks.runs.cell_files import has_model
from benchmarks.runs.runner import Kind

MAX_PLANNING_SECONDS = 60.0  # to build the models of a plan, which usually takes 1 s; at most a cell's time limit


def plan_run(
    settings: Settings,
    names: Sequence[str],
    plugin_files: Sequence[Path],
    data_root: Path | None,
    snapshot: float,
    keep_models: bool,
    family: str = "",
) -> list[Case]:
    """Plan the cases of these variants, or of all if `names` is empty, and prepare their data, in another process."""
    plan = isolated_call.call_isolated(_plan_run, settings, names, plugin_files, data_root, snapshot, family)
    return [dataclasses.replace(case, keep_model=keep_models) for case in plan]


def _plan_run(*arguments: Any) -> list[Case]:
    from benchmarks.planning import planner

    return planner.plan_run(*arguments)


def run_cell(case: Case, folder: str) -> None:
    from benchmarks.training import cell

    cell.run_cell(case, folder)


def prepare_cells(cases: Sequence[Case], workers: int, limits: Limits) -> list[Case]:
    """Return the cases with the paths of their compiled steps, and compile those that are missing.

    Prints which variants train uncompiled although a compiled step would be faster, and why.
    """
    timeout = min(MAX_PLANNING_SECONDS, limits.timeout or MAX_PLANNING_SECONDS)
    paths = _choose_step_paths(cases, Limits(timeout, limits.memory))
    steps = {path: dataclasses.replace(case, step=str(path)) for path, case in zip(paths, cases, strict=True) if path}
    missing = [c for path, c in steps.items() if not path.is_file() and not path.with_suffix(".refused").is_file()]
    if missing and not compiler.find_compiler():
        print(
            f"the C++ compiler {compiler.name_compiler()} is not there, so {len(missing)} variants train uncompiled; "
            "install it, name another in CXX, or set CXX=none",
            file=sys.stderr,
        )
        steps = {path: case for path, case in steps.items() if path.is_file()}
    elif missing:
        print(f"compiling the training step of {len(missing)} variants, once on this machine", file=sys.stderr)
        with contextlib.closing(run_processes(_compile, missing, "", [{}] * workers)) as events:
            for _ in events:
                pass
    compiled = {path for path in steps if path.is_file()}
    for path, case in steps.items():
        if path not in compiled:
            refusal = path.with_suffix(".refused")
            reason = refusal.read_text() if refusal.is_file() else "compilation failed"
            print(f"{case.variant} trains uncompiled: {reason}; see {path.with_suffix('.log')}", file=sys.stderr)
    return [
        dataclasses.replace(case, step=str(path)) if path in compiled else case
        for path, case in zip(paths, cases, strict=True)
    ]


def _choose_step_paths(cases: Sequence[Case], limits: Limits) -> list[Path | None]:
    """Return the path of each case's compiled step; None if it runs uncompiled.

    The decision builds the models in other processes, one for each variant of a plug-in. If that exceeds the limits,
    the variant trains uncompiled, and its cells report the error.
    """

    def inputs(case: Case) -> tuple[Any, ...]:
        return case.source, case.variant, case.draws, case.protocol, case.data_folder

    groups: dict[tuple[str, str], list[Case]] = {}
    for case in {inputs(case): case for case in cases}.values():
        groups.setdefault((case.source, case.variant if case.source else ""), []).append(case)
    paths: dict[tuple[Any, ...], Path | None] = dict.fromkeys(map(inputs, cases))
    for group in groups.values():
        with contextlib.suppress(isolated_call.NoAnswerError):
            chosen = isolated_call.call_within_limits(limits, _choose_in_this_process, group)
            paths.update(zip(map(inputs, group), chosen, strict=True))
    return [paths[inputs(case)] for case in cases]


def _choose_in_this_process(cases: Sequence[Case]) -> list[Path | None]:
    from benchmarks.training import compilation

    return [compilation.choose_step_path(case) for case in cases]


def _compile(case: Case, folder: str) -> None:
    from benchmarks.training import compilation

    compilation.compile_step(case, folder)


def _lacks_model(folder: Path, case: Case, record: Record) -> bool:
    return case.keep_model and record["status"] == "ok" and not has_model(folder, case.cell_id)


def _score(record: Record) -> str:
    last = record["rows"][-1]
    name, column = ("reconstruction error", "reconstruction_error") if last.get("elbo") is None else ("ELBO", "elbo")
    return f", {name} {last[column]:.1f} nats, {last['processor_seconds']:.0f} s"


TRAINING = Kind(
    task=Task(prepare_cells, run_cell),
    write_tables=results_table.write_results,
    note=_score,
    cost=lambda case: 1 + case.draws,  # one pass of the encoder, and one of the decoder per draw
    lacks_files=_lacks_model,
)
