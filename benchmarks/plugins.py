"""The registry: the project's variants, those of installed packages (entry points), and those of files a user names.

What comes from outside is known by a hash of its source, which is part of its cells' identity.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import linecache
import sys
import traceback
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError, unknown
from benchmarks.files import NAME, WORD
from vaezoo import VARIANTS, Variant

GROUP = "vaezoo.variants"
EXAMPLE = 'VARIANTS = [Variant("mine", mlp_normal, elbo, pathwise)]'


@dataclass(frozen=True)
class Entry:
    """A variant and where it comes from.

    source: the text of the file that made it; empty where it is part of an installed package.
    fingerprint: hash of all source that is its author's, empty for the project's own (whose commit is recorded).
    """

    variant: Variant
    source: str = ""
    fingerprint: str = ""


def registry(sources: Iterable[str] = ()) -> dict[str, Entry]:
    """Every variant by name: the project's own, then those of installed packages, then those of plug-in files."""
    found = {v.name: Entry(v) for v in VARIANTS}
    outside = [*_installed(), *((entry, "the plug-in") for source in sources for entry in _of_source(source))]
    for entry, where in outside:
        name = entry.variant.name
        if name in found:
            raise UserError(f"{where} defines a variant '{name}', and there is one of that name; give it another name")
        found[name] = entry
    return found


def find(name: str, draws: int | None = None, sources: Iterable[str] = ()) -> Entry:
    """The variant of that name, with `draws` in the place of its own if given."""
    found = registry(sources)
    if name not in found:
        raise unknown("variant", name, found)
    if draws is None:
        return found[name]
    try:
        return dataclasses.replace(found[name], variant=dataclasses.replace(found[name].variant, draws=draws))
    except ValueError as error:
        raise UserError(str(error)) from error


def read(paths: Sequence[Path]) -> list[str]:
    """The source of each plug-in file, after it has been seen to define variants."""
    return [_read(path) for path in paths]


def _read(path: Path) -> str:
    try:
        source = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UserError(f"--plugin {path}: {reason}; name a Python file that defines VARIANTS") from error
    try:
        _of_source(source)
    except UserError as error:
        raise UserError(f"--plugin {path}: {error}") from error
    return source


def _of_source(source: str) -> list[Entry]:
    """Run the text as a module of its own, once in a process; it can import what is installed, no file beside it."""
    fingerprint = hashlib.sha256(source.encode()).hexdigest()[:16]
    name = f"vaezoo_plugin_{fingerprint}"
    if name not in sys.modules:
        module = types.ModuleType(name)
        linecache.cache[f"<{name}>"] = (len(source), None, source.splitlines(keepends=True), f"<{name}>")
        sys.modules[name] = module  # where dataclasses and pickle look for what the file defines
        try:
            exec(compile(source, f"<{name}>", "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise UserError(f"{_where(error, name)}{type(error).__name__}: {error}; mend the file") from error
    return [Entry(v, source, fingerprint) for v in _variants(sys.modules[name], "it")]


def _where(error: BaseException, name: str) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"<{name}>"]
    return f"line {lines[-1]}: " if lines else ""


def _variants(holder: Any, what: str) -> list[Variant]:
    found = getattr(holder, "VARIANTS", None)
    if not isinstance(found, list | tuple) or not found or not all(type(v) is Variant for v in found):
        raise UserError(f"{what} defines no VARIANTS, a list of Variant; for example: {EXAMPLE}")
    for variant in found:
        if not NAME.fullmatch(variant.name):
            raise UserError(f"'{variant.name[:60]}' can't be a variant's name; use letters, digits and . _ + -")
        estimator = variant.estimator
        for word in (variant.objective.name, estimator.name, estimator.baseline.name):
            if not WORD.fullmatch(word):
                raise UserError(
                    f"{word[:60]!r} can't name a part of {variant.name}; leave out $ and control characters"
                )
    return list(found)


@functools.cache
def _installed() -> tuple[tuple[Entry, str], ...]:
    return tuple(_entry_points())


def _entry_points() -> Iterator[tuple[Entry, str]]:
    for point in sorted(metadata.entry_points(group=GROUP)):
        where = f"the installed package {point.dist.name if point.dist else point.module} (entry point {point.name})"
        try:
            module = point.load()
        except Exception as error:
            raise UserError(
                f"{where} can't be loaded: {type(error).__name__}: {error}; mend it, or uninstall it"
            ) from error
        for variant in _variants(module, where):
            yield Entry(variant, fingerprint=_package(point.module)), where


def _package(module: str) -> str:
    """Hash of every Python file of the package that the module is part of."""
    spec = find_spec(module.partition(".")[0])
    if spec is None:
        return ""
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = sorted(file for folder in folders for file in folder.rglob("*.py")) or [Path(spec.origin or "")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
