"""The cells of reference models: the studies of all variants, and the pairs with one variant."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.common import environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError, unknown
from benchmarks.gradient_studies.measurement import fewest_draws
from benchmarks.gradient_studies.study_cells import ReferenceModel, StudyCell
from benchmarks.planning import cases, model_specs, planner
from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.facts import PreparedDataset
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.registry import PERCEPTRON, RegisteredArchitecture, RegisteredVariant
from benchmarks.planning.settings import Settings
from vaezoo import DataSpec, Variant, build

PAIRED_STUDY = "training"  # at whose checkpoints pairs are compared


@dataclass(frozen=True)
class Inputs:
    """What the cells share. protocol: that of the reference models."""

    entries: Sequence[RegisteredVariant]
    plugins: tuple[Plugin, ...]
    settings: Settings
    protocol: Protocol
    prepared: PreparedDataset
    architecture: RegisteredArchitecture = PERCEPTRON

    def make_spec(self, protocol: Protocol) -> DataSpec:
        """Return the properties from which the reference models are built."""
        return model_specs.make_spec(protocol, self.prepared.facts, self.architecture.architecture)


def _list_stochastic(inputs: Inputs) -> list[RegisteredVariant]:
    entries = [entry for entry in inputs.entries if _is_stochastic(entry, inputs)]
    if not entries:
        raise UserError("no registered variant has latent noise to measure; see 'python -m benchmarks list'")
    return entries


def _is_stochastic(entry: RegisteredVariant, inputs: Inputs) -> bool:
    try:
        return build(entry.variant, inputs.make_spec(inputs.protocol), 2).stochastic
    except Exception:  # the architecture of a plug-in can raise anything; its cell reports the error
        return True


def _name_plugin(entry: RegisteredVariant) -> str:
    # a variant of a plug-in has cells of its own, so that it can't change or end the measurement of other variants
    return entry.variant.name if entry.fingerprint else ""


def plan_reference_cells(inputs: Inputs, studies: Sequence[str]) -> list[StudyCell]:
    """Plan the cells of the reference models that these studies need."""
    protocol, varied, seeds = inputs.protocol, inputs.settings.gradients, inputs.settings.seeds
    groups: dict[tuple[Any, str], list[RegisteredVariant]] = {}
    for entry in _list_stochastic(inputs):
        groups.setdefault((entry.variant.architecture, _name_plugin(entry)), []).append(entry)
    architectures = {architecture for architecture, plugin in groups if not plugin}
    latent_dims = [protocol.latent_dim, *sorted({*varied.latent_dims} - {protocol.latent_dim}, reverse=True)]
    cells: list[StudyCell] = []
    for ((architecture, plugin), group), latents, seed in itertools.product(groups.items(), latent_dims, seeds):
        model_studies = tuple(
            study
            for study in studies
            if (latents in varied.latent_dims if study == "latent-dim" else latents == protocol.latent_dim)
            and (study == "training" or seed in seeds[: varied.fewer_seeds])
        )
        if not model_studies:
            continue
        model_protocol = dataclasses.replace(protocol, latent_dim=latents)
        if "training" not in model_studies:  # the other studies measure at the middle checkpoint
            model_protocol = dataclasses.replace(
                model_protocol, epochs=varied.checkpoints[-1], checkpoints=varied.checkpoints
            )
        name = f"{latents} latents"
        if plugin or len(architectures) > 1:
            name += f", {plugin or planner.name_function(architecture)}"
        cells.append(_plan_model(inputs, name, model_studies, group, seed, model_protocol))
    return cells


def plan_pairs(inputs: Inputs, against: str) -> list[StudyCell]:
    """Plan the cells that compare the variant named `against` with each comparable one."""
    by_name = {entry.variant.name: entry for entry in _list_stochastic(inputs)}
    if against not in by_name:
        if against in (entry.variant.name for entry in inputs.entries):
            raise UserError(f"--against {against}: it has no latent noise to measure; use one of {', '.join(by_name)}")
        raise unknown("variant", against, by_name)
    reference = by_name[against].variant
    groups: dict[str, list[RegisteredVariant]] = {}
    for name, entry in by_name.items():
        if name != against and _is_comparable(entry.variant, reference):
            groups.setdefault(_name_plugin(entry), []).append(entry)
    if not groups:
        draws = f" with {reference.draws} draws" if reference.draws > 1 else ""
        raise UserError(
            f"--against {against}: no other variant estimates the gradient of {reference.objective.name} in the same "
            f"architecture{draws}; use one of {', '.join(name for name in by_name if name != against)}"
        )
    cells = []
    for (plugin, group), seed in itertools.product(groups.items(), inputs.settings.seeds):
        name = f"{inputs.protocol.latent_dim} latents, {plugin or 'variants'} against {against}"
        entries = [by_name[against], *group]
        cells.append(_plan_model(inputs, name, (PAIRED_STUDY,), entries, seed, inputs.protocol, against))
    return cells


def _is_comparable(variant: Variant, reference: Variant) -> bool:
    """Return whether both estimate the same gradient: that of one objective, with equal draws if it depends on them."""
    if variant.architecture is not reference.architecture or variant.objective != reference.objective:
        return False
    try:
        return fewest_draws(variant) == fewest_draws(reference)
    except Exception:  # the reduction of a plug-in can raise anything; its cell reports the error
        return True


def _plan_model(
    inputs: Inputs,
    name: str,
    studies: tuple[str, ...],
    entries: Sequence[RegisteredVariant],
    seed: int,
    protocol: Protocol,
    against: str = "",
) -> StudyCell:
    varied = inputs.settings.gradients
    fields: Record = {
        "name": name,
        "studies": list(studies),
        "variants": [planner.describe_variant(entry) for entry in entries],
        "laboratory": varied.model_dump(mode="json"),
    }
    identity = {
        "variant": fields,
        "data": inputs.prepared.checksum,
        "spec": model_specs.describe_spec(inputs.make_spec(protocol), inputs.architecture.fingerprint),
        "protocol": cases.describe_protocol(protocol),
    }
    return StudyCell(
        label=f"{name}, seed {seed}",
        name=name,
        models=ReferenceModel(varied, against),
        fields=fields | {"name": f"{name}: {', '.join(studies)}"},
        studies=studies,
        variants=tuple(entry.variant.name for entry in entries),
        plugins=inputs.plugins,
        seed=seed,
        protocol=protocol,
        data_folder=inputs.prepared.folder,
        architecture_fingerprint=inputs.architecture.fingerprint,
        data_checksum=inputs.prepared.checksum,
        protocol_id=cases.hash_identity(identity),
        cell_id=cases.hash_identity(identity | {"seed": seed}),
        commit=environment.read_commit(),
    )
