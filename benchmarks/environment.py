"""Where a run takes place: versions, machine, code. Needs no torch."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import runpy
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CODE = Path(__file__).resolve().parent.parent
PATHS = ("vaezoo", "benchmarks", "pyproject.toml")
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
    "seaborn",
    "matplotlib",
)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(CODE), *arguments], capture_output=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()


@functools.cache
def commit() -> str:
    """The commit of the project's code; "+" and a hash of the changes behind it where some are not committed.

    Where the code is not a checkout, as after an ordinary installation, "source-" and a hash of it.
    """
    if _git("ls-files", "--error-unmatch", str(Path(__file__).resolve())) is None:
        return f"source-{code()}"
    head = (_git("rev-parse", "HEAD") or "")[:12]
    changes = _git("diff", "HEAD", "--", *PATHS)
    return f"{head}+{hashlib.sha256(changes.encode()).hexdigest()[:6]}" if changes else head


def versions() -> dict[str, str]:
    """What has to be equal on all machines of a run, by name."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"vaezoo": f"{_version('vaezoo')} (code {code()})", "torch": torch_version(), "Python": python}


@functools.cache
def code(patterns: tuple[str, ...] = ("vaezoo/**/*.py", "benchmarks/**/*.py")) -> str:
    """A hash of the project's own source, wherever it was installed from, or of those of its files."""
    digest = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(CODE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@functools.cache
def torch_version() -> str:
    """`torch.__version__`, which says more than the package's, without the seconds that it takes to import it."""
    found = find_spec("torch")
    (folder,) = (found and found.submodule_search_locations) or ("",)
    return str(runpy.run_path(str(Path(folder) / "version.py"))["__version__"])


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def processor() -> dict[str, str]:
    """The first processor's "model name", "vendor_id" and "flags", as Linux tells them; empty where it is silent."""
    found = {"model name": platform.processor() or platform.machine(), "vendor_id": "", "flags": ""}
    info = Path("/proc/cpuinfo")
    if info.is_file():
        first = info.read_text(errors="replace").split("\n\n")[0]
        lines = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
        told = {key.strip(): value.strip() for key, value in lines.items()}
        found |= {key: told[key] for key in found if key in told}
    return found


def describe(threads: int, workers: int) -> dict[str, Any]:
    """What environment.json holds."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {package: _version(package) for package in PACKAGES},
        "processor": processor()["model name"],
        "cores": cores(),
        "threads_per_cell": threads,
        "workers": workers,
        "commit": commit(),
        "dirty": "+" in commit(),
        "command": ["python", "-m", "benchmarks", *sys.argv[1:]],
    }
