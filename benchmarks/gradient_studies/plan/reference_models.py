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
from benchmarks.gradient_studies.columns import CHECKPOINTS
from benchmarks.gradient_studies.discrete_studies import count_enumerable
from benchmarks.gradient_studies.measurement import fewest_draws
from benchmarks.gradient_studies.studies import STUDIES
from benchmarks.gradient_studies.study_cells import ReferenceModel, StudyCell
from benchmarks.planning import cases, model_specs, planner
from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.facts import PreparedDataset
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.registry import PERCEPTRON, RegisteredArchitecture, RegisteredVariant
from benchmarks.planning.settings import Settings
from vaezoo import DataSpec, Variant
from vaezoo.distributions.families import DIAGONAL_NORMAL, Family

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

    def choose_latent_dim(self, variant: Variant) -> int:
        """Return the number of latents of the variant's models."""
        return planner.choose_latent_dim(variant, self.settings, self.protocol)

    def find_family(self, variant: Variant) -> Family:
        """Return the family of the variant's latents; that of `vae` if its model cannot be built."""
        spec, latent_dim = self.make_spec(self.protocol), self.choose_latent_dim(variant)
        return planner.find_family(variant, spec, latent_dim) or DIAGONAL_NORMAL  # its cell reports the error


def _list_stochastic(inputs: Inputs) -> list[RegisteredVariant]:
    entries = [entry for entry in inputs.entries if inputs.find_family(entry.variant).stochastic]
    if not entries:
        raise UserError("no registered variant has latent noise to measure; see 'python -m benchmarks list'")
    return entries


def _name_plugin(entry: RegisteredVariant) -> str:
    # a variant of a plug-in has cells of its own, so that it can't change or end the measurement of other variants
    return entry.variant.name if entry.fingerprint else ""


def plan_reference_cells(inputs: Inputs, studies: Sequence[str]) -> list[StudyCell]:
    """Plan the cells of the reference models that these studies need."""
    varied, seeds = inputs.settings.gradients, inputs.settings.seeds
    groups: dict[tuple[Any, str], list[RegisteredVariant]] = {}
    for entry in _list_stochastic(inputs):
        groups.setdefault((entry.variant.architecture, _name_plugin(entry)), []).append(entry)
    cells: list[StudyCell] = []
    for ((architecture, plugin), group), seed in itertools.product(groups.items(), seeds):
        is_discrete = inputs.find_family(group[0].variant).is_discrete
        for latents, names in _list_models(inputs, group[0].variant, studies).items():
            model_studies = tuple(n for n in names if n == "training" or seed in seeds[: varied.fewer_seeds])
            if not model_studies:
                continue
            model_protocol = dataclasses.replace(inputs.protocol, latent_dim=latents)
            if not any(CHECKPOINTS[-1] in STUDIES[study].checkpoints for study in model_studies):
                model_protocol = dataclasses.replace(
                    model_protocol, epochs=varied.checkpoints[-1], checkpoints=varied.checkpoints
                )
            name = f"{latents} latents"
            if plugin or is_discrete:
                name += f", {plugin or planner.name_function(architecture)}"
            cells.append(_plan_model(inputs, name, model_studies, group, seed, model_protocol))
    return cells


def _list_models(inputs: Inputs, variant: Variant, studies: Sequence[str]) -> dict[int, list[str]]:
    """Return the studies of each reference model, by its number of latents."""
    family, latent_dim = inputs.find_family(variant), inputs.choose_latent_dim(variant)
    if not family.is_discrete:
        varied = inputs.settings.gradients.latent_dims
        latent_dims = [latent_dim, *sorted({*varied} - {latent_dim}, reverse=True)]
        continuous = [study for study in studies if STUDIES[study].is_discrete is not True]
        return {
            d: [s for s in continuous if (d in varied if s == "latent-dim" else d == latent_dim)] for d in latent_dims
        }
    discrete = [study for study in studies if STUDIES[study].is_discrete is not False]
    large = [study for study in discrete if not STUDIES[study].has_bias]
    small = [study for study in discrete if STUDIES[study].is_discrete]
    return {latent_dim: large} | {count_enumerable(family): small}


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
    protocol, cells = dataclasses.replace(inputs.protocol, latent_dim=inputs.choose_latent_dim(reference)), []
    for (plugin, group), seed in itertools.product(groups.items(), inputs.settings.seeds):
        name = f"{protocol.latent_dim} latents, {plugin or 'variants'} against {against}"
        entries = [by_name[against], *group]
        cells.append(_plan_model(inputs, name, (PAIRED_STUDY,), entries, seed, protocol, against))
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
        "laboratory": varied.model_dump(mode="json", exclude_none=True),
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
