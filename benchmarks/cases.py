"""Cases: what one cell is, and the identity by which it is known. Only a case crosses a process boundary."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import data, environment, manifests, plugins
from benchmarks.errors import UserError, unknown
from benchmarks.files import Record
from benchmarks.plugins import Entry
from benchmarks.settings import Settings
from vaezoo import DataSpec
from vaezoo.likelihoods import LIKELIHOODS


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

    source: the text of the plug-in file that defines the variant; empty where it can be imported. snapshot: seconds
    between those of its state. step: where its training step lies as machine code; empty where it runs uncompiled.
    """

    variant: str
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


def fields(entry: Entry) -> dict[str, str | int]:
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


def planned(case: Case) -> Record:
    """What the manifest holds of a case, and its own file too."""
    return manifests.planned(case, fields(entry(case)))


def data_folder(case: Any) -> str:
    """Where the data of a case, or of a probe, lie."""
    return str(case.data_folder)


def moved(case: Any, folder: str) -> Any:
    """The same with its data in another folder."""
    return dataclasses.replace(case, data_folder=folder)


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
    chosen, commit = list(entries), environment.commit()
    identities = [_identity(entry, protocol, prepared) for entry in chosen]
    return [
        _case(entry, protocol, seed, prepared, identity, commit, snapshot)
        for seed in seeds
        for entry, identity in zip(chosen, identities, strict=True)
    ]


def _identity(entry: Entry, protocol: Protocol, prepared: data.Prepared) -> dict[str, object]:
    """All that decides a cell's numbers but its seed."""
    return {
        "variant": fields(entry),
        "data": prepared.checksum,
        "spec": dataclasses.asdict(spec(protocol)),
        "protocol": dataclasses.asdict(protocol),
    }


def _case(
    entry: Entry,
    protocol: Protocol,
    seed: int,
    prepared: data.Prepared,
    identity: dict[str, object],
    commit: str,
    snapshot: float,
) -> Case:
    return Case(
        entry.variant.name,
        entry.source,
        entry.variant.draws,
        seed,
        protocol,
        prepared.folder,
        prepared.checksum,
        protocol_id=identifier(identity),
        cell_id=identifier(identity | {"seed": seed}),
        commit=commit,
        snapshot=snapshot,
    )


def identifier(identity: Mapping[str, object]) -> str:
    """A hash of what identifies a cell."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def check_batch(protocol: Protocol, prepared: data.Prepared) -> None:
    """Refuse a minibatch larger than the training split."""
    count = data.count(prepared)
    if protocol.batch_size > count:
        raise UserError(
            f"--batch-size {protocol.batch_size} is more than the {count} training examples of {protocol.dataset}; "
            f"use {count} or less"
        )
