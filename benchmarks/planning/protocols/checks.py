"""Contradictions between a protocol, its data and its variants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common.errors import UserError
from benchmarks.planning.cases import Protocol
from benchmarks.planning.data.facts import PreparedDataset
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.schedules import CONSTANT
from vaezoo import DataSpec, build


def check_objectives(protocol: Protocol, entries: Sequence[RegisteredVariant]) -> None:
    """Raise `UserError` if the KL has a changing weight or free bits, and an objective does not use them."""
    for entry in entries:
        name, objective = entry.variant.name, entry.variant.objective
        if protocol.kl_schedule != CONSTANT and not objective.weighs_kl:
            raise UserError(
                f"--kl-schedule {protocol.kl_schedule}: the objective {objective.name} of {name} does not declare that "
                "it uses model.kl_weight (weighs_kl=True); leave out the variant, or the schedule"
            )
        if protocol.free_bits and not objective.frees_bits:
            raise UserError(
                f"--free-bits {protocol.free_bits:g}: the objective {objective.name} of {name} has no KL in closed "
                "form for each latent; leave out the variant, or the option"
            )


def check_latents(entries: Sequence[RegisteredVariant], latent_dims: Sequence[int], spec: DataSpec) -> None:
    """Raise `UserError` if the model of a project's variant can't have this number of latents."""
    for entry, latent_dim in zip(entries, latent_dims, strict=True):
        if entry.source:  # a plug-in can raise anything, and its cell records that
            continue
        try:
            build(entry.variant, spec, latent_dim)
        except ValueError as error:
            prefix = f"{entry.variant.name}: "
            raise UserError(f"{prefix}{str(error).removeprefix(prefix)}, or leave out the variant") from error


def check_counts(protocol: Protocol, prepared: PreparedDataset) -> None:
    """Raise `UserError` if there are too few training examples, or if both data and user give a validation split."""
    folder = Path(prepared.folder)
    counts = {name: len(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ("train", "validation")}
    if protocol.held_out and counts["validation"]:
        raise UserError(
            f"--held-out {protocol.held_out}: {protocol.dataset} has {counts['validation']} validation examples of its "
            "own; leave the option out"
        )
    count = max(0, counts["train"] - protocol.held_out)
    if protocol.batch_size > count:
        remedy = f"use {count} or less: --batch-size of run, or batch_size in a preset"
        raise UserError(
            f"the batch size {protocol.batch_size} is larger than the {count} training examples of {protocol.dataset}; "
            + (f"hold out less than {protocol.held_out}" if protocol.held_out else remedy)
        )


def check_preprocessing(protocol: Protocol, prepared: PreparedDataset) -> None:
    """Raise `UserError` if a dimension must be divided by its scale, and has none."""
    constant = [i for i, scale in enumerate(prepared.facts.scale) if not scale > 0]
    if protocol.preprocessing == "standardised" and constant:
        raise UserError(
            f"--preprocessing standardised: dimension {constant[0]} of {protocol.dataset} has the same value in all "
            "training examples; remove it, or use --preprocessing none"
        )
