"""Planner: turns settings and variants into the cases of a run, or raises `UserError` if they contradict."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError, printable, unknown
from benchmarks.common.machine.folders import choose_cache
from benchmarks.planning import cases, model_specs, registry
from benchmarks.planning.cases import Case, Protocol
from benchmarks.planning.data.cache import prepare_dataset
from benchmarks.planning.data.catalogue import find_dataset
from benchmarks.planning.data.facts import PreparedDataset
from benchmarks.planning.data.info import DatasetInfo
from benchmarks.planning.imports.records import Plugin
from benchmarks.planning.plugins import read_plugins
from benchmarks.planning.registry import PERCEPTRON, RegisteredArchitecture, RegisteredVariant
from benchmarks.planning.schedules import CONSTANT
from benchmarks.planning.settings import Settings
from vaezoo.distributions.likelihoods import LIKELIHOODS

VALUES = {"binary": "binary pixels", "unit": "grey pixels", "real": "real numbers"}


def plan_run(
    settings: Settings,
    names: Sequence[str],
    plugin_files: Sequence[Path],
    data_root: Path | None = None,
    snapshot: float = Case.snapshot,
) -> list[Case]:
    """Plan the cases of these variants, of all registered ones if `names` is empty, and prepare their data set."""
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
    check_kl_schedule(protocol, entries)
    return plan_cells(entries, protocol, settings.seeds, prepared, snapshot, architecture)


def prepare(
    settings: Settings, plugins: Sequence[Plugin] = (), data_root: Path | None = None
) -> tuple[Protocol, PreparedDataset]:
    """Return the protocol of these settings and their data set, which is decoded if the cache lacks it.

    Says on standard error what was chosen for a file of the user.
    """
    choose_cache()
    info = find_dataset(settings.dataset, registry.load_datasets(plugins))
    protocol = resolve_protocol(settings, info)
    if info.note:
        print(printable(info.note), file=sys.stderr)
    prepared = prepare_dataset(info, data_root)
    check_batch_size(protocol, prepared)
    check_preprocessing(protocol, prepared)
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


def resolve_protocol(settings: Settings, info: DatasetInfo) -> Protocol:
    """Return the protocol of these settings, with defaults of the data set; raise `UserError` if they contradict."""
    likelihood = info.likelihood if settings.likelihood is None else settings.likelihood
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    support = LIKELIHOODS[likelihood](1).support
    is_grey, is_real = info.values == "unit", info.values == "real"
    default = "dynamic" if support == "binary" and is_grey else "none"
    binarization = default if settings.binarization is None else settings.binarization
    preprocessing = settings.preprocessing or info.preprocessing
    is_binarized, is_standardised = binarization != "none", preprocessing == "standardised"
    method, purpose = f"binarization {binarization}", f"the likelihood {likelihood} is for"
    has_values, is_not_binary = (
        f"{info.name} {text}" for text in (f"has {VALUES[info.values]}", "without binarization is not binary")
    )
    for_grey = "--binarization dynamic, or --likelihood continuous-bernoulli or" if is_grey else "--likelihood"
    refusals = (  # whether it applies, what is needed, what contradicts it, and what to use instead
        (is_binarized and not is_grey, f"{method} needs pixels in [0, 1]", has_values, "--binarization none"),
        (
            is_standardised and not is_real,
            "--preprocessing standardised needs real numbers",
            has_values,
            "--preprocessing none",
        ),
        (
            support == "binary" and not is_binarized and info.values != "binary",
            f"{purpose} binary data",
            is_not_binary,
            f"{for_grey} gaussian",
        ),
        (
            support == "unit" and is_binarized,
            f"{purpose} grey pixels",
            f"{method} makes them binary",
            "--binarization none, or --likelihood bernoulli",
        ),
        (support == "unit" and is_real, f"{purpose} data in [0, 1]", has_values, "--likelihood gaussian"),
    )
    for applies, need, contradiction, remedy in refusals:
        if applies:
            raise UserError(f"{need}, but {contradiction}; use {remedy}")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch finds no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    resolved = {
        "dataset": info.name,
        "preprocessing": preprocessing,
        "binarization": binarization,
        "likelihood": likelihood,
        "latent_dim": settings.latent_dim or info.latent_dim,
        "checkpoints": list_checkpoints(settings),
    }
    return Protocol(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(Protocol)} | resolved)


def list_checkpoints(settings: Settings) -> tuple[int, ...]:
    """Return the epochs at which models are measured; the last epoch is one of them."""
    return tuple(sorted({c for c in settings.checkpoints if c < settings.epochs} | {settings.epochs}))


def plan_cells(
    entries: Sequence[RegisteredVariant],
    protocol: Protocol,
    seeds: Iterable[int],
    prepared: PreparedDataset,
    snapshot: float = Case.snapshot,
    architecture: RegisteredArchitecture = PERCEPTRON,
) -> list[Case]:
    """Return one case per seed and variant; seeds are the outer loop, so that an interrupted run is comparable."""
    descriptions = [describe_variant(entry) for entry in entries]
    spec = model_specs.make_spec(protocol, prepared.facts, architecture.architecture)
    identities: list[dict[str, Any]] = [
        {
            "variant": description,
            "data": prepared.checksum,
            "spec": model_specs.describe_spec(spec, architecture.fingerprint),
            "protocol": cases.describe_protocol(protocol),
        }
        for description in descriptions
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
        for entry, identity in zip(entries, identities, strict=True)
    ]


def check_kl_schedule(protocol: Protocol, entries: Sequence[RegisteredVariant]) -> None:
    """Raise `UserError` if the weight of the KL changes, and an objective does not use it."""
    others = [entry.variant for entry in entries if not entry.variant.objective.weighs_kl]
    if protocol.kl_schedule != CONSTANT and others:
        raise UserError(
            f"--kl-schedule {protocol.kl_schedule}: the objective {others[0].objective.name} of {others[0].name} does "
            "not declare that it uses model.kl_weight (weighs_kl=True); leave out the variant, or the schedule"
        )


def check_batch_size(protocol: Protocol, prepared: PreparedDataset) -> None:
    """Raise `UserError` if a minibatch is larger than the training split."""
    count = len(np.load(Path(prepared.folder) / "train.npy", mmap_mode="r"))
    if protocol.batch_size > count:
        raise UserError(
            f"the batch size {protocol.batch_size} is larger than the {count} training examples of {protocol.dataset}; "
            f"use {count} or less: --batch-size of run, or batch_size in a preset"
        )


def check_preprocessing(protocol: Protocol, prepared: PreparedDataset) -> None:
    """Raise `UserError` if a dimension must be divided by its scale, and has none."""
    constant = [i for i, scale in enumerate(prepared.facts.scale) if not scale > 0]
    if protocol.preprocessing == "standardised" and constant:
        raise UserError(
            f"--preprocessing standardised: dimension {constant[0]} of {protocol.dataset} has the same value in all "
            "training examples; remove it, or use --preprocessing none"
        )
