"""Planner: turns settings and variants into the cases of a run, or raises `UserError` if they contradict."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import cache_paths, environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError, unknown
from benchmarks.common.machine.folders import choose_cache
from benchmarks.planning import cases, datasets, registry
from benchmarks.planning.cases import Case, Protocol
from benchmarks.planning.plugins import Plugin, read_plugins
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import Settings
from vaezoo import DataSpec
from vaezoo.distributions.likelihoods import LIKELIHOODS


def plan_run(
    settings: Settings,
    names: Sequence[str],
    plugin_files: Sequence[Path],
    data_root: Path | None,
    snapshot: float = Case.snapshot,
) -> list[Case]:
    """Return the cases of these variants, of all registered ones if `names` is empty, and prepare their data set."""
    choose_cache()
    plugins = read_plugins(plugin_files)
    if not names:
        registry.print_faults()
    entries = [
        registry.find_variant(n, settings.draws, plugins)
        for n in dict.fromkeys(names or registry.load_registry(plugins))
    ]
    protocol = resolve_protocol(settings)
    prepared = datasets.prepare_dataset(protocol.dataset, data_root or cache_paths.data_root())
    check_batch_size(protocol, prepared)
    return plan_cells(entries, protocol, settings.seeds, prepared, snapshot)


def describe_variant(entry: RegisteredVariant) -> dict[str, Any]:
    """Describe a variant's computation by strings and numbers; the description is part of the identity of cells."""
    variant = entry.variant
    return {
        "name": variant.name,
        "architecture": variant.architecture.__name__,
        "objective": variant.objective.name,
        "estimator": variant.estimator.name,
        "baseline": variant.estimator.baseline_name,
        "draws": variant.draws,
        "source": entry.fingerprint,
    }


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


def make_spec(protocol: Protocol) -> DataSpec:
    """Return shape, likelihood and hidden widths: the input from which an architecture builds a model."""
    info = datasets.find_dataset(protocol.dataset)
    return DataSpec(info.shape, protocol.likelihood, info.hidden)


def resolve_protocol(settings: Settings) -> Protocol:
    """Return the protocol of these settings, with defaults of the data set; raise `UserError` if they contradict."""
    info = datasets.find_dataset(settings.dataset)
    likelihood = info.likelihood if settings.likelihood is None else settings.likelihood
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    support = LIKELIHOODS[likelihood]().support
    default = info.binarization if support == "binary" else "none"
    binarization = default if settings.binarization is None else settings.binarization
    is_grey, is_binarized = info.likelihood == "bernoulli", binarization != "none"
    method, purpose = f"binarization {binarization}", f"the likelihood {likelihood} is for"
    is_real, is_not_binary = (
        f"{settings.dataset} {text}" for text in ("has real numbers", "without binarization is not binary")
    )
    for_grey = "--binarization dynamic, or --likelihood continuous-bernoulli or" if is_grey else "--likelihood"
    refusals = (  # whether it applies, what is needed, what contradicts it, and what to use instead
        (is_binarized and not is_grey, f"{method} needs pixels in [0, 1]", is_real, "--binarization none"),
        (support == "binary" and not is_binarized, f"{purpose} binary data", is_not_binary, f"{for_grey} gaussian"),
        (
            support == "unit" and is_binarized,
            f"{purpose} grey pixels",
            f"{method} makes them binary",
            "--binarization none, or --likelihood bernoulli",
        ),
        (support == "unit" and not is_grey, f"{purpose} data in [0, 1]", is_real, "--likelihood gaussian"),
    )
    for applies, need, contradiction, remedy in refusals:
        if applies:
            raise UserError(f"{need}, but {contradiction}; use {remedy}")
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch finds no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    resolved = {
        "binarization": binarization,
        "likelihood": likelihood,
        "latent_dim": settings.latent_dim or info.latent_dim,
        "checkpoints": tuple(sorted({c for c in settings.checkpoints if c < settings.epochs} | {settings.epochs})),
    }
    return Protocol(**{field.name: getattr(settings, field.name) for field in dataclasses.fields(Protocol)} | resolved)


def plan_cells(
    entries: Sequence[RegisteredVariant],
    protocol: Protocol,
    seeds: Iterable[int],
    prepared: datasets.PreparedDataset,
    snapshot: float = Case.snapshot,
) -> list[Case]:
    """Return one case per seed and variant; seeds are the outer loop, so that an interrupted run is comparable."""
    descriptions = [describe_variant(entry) for entry in entries]
    identities: list[dict[str, Any]] = [
        {
            "variant": description,
            "data": prepared.checksum,
            "spec": dataclasses.asdict(make_spec(protocol)),
            "protocol": dataclasses.asdict(protocol),
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
            protocol_id=cases.hash_identity(identity | {"variant": identity["variant"] | {"source": ""}}),
            cell_id=cases.hash_identity(identity | {"seed": seed}),
            commit=environment.read_commit(),
            snapshot=snapshot,
        )
        for seed in seeds
        for entry, identity in zip(entries, identities, strict=True)
    ]


def check_batch_size(protocol: Protocol, prepared: datasets.PreparedDataset) -> None:
    """Raise `UserError` if a minibatch is larger than the training split."""
    count = len(np.load(Path(prepared.folder) / "train.npy", mmap_mode="r"))
    if protocol.batch_size > count:
        raise UserError(
            f"--batch-size {protocol.batch_size} is larger than the {count} training examples of {protocol.dataset}; "
            f"use {count} or less"
        )
