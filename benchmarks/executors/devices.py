"""Where cells run side by side on one machine: a core each, or a GPU each."""

from __future__ import annotations

import os

from benchmarks import environment
from benchmarks.errors import UserError
from benchmarks.executors import apart
from benchmarks.executors.local import Slot


def slots(device: str, workers: int | None) -> list[Slot]:
    """What each of the cells that run side by side finds in its environment: on GPUs, one of its own."""
    if workers is not None and workers < 1:
        raise UserError(f"--workers {workers}: at least 1 worker is needed; leave it out for one a core")
    if device != "cuda":
        return [{}] * (workers or environment.cores())
    visible = apart.call(gpus)
    if not visible:
        raise UserError(
            "--device cuda: torch finds no CUDA device here; use --device cpu, or install a CUDA build of torch"
        )
    if workers is not None and workers > len(visible):
        raise UserError(
            f"--workers {workers}: each cell has a GPU of its own, and there are {len(visible)}; use no more than that"
        )
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in visible[:workers]]


def gpus() -> list[str]:
    """The names by which CUDA knows the GPUs that this process may use."""
    import torch

    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in chosen.split(",")] if chosen else map(str, range(torch.cuda.device_count()))
    return list(names)
