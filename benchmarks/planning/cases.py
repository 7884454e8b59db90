"""Cases: cells that train. A case is a variant, a data set, a protocol and a seed."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.common.atomic_files import Record
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.schedules import CONSTANT

NO_HIDDEN = "none"


@dataclass(frozen=True)
class Protocol:
    """Settings that comparable cells share: all except variant, draws and seed, with defaults resolved."""

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
    preprocessing: str = "none"
    architecture: str = "mlp"
    hidden: str = ""
    activation: str = "relu"
    initialisation: Literal["uniform", "glorot"] = "uniform"
    output_bias: str = "drawn"
    optimizer: str = "adam"
    schedule: str = CONSTANT
    kl_schedule: str = CONSTANT
    prior: Literal["fixed", "learned"] = "fixed"
    free_bits: float = 0.0
    held_out: int = 0
    order: str = "shuffled"


def format_widths(hidden: Sequence[int]) -> str:
    """Return the widths of hidden layers as the option --hidden takes them."""
    return ",".join(map(str, hidden)) or NO_HIDDEN


def parse_widths(text: str) -> tuple[int, ...]:
    """Return the widths of hidden layers."""
    return () if text == NO_HIDDEN else tuple(map(int, text.split(",")))


def describe_protocol(protocol: Protocol) -> Record:
    """Return the settings without those that have their default, so that a new setting leaves older ids as they are."""
    return {
        field.name: value
        for field in dataclasses.fields(protocol)
        if (value := getattr(protocol, field.name)) != field.default
    }


@dataclass(frozen=True)
class Case:
    """One cell that trains a variant.

    fields: the variant's name, architecture, objective, estimator, baseline, draws and source hash.
    source: text of the plug-in file that defines the variant; empty if the variant can be imported.
    architecture_source, architecture_fingerprint: the same of the architecture, and the hash of all that it reaches.
    repository, repository_commit: origin of a plug-in.
    commit: commit of the code that planned the cell. snapshot: seconds between snapshots.
    step: path of the compiled training step; empty if the step is not compiled. keep_model: whether the trained model
    is written beside the record.
    """

    variant: str
    fields: Record = dataclasses.field(hash=False)
    source: str
    repository: str
    repository_commit: str
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
    keep_model: bool = False
    architecture_source: str = ""
    architecture_fingerprint: str = ""

    @property
    def label(self) -> str:
        return f"{self.variant} seed {self.seed}"

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """The plug-in files that define the variant and its architecture."""
        return tuple(Plugin(source) for source in dict.fromkeys((self.source, self.architecture_source)) if source)

    @property
    def columns(self) -> Record:
        """The columns of results.csv that are known before the model; the architecture of a plug-in decides more."""
        return {
            **dataclasses.asdict(self.protocol),
            "likelihood": None if self.fields["source"] else self.protocol.likelihood,
            "variant": self.variant,
            "seed": self.seed,
            **{name: self.fields[name] for name in ("draws", "objective", "estimator", "baseline")},
            "mode": "compiled" if self.step else "eager",
            "data_checksum": self.data_checksum[:16],
            "plugin_source": self.fields["source"],
            "plugin_repository": self.repository,
            "plugin_commit": self.repository_commit,
            "protocol_id": self.protocol_id,
        }


def hash_identity(identity: Mapping[str, object]) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of the identity as sorted JSON."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
