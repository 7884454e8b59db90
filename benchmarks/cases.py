"""Cases: what one cell is, the identity by which it is known, and what its file holds. Needs no torch.

Only a case crosses a process boundary.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from benchmarks import environment, files, manifests, store
from benchmarks.files import Record


@dataclass(frozen=True)
class Protocol:
    """What cells must share to be comparable: every setting but variant, draws and seed, with defaults resolved."""

    dataset: str
    binarization: str
    likelihood: str
    latent_dim: int
    epochs: int
    checkpoints: tuple[int, ...]
    batch_size: int
    learning_rate: float
    evaluation_draws: int
    log_likelihood_draws: int
    gradient_repeats: int
    threads: int
    device: str
    precision: str


@dataclass(frozen=True)
class Case:
    """One cell: a variant on a data set under a protocol with a seed; `commit` says which code was loaded for it.

    fields: what the variant computes, in words and numbers. source: the text of the plug-in file that defines it; empty
    where it can be imported. snapshot: seconds between those of its state. step: where its training step lies as
    machine code; empty where it runs uncompiled.
    """

    variant: str
    fields: Record = dataclasses.field(hash=False)
    source: str
    draws: int
    seed: int
    protocol: Protocol
    data_folder: str
    data_checksum: str
    protocol_id: str
    cell_id: str
    commit: str
    snapshot: float = 60.0
    step: str = ""

    @property
    def label(self) -> str:
        """As a person calls it."""
        return f"{self.variant} seed {self.seed}"


def planned(case: Case) -> Record:
    """What the manifest holds of a case, and its own file too."""
    return manifests.planned(case, case.fields)


def record(case: Case, status: str, error: str, log: str, rows: list[Record], started: str) -> Record:
    """What a cell's file holds: identity, outcome, and a row for each checkpoint."""
    common = {
        **dataclasses.asdict(case.protocol),
        "variant": case.variant,
        "seed": case.seed,
        **{name: case.fields[name] for name in ("draws", "objective", "estimator", "baseline")},
        "started": started,
        "ended": utc(),
        "processor": environment.processor()["model name"],
        "torch": environment.torch_version(),
        "mode": "compiled" if case.step else "eager",
        "commit": case.commit,
        "data_checksum": case.data_checksum[:16],
        "protocol_id": case.protocol_id,
        "cell_id": case.cell_id,
    }
    if status not in store.FINISHED:
        rows = [*rows, {"status": status, "error": error}]
    return {
        "schema_version": files.SCHEMA_VERSION,
        "cell_id": case.cell_id,
        "status": status,
        "error": error,
        "log": log,
        "planned": planned(case),
        "common": common,
        "rows": rows,
    }


def utc() -> str:
    """Now."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def data_folder(case: Any) -> str:
    """Where the data of a case, or of a probe, lie."""
    return str(case.data_folder)


def moved(case: Any, folder: str) -> Any:
    """The same with its data in another folder."""
    return dataclasses.replace(case, data_folder=folder)


def identifier(identity: Mapping[str, object]) -> str:
    """A hash of what identifies a cell."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
