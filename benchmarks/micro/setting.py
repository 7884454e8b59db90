"""What the micro-benchmarks share: cells of the default preset, ready to train."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks import cases, compiling, data, kernels, plugins, settings
from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.seeds import generator
from vaezoo import Model, Variant, build, initialise


@dataclass(frozen=True)
class Ready:
    """A case with its data and its model before training."""

    case: Case
    variant: Variant
    model: Model
    images: Data


def planned(names: Iterable[str], preset: str = "default", **changes: object) -> list[Case]:
    """One case for each variant and seed of a preset, their steps compiled where the rule says so."""
    chosen = settings.load(preset, changes)
    protocol = cases.resolve(chosen)
    prepared = data.prepare(protocol.dataset, data.data_root())
    plan = cases.plan([plugins.registry([])[name] for name in names], protocol, chosen.seeds, prepared)
    return compiling.prepare(plan, 1)


def ready(case: Case) -> Ready:
    """As a cell's process makes it."""
    protocol = case.protocol
    kernels.settle(protocol.threads, protocol.precision)
    variant = cases.entry(case).variant
    model = build(variant, cases.spec(protocol), protocol.latent_dim)
    initialise(model, lambda name: generator(case.seed, f"init/{name}"))
    images = data.load(protocol.dataset, case.data_folder, protocol.binarization, protocol.device)
    return Ready(case, variant, model, images)
