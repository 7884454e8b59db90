"""The number of cores that a run may use: the smallest of the limits that the system and a scheduler set."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
SLURM_LIMIT = "SLURM_CPUS_PER_TASK"


def count_cores() -> int:
    """Return the number of CPU cores that this process may use; at least 1."""
    return max(1, math.ceil(min(list_core_limits().values())))


def list_core_limits() -> dict[str, float]:
    """Return each limit that is set, in cores, by its name; the quota may be a fraction."""
    limits = {"machine": float(os.cpu_count() or 1)}
    if sys.platform == "linux":
        limits["affinity"] = len(os.sched_getaffinity(0))
    if (quota := read_quota(CGROUPS, MEMBERSHIP)) < math.inf:
        limits["quota"] = quota
    if re.fullmatch("[1-9][0-9]{0,5}", cores := os.environ.get(SLURM_LIMIT, "")):
        limits[SLURM_LIMIT] = int(cores)
    return limits


def read_quota(cgroups: Path, membership: Path) -> float:
    """Return the smallest CPU quota of this process's control groups and of their parents, in cores; or infinity."""
    try:
        lines = membership.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux, or no /proc
        return math.inf
    return min((quota for line in lines for quota in _list_quotas(cgroups, line)), default=math.inf)


def _list_quotas(cgroups: Path, line: str) -> Iterator[float]:
    """Yield the quotas of one line of /proc/self/cgroup, "ID:CONTROLLERS:PATH"; version 2 names no controllers."""
    _, controllers, path = [*line.split(":", 2), "", ""][:3]
    if not controllers:
        roots = [cgroups, cgroups / "unified"]
    elif "cpu" in controllers.split(","):
        roots = [cgroups / controllers, cgroups / "cpu"]
    else:
        return
    for root in roots:
        group = root / path.strip("/")
        for folder in (group, *group.parents):  # a container may show its own group as the root
            if folder.is_relative_to(root):
                yield _read_quota(folder)


def _read_quota(folder: Path) -> float:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf
