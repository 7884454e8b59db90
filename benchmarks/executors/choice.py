"""Which executor runs the cells."""

from __future__ import annotations

import math

from benchmarks.errors import UserError, unknown
from benchmarks.executors import child, local
from benchmarks.executors.devices import slots
from benchmarks.executors.events import Executor, Limits

NAMES = ("local", "dask")


def chosen(name: str, scheduler: str | None, device: str, workers: int | None, limits: Limits) -> Executor:
    """The executor of that name, or a `UserError` where what is asked of it contradicts itself."""
    if name not in NAMES:
        raise unknown("executor", name, NAMES)
    if scheduler is not None and name != "dask":
        raise UserError(f"--scheduler {scheduler} is an address of Dask's; add --executor dask, or leave it out")
    for limit, value in (("timeout", limits.timeout), ("memory", limits.memory)):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{limit} {value}: no cell can keep to that; give more than 0, or leave it out")
    child.check_limit(limits.memory)
    if name == "local":
        return local.executor(slots(device, workers), limits)
    from benchmarks.executors import cluster  # Dask is an extra

    return cluster.executor(scheduler, device, workers, limits)
