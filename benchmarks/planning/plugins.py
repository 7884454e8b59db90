"""Plug-ins: files that define variants, and the source that they reach."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import linecache
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from benchmarks.common import environment, repositories
from benchmarks.common.errors import UserError
from benchmarks.planning.imports.global_settings import keep_global_settings
from benchmarks.planning.imports.records import Plugin, PluginModule

INSTALLED_FOLDERS = {"site-packages", "dist-packages"}


def read_plugins(paths: Sequence[Path]) -> list[Plugin]:
    """Return the content and the origin of each plug-in file; raise `UserError` if one is unreadable."""
    plugins = []
    for path in paths:
        try:
            source = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise UserError(f"--plugin {path}: {reason}; name a Python file that defines VARIANTS") from error
        file, label = path.resolve(), f"--plugin {path}"
        plugins.append(Plugin(source, repositories.read_origin(file), repositories.read_commit(file), label))
    return plugins


def load_plugin(plugin: Plugin) -> PluginModule:
    """Run the file as a module, once per process. It can import files of the working folder, and of Python's path."""
    name = f"vaezoo_plugin_{hashlib.sha256(plugin.source.encode()).hexdigest()[:16]}"
    if name not in sys.modules:
        module = types.ModuleType(name)
        lines = plugin.source.splitlines(keepends=True)
        linecache.cache[f"<{name}>"] = (len(plugin.source), None, lines, f"<{name}>")
        sys.modules[name] = module  # dataclasses and pickle look up definitions there
        sys.path.append(str(Path.cwd()))  # last, so that a file there replaces no other module
        try:
            with keep_global_settings():
                exec(compile(plugin.source, f"<{name}>", "exec"), module.__dict__)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            place = f"{plugin.label}: {_locate_error(error, name)}"
            raise UserError(f"{place}{type(error).__name__}: {error}; fix the file") from error
    contents = [plugin.source.encode(), *(path.read_bytes() for path in find_imported_files(plugin.source))]
    fingerprint = hashlib.sha256(b"".join(contents)).hexdigest()[:16]
    return PluginModule(sys.modules[name], plugin.label, fingerprint, plugin.source, plugin.repository, plugin.commit)


def _locate_error(error: BaseException, name: str) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"<{name}>"]
    return f"line {lines[-1]}: " if lines else ""


def find_imported_files(source: str | bytes, package: str = "") -> list[Path]:
    """Return the files of modules that the import statements of a source reach, directly or through other such files.

    Files of the standard library, of installed packages and of this project are left out: runs record their versions.

    package: name of the package to which the source belongs, for relative imports.
    """
    files: set[Path] = set()
    pending = [(source, package)]
    while pending:
        for module in _imported_modules(*pending.pop()):
            path = _locate(module)
            if path and path not in files:
                files.add(path)
                is_package = path.name == "__init__.py"
                pending.append((path.read_bytes(), module if is_package else module.rpartition(".")[0]))
    return sorted(files)


def _imported_modules(source: str | bytes, package: str) -> Iterator[str]:
    """Yield the names after `import` and `from`, with their parent packages; some may be no modules."""
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: 1 - node.level or None] if node.level else []
            names = [".".join([*parents, *filter(None, [node.module]), alias.name]) for alias in node.names]
        for name in filter(None, names):
            parts = name.split(".")
            yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _locate(module: str) -> Path | None:
    """Return the file of a module; None if it is no module, or part of an installed package."""
    root = module.partition(".")[0]
    if root in (*environment.PROJECT_PACKAGES, *sys.stdlib_module_names) or not _is_local(root):
        return None
    path = Path(getattr(_find_spec(module), "origin", None) or "")
    return path if path.suffix == ".py" else None


def _is_local(root: str) -> bool:
    """Return whether a top-level package or module is outside of the folders of installed packages."""
    spec = _find_spec(root)
    folders = (spec and [spec.origin or "", *(spec.submodule_search_locations or ())]) or []
    return bool(folders) and not any(INSTALLED_FOLDERS & {*Path(folder).parts} for folder in folders)


def _find_spec(module: str) -> ModuleSpec | None:
    try:
        return sys.modules[module].__spec__ if module in sys.modules else importlib.util.find_spec(module)
    except (ImportError, ValueError):  # the name of a function or class, not of a module
        return None
