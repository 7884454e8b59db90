"""Checks of this machine: what a run would do here, why, and the remedy where something is missing. Needs no torch."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from benchmarks.common import environment
from benchmarks.common.cache_paths import cache_root
from benchmarks.common.machine import compiler, cores, folders, inherited_settings

MEMORY_PER_CELL = 600  # MiB
LEAST_FREE = 1024  # MiB
BROWSERS = ("xdg-open", "open", "firefox", "firefox-esr", "chromium", "google-chrome", "microsoft-edge")
FONT = "fonts/ttf/DejaVuSans.ttf"


@dataclass(frozen=True)
class Check:
    """A fact about this machine. remedy: what to do; empty if nothing needs to be done. state "fault": no run works."""

    name: str
    fact: str
    remedy: str = ""
    state: Literal["ok", "note", "fault"] = "ok"


def make_check(name: str, fact: str, remedy: str = "") -> Check:
    """Return a note if there is a remedy, else a check that is ok."""
    return Check(name, fact, remedy, "note" if remedy else "ok")


def list_checks(out: Path) -> Iterator[Check]:
    """Yield the checks of this machine; out: the folder of the runs."""
    cache = check_user_cache()
    folders.choose_cache()  # the check of the compiler uses it
    yield Check("Python", f"{platform.python_version()}, {sys.executable}; code {environment.read_commit()}")
    processor = f"{environment.read_processor()['model name']}, {platform.machine()}"
    yield make_check("processor", processor, environment.describe_hidden_processor())
    yield check_cores(cores.list_core_limits(), inherited_settings.list_dropped())
    yield check_settings(inherited_settings.list_dropped())
    yield check_compiler()
    yield cache
    yield check_temporary_folder(Path(tempfile.gettempdir()), inherited_settings.INITIAL_TMPDIR)
    yield check_disk(out)
    yield check_memory(cores.count_cores())
    yield from check_limits()
    yield check_fonts()
    yield check_browser()
    yield make_check(
        "cluster", "Dask is installed" if find_spec("distributed") else "Dask is not installed: --executor dask fails",
        "" if find_spec("distributed") else "if you need it: pip install 'vaezoo[dask]'",
    )  # fmt: skip


def check_cores(limits: dict[str, float], dropped: dict[str, str]) -> Check:
    """Return how many cells run at a time, and the limit that decides it."""
    count = cores.count_cores()
    name, least = min(limits.items(), key=lambda item: item[1])
    fact = f"{count} of {limits['machine']:.0f}; cells that run at a time: {count}"
    remedy = ""
    if least < limits["machine"]:
        fact += f"; the limit is: {name} {least:g}"
        remedy = "for more cells, ask the scheduler or the container for more cores"
    if any("BIND" in variable or "AFFINITY" in variable for variable in dropped):
        fact += "; binding of threads to cores is ignored"
    return make_check("cores", fact, remedy)


def check_settings(dropped: dict[str, str]) -> Check:
    """Return which variables of the environment have no effect."""
    names = ", ".join(f"{name}={value}" for name, value in dropped.items())
    fact = f"ignored, so that results and speed do not depend on them: {names}" if dropped else "nothing is ignored"
    return Check("environment", fact)


def check_compiler() -> Check:
    """Return whether training steps are compiled."""
    if compiler.name_compiler() == compiler.DISABLED:
        return Check("compiler", "CXX=none: training steps run uncompiled")
    if reason := compiler.try_compiler():
        remedy = "install g++ (Debian: apt-get install g++), or name a compiler in CXX"
        return make_check("compiler", f"training steps run uncompiled: {reason}", remedy)
    return Check("compiler", f"{compiler.find_compiler()}: training steps are compiled if that saves time")


def check_user_cache() -> Check:
    """Return where decoded data and compiled steps are, also if the user has no home folder."""
    try:
        return check_cache(cache_root())
    except RuntimeError:  # from platformdirs
        fact = f"{folders.describe_homeless_user()}; a folder for temporary files is used"
        return make_check("cache", fact, "set VAEZOO_CACHE to a writable folder")


def check_cache(cache: Path) -> Check:
    """Return where decoded data and compiled steps are."""
    parent = next(path for path in (cache, *cache.parents) if path.exists())
    if not folders.is_writable(parent):
        fact = f"{cache} can't be written; a folder for temporary files is used"
        return make_check("cache", fact, "set VAEZOO_CACHE to a writable folder")
    if not folders.allows_programs(parent):
        fact = f"{cache} is mounted noexec; steps are compiled in {tempfile.gettempdir()}"
        return make_check("cache", fact, "set VAEZOO_CACHE to a folder without noexec")
    return Check("cache", f"{cache}, {read_free(parent):,} MiB free")


def check_temporary_folder(folder: Path, initial: str) -> Check:
    """Return which folder for temporary files is used, and why it is not the user's."""
    fact = f"{folder}, {read_free(folder):,} MiB free"
    if initial and Path(initial) != folder:
        reasons = {
            "it is mounted noexec": Path(initial).is_dir() and not folders.allows_programs(initial),
            "it can't be written": not Path(initial).is_dir() or not folders.is_writable(Path(initial)),
            f"its path has more than {folders.MAX_LENGTH} bytes": len(os.fsencode(initial)) > folders.MAX_LENGTH,
        }
        reason = " and ".join(text for text, holds in reasons.items() if holds)
        return make_check("temporary files", f"{fact}; not TMPDIR={initial}: {reason}", "set TMPDIR to another folder")
    if not folders.allows_programs(folder):
        remedy = "set TMPDIR to a folder without noexec"
        return make_check("temporary files", f"{fact}; mounted noexec: compiled steps can't be loaded", remedy)
    return Check("temporary files", fact)


def check_disk(out: Path) -> Check:
    """Return whether results can be written."""
    parent = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    if not folders.is_writable(parent):
        return Check("results", f"{out.absolute()} can't be written", "give another folder with --out", "fault")
    free = read_free(parent)
    remedy = "free space, or give another folder with --out" if free < LEAST_FREE else ""
    return make_check("results", f"{out.absolute()}, {free:,} MiB free", remedy)


def read_free(folder: Path) -> int:
    """Return the free space of a folder's file system, MiB."""
    return shutil.disk_usage(folder).free // 2**20


def check_memory(cells: int) -> Check:
    """Return whether the memory is enough for the cells that run at a time."""
    pages = [os.sysconf(name) for name in ("SC_AVPHYS_PAGES", "SC_PAGE_SIZE") if name in os.sysconf_names]
    if len(pages) < 2:
        return Check("memory", "unknown on this system")
    free = pages[0] * pages[1] // 2**20
    few = free < cells * MEMORY_PER_CELL
    fact = f"{free:,} MiB free; cells that run at a time need about {cells * MEMORY_PER_CELL:,} MiB"
    return make_check("memory", fact, "run fewer cells at a time with --workers" if few else "")


def check_limits() -> Iterator[Check]:
    """Yield the limits of processes that are too small for a run."""
    least = {"NOFILE": (256, "open files"), "FSIZE": (2**30, "bytes per file"), "NPROC": (200, "processes")}
    least |= {"AS": (16 * 2**30, "bytes of address space"), "DATA": (2**30, "bytes of data")}
    for name, (need, words) in least.items():
        soft, _ = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))
        if soft != resource.RLIM_INFINITY and soft < need:
            yield make_check("limits", f"{soft:,} {words}; a run needs about {need:,}", "raise the limit with ulimit")


def check_fonts() -> Check:
    """Return whether matplotlib has the font of the figures."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        return make_check("figures", "matplotlib is not installed: there are no figures", "pip install matplotlib")
    if not (Path(spec.origin).parent / "mpl-data" / FONT).is_file():
        remedy = "reinstall matplotlib with pip, or install the font DejaVu Sans"
        return make_check("figures", "matplotlib lacks its font DejaVu Sans: figures have another font", remedy)
    return Check("figures", "matplotlib with its font DejaVu Sans; no display is needed")


def check_browser() -> Check:
    """Return whether a browser can open report.html here."""
    if name := next((name for name in BROWSERS if shutil.which(name)), ""):
        return Check("report", f"{name} opens report.html")
    return make_check("report", "there is no browser here", "copy report.html, one file, to another machine")
