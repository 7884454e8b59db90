"""Probes: the laboratory's cells. A probe is a reference model's training, and what is measured on its way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import cases, data, environment, planning, plugins
from benchmarks.cases import Protocol
from benchmarks.errors import UserError
from benchmarks.plugins import Entry
from benchmarks.settings import Laboratory, Settings
from vaezoo import Variant, build, elbo, pathwise

CHECKPOINTS = ("initial", "early", "middle", "end")


@dataclass(frozen=True)
class Probe:
    """One cell: the studies of one reference model, for variants of one architecture.

    sources: texts of the plug-in files in force. repeats and the rest of what is measured where are in `laboratory`.
    """

    name: str
    studies: tuple[str, ...]
    variants: tuple[str, ...]
    sources: tuple[str, ...]
    seed: int
    protocol: Protocol
    laboratory: Laboratory
    data_folder: str
    data_checksum: str
    protocol_id: str
    cell_id: str
    commit: str

    @property
    def label(self) -> str:
        return f"{self.name}, seed {self.seed}"


def variants(probe: Probe) -> list[Variant]:
    """What the probe measures."""
    return [plugins.find(name, None, probe.sources).variant for name in probe.variants]


def reference(architecture: Any) -> Variant:
    """Whose training visits the parameters at which everything is measured."""
    return Variant("reference", architecture, elbo, pathwise)


def fields(probe: Probe) -> dict[str, Any]:
    """What a probe measures, as strings and numbers: part of its identity."""
    own = [planning.fields(plugins.find(name, None, probe.sources)) for name in probe.variants]
    measured = probe.laboratory.model_dump(mode="json")
    return {"name": probe.name, "studies": list(probe.studies), "variants": own, "laboratory": measured}


def protocol_of(settings: Settings) -> Protocol:
    """The reference models' protocol, or a `UserError` where its checkpoints are none."""
    measured = settings.gradients
    if list(measured.checkpoints) != sorted({*measured.checkpoints}) or max(measured.checkpoints) >= settings.epochs:
        raise UserError(
            f"the laboratory's checkpoints {list(measured.checkpoints)} have to ascend and lie before the last epoch, "
            f"{settings.epochs}; use other checkpoints, or more --epochs"
        )
    return planning.resolve(settings.model_copy(update={"checkpoints": (*measured.checkpoints, settings.epochs)}))


def plan(
    entries: Sequence[Entry],
    studies: Sequence[str],
    settings: Settings,
    sources: Sequence[str],
    prepared: data.Prepared,
) -> list[Probe]:
    """The probes that these studies need; those of the most studies first, since they take longest."""
    measured, protocol = settings.gradients, protocol_of(settings)
    planning.check_batch(protocol, prepared)
    by_architecture: dict[Any, list[Entry]] = {}
    for entry in entries:
        if build(entry.variant, planning.spec(protocol), 2).stochastic:
            by_architecture.setdefault(entry.variant.architecture, []).append(entry)
    if not by_architecture:
        raise UserError("no variant with latent noise is left to measure; see 'python -m benchmarks list'")
    commit = environment.commit()
    found = []
    for architecture, own in by_architecture.items():
        many = f", {architecture.__name__}" if len(by_architecture) > 1 else ""
        names = tuple(entry.variant.name for entry in own)
        for latents, seed, wanted in _trajectories(studies, settings, protocol.latent_dim):
            own_protocol = dataclasses.replace(protocol, latent_dim=latents)
            if "training" not in wanted:  # the other studies are at the middle
                middle = measured.checkpoints[-1]
                own_protocol = dataclasses.replace(own_protocol, epochs=middle, checkpoints=protocol.checkpoints[:-1])
            probe = Probe(
                f"{latents} latents{many}", wanted, names, tuple(sources), seed, own_protocol, measured,
                prepared.folder, prepared.checksum, "", "", commit,
            )  # fmt: skip
            found.append(_identified(probe))
    return found


def _trajectories(
    studies: Sequence[str], settings: Settings, latent_dim: int
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """(latents, seed, studies) of each reference model."""
    fewer = settings.seeds[: settings.gradients.fewer_seeds]
    for seed in settings.seeds:
        here = [s for s in studies if s == "training" or seed in fewer]
        if latent_dim not in settings.gradients.latent_dims:
            here = [s for s in here if s != "latent-dim"]
        if here:
            yield latent_dim, seed, tuple(here)
    if "latent-dim" in studies:
        for latents in sorted({*settings.gradients.latent_dims} - {latent_dim}, reverse=True):
            for seed in fewer:
                yield latents, seed, ("latent-dim",)


def _identified(probe: Probe) -> Probe:
    identity: dict[str, object] = {
        "variant": fields(probe),
        "data": probe.data_checksum,
        "spec": dataclasses.asdict(planning.spec(probe.protocol)),
        "protocol": dataclasses.asdict(probe.protocol),
    }
    return dataclasses.replace(
        probe, protocol_id=cases.identifier(identity), cell_id=cases.identifier(identity | {"seed": probe.seed})
    )
