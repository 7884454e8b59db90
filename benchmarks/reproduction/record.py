"""The record of a claim beside its runs: which of them are complete, and the last status."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import atomic_files
from benchmarks.reproduction.claims import Claim, ClaimedRun

RECORD = "claim.json"


@dataclass(frozen=True)
class ClaimRecord:
    """runs: description of each complete run, by name. status: the last one; empty if it was never judged."""

    runs: dict[str, Any]
    status: str = ""

    def has(self, run: ClaimedRun) -> bool:
        """Return whether the run is complete, with the settings that the claim has now."""
        return self.runs.get(run.name) == describe_run(run)


def describe_run(run: ClaimedRun) -> dict[str, Any]:
    """Return all that defines a run, as JSON has it."""
    return run.model_dump(mode="json", exclude_defaults=True) | {"name": run.name}


def read_record(folder: Path) -> ClaimRecord:
    """Return the record of a claim's folder; empty without a file."""
    path = folder / RECORD
    record = atomic_files.read_json(path) if path.is_file() else {}
    return ClaimRecord(record.get("runs", {}), record.get("status", ""))


def write_record(folder: Path, claim: Claim, record: ClaimRecord) -> None:
    """Write the record, with the complete runs that the claim still has."""
    runs = {run.name: describe_run(run) for run in claim.runs if record.has(run)}
    content = {"schema_version": atomic_files.SCHEMA_VERSION, "status": record.status, "runs": runs}
    atomic_files.write_json(folder / RECORD, content)
