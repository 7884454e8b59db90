"""Registry of variants: the project's, those of installed packages (entry points), and those of plug-in files."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.common.atomic_files import NAME_PATTERN, WORD_PATTERN
from benchmarks.common.errors import UserError, printable, unknown
from benchmarks.planning.imports.packages import list_packages, load_package
from benchmarks.planning.plugins import Plugin, PluginModule, load_plugin
from vaezoo import VARIANTS, Variant

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


def load_registry(plugins: Iterable[Plugin] = ()) -> dict[str, RegisteredVariant]:
    """Return all variants by name: the project's, then those of installed packages, then those of plug-in files."""
    entries, _ = load_installed()
    for module in map(load_plugin, plugins):
        entries = _add_variants(entries, module)
    return entries


@functools.cache
def load_installed() -> tuple[dict[str, RegisteredVariant], list[str]]:
    """Return the variants of the project and of installed packages, and why packages are left out, one line each."""
    entries, faults = {v.name: RegisteredVariant(v) for v in VARIANTS}, []
    for point in list_packages():
        try:
            entries = _add_variants(entries, load_package(point))
        except UserError as error:
            faults.append(str(error))
    return entries, faults


def print_faults() -> None:
    """Print on standard error which installed packages are left out, and why; a line for each."""
    for fault in load_installed()[1]:
        print(f"left out: {printable(fault)}", file=sys.stderr)


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
        raise UserError("; ".join([str(error), *load_installed()[1]]))
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
