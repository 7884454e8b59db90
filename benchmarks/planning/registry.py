"""Registry of variants: the project's, those of installed packages (entry points), and those of plug-in files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import linecache
import sys
import traceback
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.common import environment
from benchmarks.common.atomic_files import NAME_PATTERN, WORD_PATTERN
from benchmarks.common.errors import UserError, unknown
from vaezoo import VARIANTS, Variant

ENTRY_POINT_GROUP = "vaezoo.variants"
EXAMPLE_DEFINITION = 'VARIANTS = [Variant("mine", mlp_normal, elbo, pathwise)]'


@dataclass(frozen=True)
class RegisteredVariant:
    """A variant and its origin.

    source: text of the plug-in file that defines it; empty if it is part of an installed package.
    fingerprint: hash of the source of the plug-in or the package, part of the identity of cells; empty for the
    project's variants, because runs record the commit.
    """

    variant: Variant
    source: str = ""
    fingerprint: str = ""


def load_registry(sources: Iterable[str] = ()) -> dict[str, RegisteredVariant]:
    """Return all variants by name: the project's, then those of installed packages, then those of plug-in files."""
    entries = {v.name: RegisteredVariant(v) for v in VARIANTS}
    plugins = [*_load_installed(), *((entry, "the plug-in") for source in sources for entry in _load_source(source))]
    for entry, origin in plugins:
        name = entry.variant.name
        if name in entries:
            raise UserError(f"{origin} defines a variant '{name}', but that name is in use; give it another name")
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


def find_variant(name: str, draws: int | None = None, sources: Iterable[str] = ()) -> RegisteredVariant:
    """Return the variant of that name, with K = `draws` if given; raise `UserError` if the name is unknown."""
    entries = load_registry(sources)
    if name not in entries:
        raise unknown("variant", name, entries)
    entry = entries[name]
    if draws is None:
        return entry
    try:
        return dataclasses.replace(entry, variant=dataclasses.replace(entry.variant, draws=draws))
    except ValueError as error:
        raise UserError(str(error)) from error


def read_plugins(paths: Sequence[Path]) -> list[str]:
    """Return the source of each plug-in file; raise `UserError` if one does not define variants."""
    sources = []
    for path in paths:
        try:
            sources.append(path.read_text(encoding="utf-8-sig"))
            _load_source(sources[-1])
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"--plugin {path}: {reason}; name a Python file that defines VARIANTS") from error
        except UserError as error:
            raise UserError(f"--plugin {path}: {error}") from error
    return sources


def _load_source(source: str) -> list[RegisteredVariant]:
    """Run the source as a module, once per process. It can import installed packages, but no file of its folder."""
    fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]
    name = f"vaezoo_plugin_{fingerprint}"
    if name not in sys.modules:
        module = types.ModuleType(name)
        linecache.cache[f"<{name}>"] = (len(source), None, source.splitlines(keepends=True), f"<{name}>")
        sys.modules[name] = module  # dataclasses and pickle look up definitions there
        try:
            exec(compile(source, f"<{name}>", "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UserError(f"{_locate_error(error, name)}{type(error).__name__}: {error}; fix the file") from error
    return [RegisteredVariant(v, source, fingerprint) for v in _read_variants(sys.modules[name], "it")]


def _locate_error(error: BaseException, name: str) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"<{name}>"]
    return f"line {lines[-1]}: " if lines else ""


def _read_variants(module: Any, origin: str) -> list[Variant]:
    variants = getattr(module, "VARIANTS", None)
    if not isinstance(variants, list | tuple) or not variants or not all(type(v) is Variant for v in variants):
        raise UserError(f"{origin} defines no VARIANTS, a list of Variant; for example: {EXAMPLE_DEFINITION}")
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
    return list(variants)


@functools.cache
def _load_installed() -> list[tuple[RegisteredVariant, str]]:
    entries = []
    for point in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP)):
        origin = f"the installed package {point.dist.name if point.dist else point.module} (entry point {point.name})"
        try:
            module = point.load()
        except Exception as error:
            raise UserError(
                f"{origin} can't be loaded: {type(error).__name__}: {error}; fix it, or uninstall it"
            ) from error
        fingerprint = environment.hash_modules(sys.modules[point.module.partition(".")[0]])[:16]
        entries += [(RegisteredVariant(v, fingerprint=fingerprint), origin) for v in _read_variants(module, origin)]
    return entries
