"""Environment of a run: versions, machine, code. Does not import torch."""

from __future__ import annotations

import functools
import hashlib
import platform
import resource
import runpy
import sys
import types
from collections.abc import Iterable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.common import repositories
from benchmarks.common.machine import cores, inherited_settings

ROOT = Path(__file__).resolve().parents[2]
CPU_INFO = Path("/proc/cpuinfo")
PROJECT_PACKAGES = ("vaezoo", "benchmarks")
PACKAGES = (
    "vaezoo",
    "torch",
    "dask",
    "distributed",
    "torchvision",
    "numpy",
    "pandas",
    "scikit-learn",
    "mlxtend",
    "matplotlib",
)


@functools.cache
def read_commit() -> str:
    """Return the commit of the project's code, followed by "+" and a hash of the changes if some are not committed.

    If the code is not in a git repository (after `pip install`), return "source-" and a hash of the source.
    """
    commit = repositories.read_commit(Path(__file__).resolve(), [*PROJECT_PACKAGES, "pyproject.toml"])
    return commit or f"source-{hash_source()}"


def list_versions() -> dict[str, str]:
    """Return the versions that must be equal on all machines of a run, by name."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"vaezoo": f"{_version('vaezoo')} (code {hash_source()})", "torch": read_torch_version(), "Python": python}


@functools.cache
def hash_source() -> str:
    """Return a hash of the project's source."""
    return hash_files(path for package in PROJECT_PACKAGES for path in (ROOT / package).rglob("*.py"))[:12]


def hash_modules(*modules: types.ModuleType) -> str:
    """Return the SHA-256 of the source of these modules; a package stands for all its modules."""
    return hash_files(path for module in modules for path in list_source_files(module))


def list_source_files(module: types.ModuleType) -> list[Path]:
    """Return the file of a module, or all Python files of a package."""
    folders = [Path(folder) for folder in getattr(module, "__path__", ())]
    return [path for folder in folders for path in folder.rglob("*.py")] or [Path(module.__file__ or "")]


def hash_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of the contents of files, in the order of their paths."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()


def peak_memory_mib() -> float:
    """Return the largest resident memory of this process so far, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


@functools.cache
def read_torch_version() -> str:
    """Return `torch.__version__` without importing torch; the version of the package lacks the build (+cu126)."""
    spec = find_spec("torch")
    (folder,) = (spec and spec.submodule_search_locations) or ("",)
    return str(runpy.run_path(str(Path(folder) / "version.py"))["__version__"])


def read_project_version() -> str:
    """Return the version of vaezoo from its source, so that a checkout that is not installed has one, too."""
    text = (Path(__file__).parents[2] / "vaezoo" / "__init__.py").read_text(encoding="utf-8")
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("__version__"))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def read_processor() -> dict[str, str]:
    """Return "model name", "vendor_id" and "flags" of the first CPU from /proc/cpuinfo; empty if unknown."""
    return parse_processor(CPU_INFO.read_text(errors="replace") if CPU_INFO.is_file() else "")


def describe_hidden_processor() -> str:
    """Return one line if this system hides its processor from torch, which then rounds differently; else \"\"."""
    if sys.platform != "linux" or CPU_INFO.is_file():
        return ""
    return f"{CPU_INFO} is missing, so torch may use slower kernels that round differently; mount /proc"


def parse_processor(text: str) -> dict[str, str]:
    """Return the same from the text of /proc/cpuinfo. An ARM processor has numbers instead of a name."""
    lines = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    values = {key.strip(): value.strip() for key, value in lines.items()}
    numbers = [f"{key} {values[key]}" for key in ("CPU implementer", "CPU part", "CPU variant") if key in values]
    return {
        "model name": values.get("model name") or ", ".join(numbers) or platform.processor() or platform.machine(),
        "vendor_id": values.get("vendor_id", ""),
        "flags": values.get("flags") or values.get("Features", ""),
    }


def describe_environment(threads: int, workers: int) -> dict[str, Any]:
    """Return the content of environment.json, except the part about kernels."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: _version(package) for package in PACKAGES},
        "processor": read_processor()["model name"],
        "cores": cores.count_cores(),
        "core_limits": cores.list_core_limits(),
        "ignored_variables": inherited_settings.list_dropped(),
        "threads_per_cell": threads,
        "workers": workers,
        "commit": read_commit(),
        "dirty": "+" in read_commit(),
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
    }
