"""The task of the runner whose cells train a variant.

This module does not import torch; its functions import torch in the processes of the cells.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.atomic_files import Record
from benchmarks.execution import isolated_call
from benchmarks.execution.interface import Limits, Task
from benchmarks.execution.local import run_processes
from benchmarks.planning.cases import Case
from benchmarks.planning.settings import Settings
from benchmarks.reporting import results_table
from benchmarks.runs.runner import Kind

MAX_PLANNING_SECONDS = 60.0  # to build the models of a plan, which usually takes 1 s; at most a cell's time limit


def plan_run(
    settings: Settings, names: Sequence[str], plugin_files: Sequence[Path], data_root: Path | None, snapshot: float
) -> list[Case]:
    """Plan the cases of these variants, or of all if `names` is empty, and prepare their data, in another process."""
    return isolated_call.call_isolated(_plan_run, settings, names, plugin_files, data_root, snapshot)


def _plan_run(*arguments: Any) -> list[Case]:
    from benchmarks.planning import planner

    return planner.plan_run(*arguments)


def run_cell(case: Case, folder: str) -> None:
    """Run a case in this process and write its files to the run folder."""
    from benchmarks.training import cell

    cell.run_cell(case, folder)


def prepare_cells(cases: Sequence[Case], workers: int, limits: Limits) -> list[Case]:
    """Return the cases with the paths of their compiled steps, and compile those that are missing.

    Prints which variants train uncompiled although a compiled step would be faster, and why.
    """
    timeout = min(MAX_PLANNING_SECONDS, limits.timeout or MAX_PLANNING_SECONDS)
    paths = _choose_step_paths(cases, Limits(timeout, limits.memory))
    by_path = {path: case for path, case in zip(paths, cases, strict=True) if path is not None}
    missing = [c for path, c in by_path.items() if not path.is_file() and not _reason_path(path).is_file()]
    if missing:
        print(f"compiling the training step of {len(missing)} variants, once on this machine", file=sys.stderr)
        with contextlib.closing(run_processes(_compile, missing, "", [{}] * workers)) as events:
            for _ in events:
                pass
    compiled = {path for path in by_path if path.is_file()}
    for path, case in by_path.items():
        if path not in compiled:
            reason = _reason_path(path).read_text() if _reason_path(path).is_file() else "compilation failed"
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
    paths: dict[tuple[str, str], list[Path | None]] = {}

    def group_key(case: Case) -> tuple[str, str]:
        return (case.source, case.variant if case.source else "")

    for key, group in itertools.groupby(sorted(cases, key=group_key), group_key):
        members = list(group)
        try:
            paths[key] = isolated_call.call_within_limits(limits, _choose_in_this_process, members)
        except isolated_call.NoAnswerError:
            paths[key] = [None] * len(members)
    return [paths[group_key(case)].pop(0) for case in cases]


def _choose_in_this_process(cases: Sequence[Case]) -> list[Path | None]:
    from benchmarks.training import compilation

    return [compilation.choose_step_path(case) for case in cases]


def _reason_path(path: Path) -> Path:
    """Return the path of the text file that says why a step cannot be compiled."""
    return path.with_suffix(".refused")


def _compile(case: Case, folder: str) -> None:
    from benchmarks.training import compilation

    compilation.compile_step(case, folder)


def _score(record: Record) -> str:
    last: Mapping[str, Any] = record["rows"][-1]
    value = last.get("elbo")
    score = f", ELBO {value:.1f}" if value is not None else f", reconstruction error {last['reconstruction_error']:.1f}"
    return f"{score} nats, {last['processor_seconds']:.0f} s"


TRAINING = Kind(
    task=Task(prepare_cells, run_cell),
    write_tables=results_table.write_results,
    note=_score,
    cost=lambda case: 1 + case.draws,  # one pass of the encoder, and one of the decoder per draw
)
