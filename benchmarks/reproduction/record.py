"""The record of a claim beside its runs: which of them are complete, and the last status."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import atomic_files
from benchmarks.common.errors import DamageError, UserError
from benchmarks.planning.settings import read_preset
from benchmarks.reproduction.claims import Claim, ClaimedRun

RECORD = "claim.json"


@dataclass(frozen=True)
class ClaimRecord:
    """runs: description of each complete run, by name. status: the last one; empty if it was never judged."""

    runs: dict[str, Any]
    status: str = ""

    def has(self, claim: Claim, run: ClaimedRun) -> bool:
        """Return whether the run is complete, with the settings and the plug-in that the claim has now."""
        return self.runs.get(run.name) == describe_run(claim, run)


def describe_run(claim: Claim, run: ClaimedRun) -> dict[str, Any]:
    """Return all that defines a run, as JSON has it: also the settings of its preset, and the hash of its plug-in."""
    described = run.model_dump(mode="json", exclude_defaults=True) | {"name": run.name}
    described["preset"] = tomllib.loads(read_preset(run.preset)[1])
    if run.plugin:
        described["plugin"] = hashlib.sha256((claim.folder / run.plugin).read_bytes()).hexdigest()[:16]
    return described


def read_record(folder: Path) -> ClaimRecord:
    """Return the record of a claim's folder; empty without a file."""
    path = folder / RECORD
    try:
        record = atomic_files.read_json(path) if path.is_file() else {}
    except DamageError as error:
        raise UserError(f"{path} is damaged: {error}; delete it, and reproduce the claim again") from error
    return ClaimRecord(record.get("runs", {}), record.get("status", ""))


def write_record(folder: Path, claim: Claim, record: ClaimRecord) -> None:
    """Write the record, with the complete runs that the claim still has."""
    runs = {run.name: describe_run(claim, run) for run in claim.runs if record.has(claim, run)}
    content = {"schema_version": atomic_files.SCHEMA_VERSION, "status": record.status, "runs": runs}
    atomic_files.write_json(folder / RECORD, content)
