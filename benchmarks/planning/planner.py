"""Planner: turns settings and variants into the cases of a run, or raises `UserError` if they contradict."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError, printable, unknown
from benchmarks.common.machine.folders import choose_cache
from benchmarks.planning import cases, model_specs, registry
from benchmarks.planning.cases import Case, Protocol
from benchmarks.planning.data.cache import prepare_dataset
from benchmarks.planning.data.catalogue import find_dataset
from benchmarks.planning.data.facts import PreparedDataset
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.plugins import read_plugins
from benchmarks.planning.protocols import checks, resolution
from benchmarks.planning.registry import PERCEPTRON, RegisteredArchitecture, RegisteredVariant
from benchmarks.planning.settings import Settings
from vaezoo import DataSpec, Variant, build
from vaezoo.distributions.families import Family


def plan_run(
    settings: Settings,
    names: Sequence[str],
    plugin_files: Sequence[Path],
    data_root: Path | None = None,
    snapshot: float = Case.snapshot,
    family: str = "",
) -> list[Case]:
    """Plan the cases of these variants, of all registered ones if `names` is empty, and prepare their data set.

    family: kind of latents of the variants, such as "bernoulli", which leaves out others; empty for all.
    """
    plugins = read_plugins(plugin_files)
    if not names:
        registry.print_faults()
    entries = [
        registry.find_variant(n, settings.draws, plugins)
        for n in dict.fromkeys(names or registry.load_registry(plugins))
    ]
    protocol, prepared = prepare(settings, plugins, data_root)
    architecture = registry.find_architecture(protocol.architecture, plugins)
    model_specs.check_architecture(protocol, prepared.facts, architecture.architecture)
    checks.check_objectives(protocol, entries)
    spec = model_specs.make_spec(protocol, prepared.facts, architecture.architecture)
    latent_dims = [choose_latent_dim(entry.variant, settings, protocol) for entry in entries]
    if family:
        entries, latent_dims = _select_family(entries, latent_dims, family, spec)
    checks.check_latents(entries, latent_dims, spec)
    return plan_cells(entries, protocol, settings.seeds, prepared, snapshot, architecture, latent_dims)


def choose_latent_dim(variant: Variant, settings: Settings, protocol: Protocol) -> int:
    """Return the number of latents of a variant: that of the user, of the variant, or of the data set."""
    return settings.latent_dim or variant.latent_dim or protocol.latent_dim


def find_family(variant: Variant, spec: DataSpec, latent_dim: int) -> Family | None:
    """Return the family of a variant's latents; None if its model cannot be built, which its cell reports."""
    try:
        return build(variant, spec, latent_dim).encoder.family
    except Exception:  # the architecture of a plug-in can raise anything
        return None


def _select_family(
    entries: Sequence[RegisteredVariant], latent_dims: Sequence[int], kind: str, spec: DataSpec
) -> tuple[list[RegisteredVariant], list[int]]:
    families = [find_family(entry.variant, spec, count) for entry, count in zip(entries, latent_dims, strict=True)]
    for name in (entry.variant.name for entry, family in zip(entries, families, strict=True) if not family):
        print(f"left out: {name}, whose model can't be built; 'run {name}' prints the reason", file=sys.stderr)
    if kind not in (kinds := {family.kind for family in families if family}):
        raise unknown("family", kind, sorted(kinds))
    rows = [i for i, family in enumerate(families) if family and family.kind == kind]
    return [entries[i] for i in rows], [latent_dims[i] for i in rows]


def prepare(
    settings: Settings, plugins: Sequence[Plugin] = (), data_root: Path | None = None
) -> tuple[Protocol, PreparedDataset]:
    """Return the protocol of these settings and their data set, which is decoded if the cache lacks it.

    Says on standard error what was chosen for a file of the user.
    """
    choose_cache()
    info = find_dataset(settings.dataset, registry.load_datasets(plugins))
    protocol = resolution.resolve_protocol(settings, info)
    if info.note:
        print(printable(info.note), file=sys.stderr)
    prepared = prepare_dataset(info, data_root)
    checks.check_counts(protocol, prepared)
    checks.check_preprocessing(protocol, prepared)
    return protocol, prepared


def describe_variant(entry: RegisteredVariant) -> dict[str, Any]:
    """Describe a variant's computation by strings and numbers; the description is part of the identity of cells."""
    variant = entry.variant
    return {
        "name": variant.name,
        "architecture": name_function(variant.architecture),
        "objective": variant.objective.name,
        "estimator": variant.estimator.name,
        "baseline": variant.estimator.baseline_name,
        "draws": variant.draws,
        "source": entry.fingerprint,
    }


def name_function(function: Callable[..., object]) -> str:
    """Return the name of a function, with the arguments of a `functools.partial`, or of the class of a callable."""
    if isinstance(function, functools.partial):
        named = [f"{key}={value!r}" for key, value in sorted(function.keywords.items())]
        return f"{name_function(function.func)}({', '.join([*map(repr, function.args), *named])})"
    return str(getattr(function, "__name__", type(function).__name__))


def find_registered(case: Case) -> RegisteredVariant:
    return find_described(case.fields, [Plugin(case.source)] if case.source else [])


def find_described(description: Record, plugins: Sequence[Plugin]) -> RegisteredVariant:
    """Return the variant of a description; raise `UserError` if its source has changed since it was described."""
    entry = registry.find_variant(description["name"], description["draws"], plugins)
    if entry.fingerprint != description["source"]:
        raise UserError(
            f"the source of {description['name']}, or of a module that it imports, has changed since the start of "
            "this command; run the command again"
        )
    return entry


def plan_cells(
    entries: Sequence[RegisteredVariant],
    protocol: Protocol,
    seeds: Iterable[int],
    prepared: PreparedDataset,
    snapshot: float = Case.snapshot,
    architecture: RegisteredArchitecture = PERCEPTRON,
    latent_dims: Sequence[int] = (),
) -> list[Case]:
    """Return one case per seed and variant; seeds are the outer loop, so that an interrupted run is comparable.

    latent_dims: the number of latents of each variant; that of the protocol by default.
    """
    protocols = [dataclasses.replace(protocol, latent_dim=count) for count in latent_dims] or [protocol] * len(entries)
    spec = model_specs.make_spec(protocol, prepared.facts, architecture.architecture)
    identities: list[dict[str, Any]] = [
        {
            "variant": describe_variant(entry),
            "data": prepared.checksum,
            "spec": model_specs.describe_spec(spec, architecture.fingerprint),
            "protocol": cases.describe_protocol(protocol),
        }
        for entry, protocol in zip(entries, protocols, strict=True)
    ]
    return [
        Case(
            entry.variant.name,
            fields=identity["variant"],
            source=entry.source,
            repository=entry.repository,
            repository_commit=entry.commit,
            draws=entry.variant.draws,
            seed=seed,
            protocol=protocol,
            data_folder=prepared.folder,
            data_checksum=prepared.checksum,
            # another source is comparable: the comparison is there to say what it changed
            protocol_id=cases.hash_identity(
                identity | {"variant": identity["variant"] | {"source": ""}, "spec": model_specs.describe_spec(spec)}
            ),
            cell_id=cases.hash_identity(identity | {"seed": seed}),
            commit=environment.read_commit(),
            snapshot=snapshot,
            architecture_source=architecture.source,
            architecture_fingerprint=architecture.fingerprint,
        )
        for seed in seeds
        for entry, protocol, identity in zip(entries, protocols, identities, strict=True)
    ]
