"""Plans: from settings and the registry to the cases of a run, or one line that says why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import cases, data, environment, places, plugins
from benchmarks.cases import Case, Protocol
from benchmarks.errors import UserError, unknown
from benchmarks.plugins import Entry
from benchmarks.settings import Settings
from vaezoo import DataSpec
from vaezoo.likelihoods import LIKELIHOODS


def whole(
    settings: Settings,
    names: Sequence[str],
    plugin_files: Sequence[Path],
    data_root: Path | None,
    snapshot: float = Case.snapshot,
) -> list[Case]:
    """The cases of these variants, or of all where none is named, with their data prepared."""
    sources = plugins.read(plugin_files)
    entries = [plugins.find(n, settings.draws, sources) for n in dict.fromkeys(names or plugins.registry(sources))]
    protocol = resolve(settings)
    prepared = data.prepare(protocol.dataset, data_root or places.data_root())
    check_batch(protocol, prepared)
    return plan(entries, protocol, settings.seeds, prepared, snapshot)


def fields(entry: Entry) -> dict[str, Any]:
    """What a variant computes, as strings and numbers: part of its cells' identity."""
    variant = entry.variant
    return {
        "name": variant.name,
        "architecture": variant.architecture.__name__,
        "objective": variant.objective.name,
        "estimator": variant.estimator.name,
        "baseline": variant.estimator.baseline.name,
        "draws": variant.draws,
        "source": entry.fingerprint,
    }


def entry(case: Case) -> Entry:
    """The variant that a case is one of."""
    return plugins.find(case.variant, case.draws, [case.source] if case.source else [])


def spec(protocol: Protocol) -> DataSpec:
    """What an architecture is a function of, under this protocol."""
    declared = data.info(protocol.dataset)
    return DataSpec(declared.shape, protocol.likelihood, declared.hidden)


def resolve(settings: Settings) -> Protocol:
    """The protocol that these settings mean, or a `UserError` where they contradict each other."""
    declared = data.info(settings.dataset)
    likelihood = declared.likelihood if settings.likelihood is None else settings.likelihood
    if likelihood not in LIKELIHOODS:
        raise unknown("likelihood", likelihood, LIKELIHOODS)
    support = LIKELIHOODS[likelihood]().support
    usual = declared.binarization if support == "binary" else "none"
    binarization = usual if settings.binarization is None else settings.binarization
    grey = declared.likelihood == "bernoulli"
    if binarization != "none" and not grey:
        raise UserError(
            f"binarization {binarization} takes pixels as probabilities, but {settings.dataset} has real numbers; "
            "use --binarization none"
        )
    if support == "binary" and binarization == "none":
        remedy = "--binarization dynamic, or --likelihood continuous-bernoulli or" if grey else "--likelihood"
        raise UserError(
            f"the likelihood {likelihood} is one of binary data, but {settings.dataset} without binarization is not "
            f"binary; use {remedy} gaussian"
        )
    if support == "unit" and binarization != "none":
        raise UserError(
            f"the likelihood {likelihood} is a density on grey values, and binarization {binarization} leaves none; "
            "use --binarization none, or --likelihood bernoulli"
        )
    if support == "unit" and not grey:
        raise UserError(
            f"the likelihood {likelihood} is one of data in [0, 1], but {settings.dataset} has real numbers; "
            "use --likelihood gaussian"
        )
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "--device cuda: torch finds no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    return Protocol(
        dataset=settings.dataset,
        binarization=binarization,
        likelihood=likelihood,
        latent_dim=settings.latent_dim or declared.latent_dim,
        epochs=settings.epochs,
        checkpoints=tuple(sorted({c for c in settings.checkpoints if c < settings.epochs} | {settings.epochs})),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        evaluation_draws=settings.evaluation_draws,
        log_likelihood_draws=settings.log_likelihood_draws,
        gradient_repeats=settings.gradient_repeats,
        threads=settings.threads,
        device=settings.device,
        precision=settings.precision,
    )


def plan(
    entries: Iterable[Entry],
    protocol: Protocol,
    seeds: Iterable[int],
    prepared: data.Prepared,
    snapshot: float = Case.snapshot,
) -> list[Case]:
    """One case for each seed and variant, seeds outermost, so that an interrupted run has whole comparisons."""
    chosen = list(entries)
    identities = [_identity(entry, protocol, prepared) for entry in chosen]
    return [
        Case(
            entry.variant.name,
            fields=identity["variant"],
            source=entry.source,
            draws=entry.variant.draws,
            seed=seed,
            protocol=protocol,
            data_folder=prepared.folder,
            data_checksum=prepared.checksum,
            protocol_id=cases.identifier(identity),
            cell_id=cases.identifier(identity | {"seed": seed}),
            commit=environment.commit(),
            snapshot=snapshot,
        )
        for seed in seeds
        for entry, identity in zip(chosen, identities, strict=True)
    ]


def _identity(entry: Entry, protocol: Protocol, prepared: data.Prepared) -> dict[str, Any]:
    """All that decides a cell's numbers but its seed."""
    return {
        "variant": fields(entry),
        "data": prepared.checksum,
        "spec": dataclasses.asdict(spec(protocol)),
        "protocol": dataclasses.asdict(protocol),
    }


def check_batch(protocol: Protocol, prepared: data.Prepared) -> None:
    """Refuse a minibatch larger than the training split."""
    count = data.count(prepared)
    if protocol.batch_size > count:
        raise UserError(
            f"--batch-size {protocol.batch_size} is more than the {count} training examples of {protocol.dataset}; "
            f"use {count} or less"
        )
