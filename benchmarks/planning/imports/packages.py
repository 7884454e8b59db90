"""Installed packages that register variants as entry points."""

from __future__ import annotations

import sys
import types
from importlib import metadata

from benchmarks.common import environment
from benchmarks.common.errors import UserError
from benchmarks.planning.imports.global_settings import keep_global_settings
from benchmarks.planning.imports.records import PluginModule
from benchmarks.planning.imports.trial import try_import
from benchmarks.planning.plugins import find_imported_files

ENTRY_POINT_GROUP = "vaezoo.variants"


def list_packages() -> list[metadata.EntryPoint]:
    """Return the entry points of all installed packages that register variants, in the order of their names."""
    return sorted(metadata.entry_points(group=ENTRY_POINT_GROUP))


def load_package(point: metadata.EntryPoint) -> PluginModule:
    """Import the module of an entry point; raise `UserError` if the import fails, hangs or ends its process."""
    package = point.dist.name if point.dist else point.module
    label = f"the installed package {package} (entry point {point.name})"
    if reason := try_import(point.load):
        raise UserError(f"{label} can't be loaded: {reason}; fix it, or uninstall it")
    try:
        with keep_global_settings():
            module = point.load()
        fingerprint = _hash_package(sys.modules[point.module.partition(".")[0]])
        version = point.dist.version if point.dist else ""
    except Exception as error:  # it differs from the trial, or its description lacks a version
        raise UserError(f"{label} can't be used: {type(error).__name__}: {error}; fix it, or uninstall it") from error
    return PluginModule(module, label, fingerprint, repository=package, commit=version)


def _hash_package(package: types.ModuleType) -> str:
    """Return a hash of all files of a package, and of files outside of installed packages that they import."""
    files = environment.list_source_files(package)
    reached = (path for file in files for path in find_imported_files(file.read_bytes(), package.__name__))
    return environment.hash_files({*files, *reached})[:16]
