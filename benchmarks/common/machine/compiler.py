"""The C++ compiler of training steps."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.common.cache_paths import cache_root
from benchmarks.common.machine.folders import allows_programs

VARIABLE, DEFAULT, DISABLED = "CXX", "g++", "none"
TRIAL_SECONDS = 60


def name_compiler() -> str:
    """Return the name of the compiler: the variable CXX, or g++. "none" means that nothing is compiled."""
    return os.environ.get(VARIABLE) or DEFAULT


def find_compiler() -> str | None:
    """Return the path of the compiler; None if it is not installed."""
    return shutil.which(name_compiler())


def find_program_folder() -> Path:
    """Return a folder from which programs can be loaded: the cache, unless it is mounted noexec."""
    cache = cache_root()
    return cache if cache.is_dir() and allows_programs(cache) else Path(tempfile.gettempdir())


def try_compiler() -> str:
    """Compile and load a library of one function; return why that fails, or an empty text."""
    compiler = find_compiler()
    if compiler is None:
        return f"{name_compiler()} is not there"
    with tempfile.TemporaryDirectory(dir=find_program_folder()) as folder:
        source, library = Path(folder, "trial.cpp"), Path(folder, "trial.so")
        source.write_text('#include <cmath>\nextern "C" int trial() { return 7; }\n')
        command = [compiler, "-shared", "-fPIC", str(source), "-o", str(library)]
        try:
            done = subprocess.run(command, capture_output=True, timeout=TRIAL_SECONDS, check=False)
            if done.returncode:
                return " ".join(done.stderr.decode(errors="replace").split())[:200] or f"exit code {done.returncode}"
            return "" if ctypes.CDLL(str(library)).trial() == 7 else "its program computes a wrong number"
        except (OSError, subprocess.SubprocessError) as error:
            return " ".join(str(error).split())[:200]
