"""What the micro-benchmarks share: cells of the default preset, ready to train."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks import data, kernels, places, planning, plugins, settings, training
from benchmarks.cases import Case
from benchmarks.data import Data
from benchmarks.executors.events import Limits
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
    protocol = planning.resolve(chosen)
    prepared = data.prepare(protocol.dataset, places.data_root())
    plan = planning.plan([plugins.registry([])[name] for name in names], protocol, chosen.seeds, prepared)
    return training.prepare(plan, 1, Limits())


def ready(case: Case) -> Ready:
    """As a cell's process makes it."""
    protocol = case.protocol
    kernels.settle(protocol.threads, protocol.precision)
    variant = planning.entry(case).variant
    model = build(variant, planning.spec(protocol), protocol.latent_dim)
    initialise(model, lambda name: generator(case.seed, f"init/{name}"))
    images = data.load(protocol.dataset, case.data_folder, protocol.binarization, protocol.device)
    return Ready(case, variant, model, images)
