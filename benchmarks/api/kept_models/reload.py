"""Building a kept model again, with the variant, the architecture and the data of its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError
from benchmarks.planning import planner, registry
from benchmarks.planning.cases import Case, Protocol
from benchmarks.planning.data.facts import Facts, PreparedDataset, read_facts
from benchmarks.planning.imports.records import Plugin
from vaezoo import TrainedModel, load_model

DATASET_FILE = "dataset.json"  # facts of the data, in the run folder


def read_protocol(planned: Record) -> Protocol:
    """Return the protocol that a cell's record describes."""
    settings: dict[str, Any] = planned["protocol"]
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return Protocol(**settings)


def read_run_facts(folder: Path) -> Facts:
    """Return the facts of the data with which the models of a run folder were trained."""
    try:
        return read_facts(folder, DATASET_FILE)[0]
    except UserError as error:
        raise UserError(
            f"{folder} has no readable {DATASET_FILE}, which says how its models read data; give the command of the "
            "run again, which writes it"
        ) from error


def plan_again(folder: Path, record: Record, plugins: Sequence[Plugin]) -> Case:
    """Return the case of a finished cell, as it was planned; its data folder is empty.

    Raises `UserError` if the variant or its architecture is missing, or is another one now.
    """
    planned: dict[str, Any] = record["planned"]
    name, draws = planned["variant"]["name"], planned["variant"]["draws"]
    protocol = read_protocol(planned)
    entry = registry.find_variant(name, draws, plugins)
    architecture = registry.find_architecture(protocol.architecture, plugins)
    data = PreparedDataset("", planned["data_checksum"], read_run_facts(folder))
    (case,) = planner.plan_cells([entry], protocol, [planned["seed"]], data, architecture=architecture)
    if case.cell_id != planned["cell_id"]:
        raise UserError(
            f"the source of {name}, of its architecture or of a module that they import is not that of {folder}; "
            "give the plug-in file as it was then"
        )
    return case


def load_kept_model(path: Path, case: Case) -> TrainedModel:
    """Return a kept model; raises `UserError` if the file is damaged."""
    variant = planner.find_registered(case).variant
    architecture = registry.find_architecture(case.protocol.architecture, case.plugins).architecture
    try:
        return load_model(path, variant, architecture)
    except (OSError, ValueError) as error:
        raise UserError(f"{error}; delete the file, and train its cell again with --keep-models") from error
