"""Cells that train: what the runner is told of them, and what they need of torch, which is imported where it is called.

Needs no torch itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import cases, store
from benchmarks.cases import Case
from benchmarks.executors import apart
from benchmarks.executors.events import Limits, Task
from benchmarks.executors.local import processes
from benchmarks.files import Record
from benchmarks.runner import Kind
from benchmarks.settings import Settings

SECONDS = 60.0  # to build a plan's models, which takes one; where cells have less, it is theirs


def plan(
    settings: Settings, names: Sequence[str], plugin_files: Sequence[Path], data_root: Path | None, snapshot: float
) -> list[Case]:
    """The cases of these variants, or of all where none is named, with their data prepared."""
    from benchmarks import planning

    return planning.whole(settings, names, plugin_files, data_root, snapshot)


def work(case: Case, folder: str) -> None:
    """Run a case and leave its files in the run folder: what a cell's process does."""
    from benchmarks import experiment

    experiment.work(case, folder)


def prepare(wanted: Sequence[Case], workers: int, limits: Limits) -> list[Case]:
    """The cases with their steps as machine code; what is missing is made, and what stays uncompiled is said."""
    places = _places(wanted, Limits(min(SECONDS, limits.timeout or SECONDS), limits.memory))
    paths = {path: case for path, case in zip(places, wanted, strict=True) if path is not None}
    missing = {path: case for path, case in paths.items() if not path.is_file() and not _refused(path).is_file()}
    if missing:
        print(f"compiling the training step of {len(missing)} variants, once on this machine", file=sys.stderr)
        with contextlib.closing(processes(_compile, list(missing.values()), "", [{}] * workers)) as events:
            for _ in events:
                pass
    made = {path for path in paths if path.is_file()}
    for path, case in paths.items():
        if path not in made:
            reason = _refused(path).read_text() if _refused(path).is_file() else "its compilation failed"
            print(f"{case.variant} trains uncompiled: {reason}; see {path.with_suffix('.log')}", file=sys.stderr)
    return [
        dataclasses.replace(case, step=str(path)) if path in made else case
        for path, case in zip(places, wanted, strict=True)
    ]


def _places(wanted: Sequence[Case], limits: Limits) -> list[Path | None]:
    """Where the cases' steps lie, or are to lie: their models are built for that, a plug-in's each apart.

    A model that can't be built within the limits is one that its cells can say more of.
    """
    found: dict[tuple[str, str], list[Path | None]] = {}

    def group(case: Case) -> tuple[str, str]:
        return (case.source, case.variant if case.source else "")

    for key, own in itertools.groupby(sorted(wanted, key=group), group):
        cells = list(own)
        try:
            found[key] = apart.call_within(limits, _artefacts, cells)
        except apart.LostError:
            found[key] = [None] * len(cells)
    return [found[group(case)].pop(0) for case in wanted]


def _artefacts(wanted: Sequence[Case]) -> list[Path | None]:
    from benchmarks import compiling

    return compiling.artefacts(wanted)


def _refused(path: Path) -> Path:
    """Where the reason lies why a step can't be compiled."""
    return path.with_suffix(".refused")


def _compile(case: Case, folder: str) -> None:
    from benchmarks import compiling

    compiling.work(case, folder)


def _score(record: Record) -> str:
    last: Mapping[str, Any] = record["rows"][-1]
    value = last.get("elbo")
    score = f", ELBO {value:.1f}" if value is not None else f", reconstruction error {last['reconstruction_error']:.1f}"
    return f"{score} nats, {last['processor_seconds']:.0f} s"


KIND = Kind(
    planned=cases.planned,
    task=Task(prepare, work, cases.data_folder, cases.moved),
    lost=lambda case, status, error, log: cases.record(case, status, error, log, [], cases.utc()),
    write=store.write_results,
    note=_score,
    cost=lambda case: 1 + case.draws,  # a pass of the encoder, and as many of the decoder
)
