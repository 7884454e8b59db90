"""The choice of the executor and of the environment of each cell."""

from __future__ import annotations

import math
import os
import sys

from benchmarks.common import environment
from benchmarks.common.errors import UserError, unknown
from benchmarks.common.machine import cores
from benchmarks.execution import isolated_call, local
from benchmarks.execution.forkserver import start_forkserver
from benchmarks.execution.interface import Executor, Limits
from benchmarks.execution.local import Slot

EXECUTOR_NAMES = ("local", "dask")


def make_executor(
    name: str,
    scheduler: str | None,
    device: str,
    threads: int,
    workers: int | None,
    timeout: float | None = None,
    memory: int | None = None,
) -> Executor:
    """Make the executor of that name, and start the server that forks its cells.

    threads: of each cell. timeout: seconds for each cell. memory: MiB that each cell may allocate. Raises `UserError`
    if an option is invalid.
    """
    if name not in EXECUTOR_NAMES:
        raise unknown("executor", name, EXECUTOR_NAMES)
    if scheduler is not None and name != "dask":
        raise UserError(
            f"--scheduler {scheduler} is the address of a Dask scheduler; add --executor dask, or leave it out"
        )
    for limit, value in (("timeout", timeout), ("memory", memory)):
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"--{limit} {value} is not a positive number; give more than 0, or leave it out")
    if memory is not None and not sys.platform.startswith("linux"):
        raise UserError(f"--memory {memory}: memory can only be limited on Linux; leave it out on {sys.platform}")
    limits = Limits(timeout, memory)
    if line := environment.describe_hidden_processor():
        print(line, file=sys.stderr)
    start_forkserver()
    slots = make_slots(device, threads, workers) if scheduler is None else [{}] * (workers or 1)
    if name == "local":
        return local.make_local_executor(slots, limits)
    try:
        from benchmarks.execution.cluster import executor as cluster_executor  # Dask is an extra
    except ImportError as error:
        raise UserError(f"--executor dask: {error}; install it with pip install 'vaezoo[dask]'") from error
    except ValueError as error:  # of a file of settings
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"--executor dask: Dask can't be loaded ({reason}); fix its settings") from error
    return cluster_executor.make_dask_executor(scheduler, slots, device, limits)


def make_slots(device: str, threads: int, workers: int | None) -> list[Slot]:
    """Return environment variables for each of the cells that run at the same time; on CUDA each gets another GPU.

    By default, the threads of all cells together are as many as the cores.
    """
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: at least 1 worker is needed; leave it out for one per core")
    if device != "cuda":
        return [{}] * (workers or max(1, cores.count_cores() // threads))
    visible = list_gpus()
    if not visible:
        raise UserError(
            "--device cuda: torch finds no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    if workers is not None and workers > len(visible):
        raise UserError(
            f"--workers {workers}: each cell needs one GPU, and there are {len(visible)}; use at most {len(visible)}"
        )
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in visible[:workers]]


def list_gpus() -> list[str]:
    """Return the CUDA names of the GPUs that this process may use."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return [name.strip() for name in visible.split(",")]
    return [*map(str, range(isolated_call.call_isolated(_count_gpus)))]


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()
