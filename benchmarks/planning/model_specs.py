"""The properties of data and settings from which a variant builds its model, and the layers that are refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError, printable, shorten
from benchmarks.planning import registry
from benchmarks.planning.cases import Case, Protocol, parse_widths
from benchmarks.planning.data.facts import Facts, read_facts
from benchmarks.planning.data.tensors import count_levels
from vaezoo import Architecture, DataSpec, Model, TrainedModel, find_state
from vaezoo.models import MLP


def make_spec(protocol: Protocol, facts: Facts, architecture: Architecture = MLP) -> DataSpec:
    """Return the properties of the data and the settings from which a variant builds its model."""
    default = facts.hidden if architecture.hidden is None else architecture.hidden
    hidden = parse_widths(protocol.hidden) if protocol.hidden else default
    return DataSpec(
        facts.shape,
        protocol.likelihood,
        tuple(hidden),
        architecture,
        protocol.activation,
        protocol.prior,
        protocol.free_bits,
    )


def read_spec(cell: Any) -> DataSpec:
    """Return the properties from which a planned cell builds its model. cell: a `Case` or a cell of a study."""
    entry = registry.find_architecture(cell.protocol.architecture, cell.plugins)
    if entry.fingerprint != cell.architecture_fingerprint:
        raise UserError(
            f"the source of the architecture {cell.protocol.architecture}, or of a module that it imports, has changed "
            "since the start of this command; run the command again"
        )
    return make_spec(cell.protocol, read_facts(Path(cell.data_folder))[0], entry.architecture)


def describe_spec(spec: DataSpec, fingerprint: str = "") -> Record:
    """Describe a spec by strings and numbers, for the identity of cells; defaults leave older ids as they are.

    fingerprint: hash of the source of a plug-in that defines the architecture.
    """
    described: Record = {"shape": spec.shape, "likelihood": spec.likelihood, "hidden": spec.hidden}
    added = {
        "architecture": (spec.architecture.name, "mlp"),
        **{name: (getattr(spec, name), getattr(DataSpec, name)) for name in ("activation", "prior", "free_bits")},
        "source": (fingerprint, ""),
    }
    return described | {name: value for name, (value, default) in added.items() if value != default}


def make_trained_model(case: Case, model: Model, spec: DataSpec, facts: Facts) -> TrainedModel:
    """Return a trained model with the units of its data and its origin."""
    is_standardised, levels = case.protocol.preprocessing == "standardised", count_levels(case.protocol)
    mean, scale = (facts.mean, facts.scale) if is_standardised else ((), ())
    in_unit_interval = facts.values != "real"
    about = {
        "dataset": case.protocol.dataset,
        "data_checksum": case.data_checksum,
        "binarization": case.protocol.binarization,
        "seed": case.seed,
        "epoch": case.protocol.epochs,
        "commit": case.commit,
        "torch": torch.__version__,
        "cell_id": case.cell_id,
    }
    return TrainedModel(model, case.variant, spec, float(facts.maximum), mean, scale, levels, in_unit_interval, about)


def check_architecture(protocol: Protocol, facts: Facts, architecture: Architecture) -> None:
    """Raise `UserError` if the networks can't be built for these data, or have state of their own."""
    spec = make_spec(protocol, facts, architecture)
    try:
        encoder, width = architecture.encoder(spec)
        decoder = architecture.decoder(spec, protocol.latent_dim)
        check_state(f"the architecture {architecture.name}", encoder, decoder)
        pixels = math.prod(spec.shape)
        features, output = encoder(torch.zeros(2, pixels)), decoder(torch.zeros(1, 2, protocol.latent_dim))
        for name, shape, expected in (
            ("encoder", features.shape, (2, width)),
            ("decoder", output.shape, (1, 2, pixels)),
        ):
            if tuple(shape) != expected:
                raise ValueError(f"its {name} returns the shape {tuple(shape)} for two examples, not {expected}")
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # a plug-in's architecture can raise anything
        reason = printable(shorten(str(error) or type(error).__name__, 200))
        raise UserError(
            f"--architecture {architecture.name} can't be built for {protocol.dataset}: {reason}; use another one"
        ) from error


def check_state(label: str, *modules: nn.Module) -> None:
    """Raise `UserError` if a layer has state other than parameters, or draws random numbers."""
    for module in modules:
        if layer := find_state(module):
            raise UserError(
                f"{label} has the layer {layer}, whose output depends on other examples, earlier steps or numbers that "
                "are not the given noise; remove it, or use LayerNorm or GroupNorm"
            )
