"""Readings: cells of the studies that read runs. Where no runs are given, they are made as `run` makes them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import cases, data, environment, folders, planning, plugins, runner, training
from benchmarks.cases import Protocol
from benchmarks.errors import UserError
from benchmarks.executors.events import Executor
from benchmarks.laboratory import trained
from benchmarks.laboratory.columns import Row
from benchmarks.laboratory.probes import protocol_of
from benchmarks.plugins import Entry
from benchmarks.settings import Settings
from vaezoo.testing import decoder_passes


@dataclass(frozen=True)
class Reading:
    """One cell: studies of trained models, from these results.csv files.

    sources: texts of the plug-in files in force.
    """

    name: str
    studies: tuple[str, ...]
    variants: tuple[str, ...]
    sources: tuple[str, ...]
    results: tuple[str, ...]
    checksums: tuple[str, ...]
    seed: int
    protocol: Protocol
    data_checksum: str
    protocol_id: str
    cell_id: str
    commit: str

    @property
    def label(self) -> str:
        return self.name

    @property
    def fields(self) -> dict[str, Any]:
        """What is read: part of its identity."""
        named = {"studies": list(self.studies), "variants": list(self.variants), "results": list(self.checksums)}
        return {"name": self.name} | named


def plan(
    entries: Sequence[Entry],
    studies: Sequence[str],
    settings: Settings,
    sources: Sequence[str],
    results: Sequence[Path],
    prepared: data.Prepared,
) -> Reading:
    """The reading of these files, refused where they can't be compared."""
    protocol, found = protocol_of(settings), trained.read(results)["dataset"].iloc[0]
    if found != protocol.dataset:
        raise UserError(
            f"--run: {results[0]} is of {found}, and the laboratory of {protocol.dataset}; add --dataset {found}"
        )
    checksums = tuple(hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in results)
    names = tuple(entry.variant.name for entry in entries)
    reading = Reading(
        "trained models", tuple(studies), names, tuple(sources), tuple(map(str, results)), checksums, 0, protocol,
        prepared.checksum, "", "", environment.commit(),
    )  # fmt: skip
    own = cases.identifier(reading.fields)
    return dataclasses.replace(reading, protocol_id=own, cell_id=own)


def rows(reading: Reading) -> Iterator[Row]:
    """The studies' rows, of the variants that the runs have."""
    results = trained.read([Path(path) for path in reading.results])
    found = {n: plugins.find(n, None, reading.sources).variant for n in reading.variants}
    return trained.rows(results, {name: decoder_passes(v) for name, v in found.items()}, reading.studies)


def make(
    entries: Sequence[Entry],
    settings: Settings,
    prepared: data.Prepared,
    executor: Executor,
    out: Path,
    keep_stale: bool,
) -> list[Path]:
    """A run for each learning rate, in `out`; one that has these cells already is used, and continued."""
    made = []
    for rate in settings.gradients.learning_rates:
        seeds = settings.seeds[: settings.gradients.fewer_seeds]
        protocol = planning.resolve(settings.model_copy(update={"learning_rate": rate}))
        wanted = planning.plan(entries, protocol, seeds, prepared)
        folder = folders.holding(out, wanted) or folders.choose(out, None, wanted)
        runner.execute(folder, wanted, executor, keep_stale, training.KIND)
        made.append(folder / "results.csv")
    return made
