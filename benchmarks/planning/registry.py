"""Registry of variants: the project's, those of installed packages (entry points), and those of plug-in files."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.common.atomic_files import NAME_PATTERN, WORD_PATTERN
from benchmarks.common.errors import UserError, printable, unknown
from benchmarks.planning.data.catalogue import DATASETS
from benchmarks.planning.data.user import plugin_datasets
from benchmarks.planning.data.user.plugin_datasets import PluginDataset
from benchmarks.planning.imports.packages import list_packages, load_package
from benchmarks.planning.imports.records import Plugin, PluginModule
from benchmarks.planning.plugins import load_plugin
from vaezoo import ARCHITECTURES, VARIANTS, Architecture, Variant
from vaezoo.models import MLP

EXAMPLE_DEFINITION = 'VARIANTS = [Variant("mine", mlp_normal, elbo, pathwise)]'


@dataclass(frozen=True)
class RegisteredVariant:
    """A variant and its origin.

    source: text of the plug-in file that defines it; empty if it is part of an installed package.
    fingerprint: hash of the source of the plug-in or the package, with all that it imports outside of installed
    packages; part of the identity of cells. repository, commit: origin of a plug-in file, or name and version of a
    package. These are empty for the project's variants, because runs record the commit.
    """

    variant: Variant
    source: str = ""
    fingerprint: str = ""
    repository: str = ""
    commit: str = ""


@dataclass(frozen=True)
class RegisteredArchitecture:
    """An architecture and its origin; see `RegisteredVariant`."""

    architecture: Architecture
    source: str = ""
    fingerprint: str = ""


PERCEPTRON = RegisteredArchitecture(MLP)


@dataclass(frozen=True)
class Installed:
    """What the project and installed packages register, by name. faults: packages that are left out, and why."""

    variants: dict[str, RegisteredVariant]
    datasets: dict[str, PluginDataset]
    architectures: dict[str, RegisteredArchitecture]
    faults: list[str]


def load_registry(plugins: Iterable[Plugin] = ()) -> dict[str, RegisteredVariant]:
    """Return all variants by name: the project's, then those of installed packages, then those of plug-in files."""
    return _load(plugins).variants


def load_datasets(plugins: Iterable[Plugin] = ()) -> dict[str, PluginDataset]:
    """Return the data sets of installed packages and of plug-in files, by name."""
    return _load(plugins).datasets


def load_architectures(plugins: Iterable[Plugin] = ()) -> dict[str, RegisteredArchitecture]:
    """Return all architectures by name: the project's, then those of packages and of plug-in files."""
    return _load(plugins).architectures


def find_architecture(name: str, plugins: Iterable[Plugin] = ()) -> RegisteredArchitecture:
    """Return the architecture of that name; raise `UserError` if the name is unknown."""
    entries = load_architectures(plugins)
    if name not in entries:
        raise unknown("architecture", name, entries)
    return entries[name]


def _load(plugins: Iterable[Plugin]) -> Installed:
    registered = load_installed()
    for module in map(load_plugin, plugins):
        registered = _add(registered, module)
    return registered


@functools.cache
def load_installed() -> Installed:
    """Return what the project and installed packages register, and why packages are left out, one line each."""
    variants = {v.name: RegisteredVariant(v) for v in VARIANTS}
    registered = Installed(variants, {}, {a.name: RegisteredArchitecture(a) for a in ARCHITECTURES}, [])
    for point in list_packages():
        try:
            registered = _add(registered, load_package(point))
        except UserError as error:
            registered.faults.append(str(error))
    return registered


def print_faults() -> None:
    """Print on standard error which installed packages are left out, and why; a line for each."""
    for fault in load_installed().faults:
        print(f"left out: {printable(fault)}", file=sys.stderr)


def _add(registered: Installed, module: PluginModule) -> Installed:
    """Return the registry with what a plug-in defines."""
    if not any(hasattr(module.module, name) for name in ("VARIANTS", "DATASETS", "ARCHITECTURES")):
        raise UserError(f"{module.label} defines no VARIANTS, a list of Variant; for example: {EXAMPLE_DEFINITION}")
    return Installed(
        _add_variants(registered.variants, module),
        plugin_datasets.add_datasets(registered.datasets, module, DATASETS),
        _add_architectures(registered.architectures, module),
        registered.faults,
    )


def _add_architectures(
    entries: dict[str, RegisteredArchitecture], module: PluginModule
) -> dict[str, RegisteredArchitecture]:
    architectures = getattr(module.module, "ARCHITECTURES", ())
    if not isinstance(architectures, list | tuple) or not all(type(a) is Architecture for a in architectures):
        raise UserError(f"{module.label}: ARCHITECTURES is no list of Architecture; give a list")
    added = dict(entries)
    for architecture in architectures:
        if not NAME_PATTERN.fullmatch(architecture.name):
            name = architecture.name[:60]
            raise UserError(f"'{name}' can't be the name of an architecture; use letters, digits and . _ + -")
        if architecture.name in added:
            raise UserError(
                f"{module.label} defines an architecture '{architecture.name}', but that name is in use; give it "
                "another name"
            )
        added[architecture.name] = RegisteredArchitecture(architecture, module.source, module.fingerprint)
    return added


def _add_variants(entries: dict[str, RegisteredVariant], module: PluginModule) -> dict[str, RegisteredVariant]:
    """Return the entries with those of a plug-in; raise `UserError` if a name is in use, or a definition differs."""
    entries = dict(entries)
    for entry in _read_variants(module):
        name = entry.variant.name
        if name in entries:
            raise UserError(f"{module.label} defines a variant '{name}', but that name is in use; give it another name")
        entries[name] = entry
    _check_definitions([entry.variant for entry in entries.values()])
    return entries


def _check_definitions(variants: Sequence[Variant]) -> None:
    """Raise `UserError` if two variants have different objectives, reductions or estimators of the same name."""
    defined: dict[tuple[str, str], tuple[object, str]] = {}
    for v in variants:
        for kind, name, record in (
            ("objective", v.objective.name, v.objective),
            ("reduction", v.objective.reduction.name, v.objective.reduction),
            ("estimator", f"{v.estimator.name} {v.estimator.baseline_name}".strip(), v.estimator),
        ):
            first, owner = defined.setdefault((kind, name), (record, v.name))
            if first != record:
                raise UserError(
                    f"{kind} '{name}' of variant {v.name} has another definition than that of variant {owner}; give it "
                    "another name, or use the same definition"
                )


def find_variant(name: str, draws: int | None = None, plugins: Iterable[Plugin] = ()) -> RegisteredVariant:
    """Return the variant of that name, with K = `draws` if given; raise `UserError` if the name is unknown."""
    entries = load_registry(plugins)
    if name not in entries:
        error = unknown("variant", name, entries)
        raise UserError("; ".join([str(error), *load_installed().faults]))
    entry = entries[name]
    if draws is None:
        return entry
    try:
        return dataclasses.replace(entry, variant=dataclasses.replace(entry.variant, draws=draws))
    except ValueError as error:
        raise UserError(str(error)) from error


def _read_variants(plugin: PluginModule) -> Iterator[RegisteredVariant]:
    """Yield the variants that a plug-in defines; raise `UserError` if it defines none, or if a name is invalid."""
    variants = getattr(plugin.module, "VARIANTS", None)
    if variants is None:
        return
    if not isinstance(variants, list | tuple) or not variants or not all(type(v) is Variant for v in variants):
        raise UserError(f"{plugin.label} defines no VARIANTS, a list of Variant; for example: {EXAMPLE_DEFINITION}")
    for variant in variants:
        if not NAME_PATTERN.fullmatch(variant.name):
            raise UserError(f"'{variant.name[:60]}' can't be the name of a variant; use letters, digits and . _ + -")
        estimator = variant.estimator
        for name in (variant.objective.name, estimator.name, estimator.baseline_name):
            if not WORD_PATTERN.fullmatch(name):
                raise UserError(
                    f"{name[:60]!r} can't be the name of an objective, estimator or baseline of {variant.name}; "
                    "leave out $ and control characters"
                )
        yield RegisteredVariant(variant, plugin.source, plugin.fingerprint, plugin.repository, plugin.commit)
