"""Snapshots: the state of a cell half-way, from which it is continued bit for bit. Arrays and text, nothing to run."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.cases import Case
from benchmarks.environment import code, processor
from benchmarks.files import SCHEMA_VERSION, SNAPSHOT, Record, write
from benchmarks.train import State

ABOUT = "about"


def path_of(folder: Path, case: Case) -> Path:
    """Where the case's snapshot lies."""
    return folder / "cells" / f"{case.cell_id}{SNAPSHOT}"


def save(path: Path, case: Case, state: State, rows: list[Record], spent: float) -> None:
    """Keep the state and the rows so far, whole or not at all. spent: processor seconds of earlier processes."""
    about = _maker(case) | {
        "epoch": state.epoch,
        "seconds": state.seconds,
        "rates": state.rates,
        "rows": rows,
        "processor_seconds": spent + time.process_time(),
    }
    arrays: dict[str, NDArray[Any]] = {name: tensor.detach().cpu().numpy() for name, tensor in _tensors(state)}
    arrays |= {f"generator/{name}": own.get_state().numpy() for name, own in state.generators.items()}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays, about=np.frombuffer(json.dumps(about).encode(), np.uint8))
    try:
        write(path, buffer.getvalue())
    except OSError as error:  # the cell can do without
        print(f"no snapshot could be written to {path}: {error.strerror}")


def restore(path: Path, case: Case, state: State) -> tuple[list[Record], float]:
    """Bring the state to the snapshot, if there is one of this case, code and machine; its rows, and seconds spent.

    Where there is none, or none that is whole, the state stays as it is.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            about = json.loads(found[ABOUT].tobytes())
            arrays = {name: torch.from_numpy(found[name]) for name in found if name != ABOUT}
            maker = {key: about[key] for key in _maker(case)}
            later = {key: about[key] for key in ("epoch", "seconds", "rates", "rows", "processor_seconds")}
        fitting = all(arrays[name].shape == tensor.shape for name, tensor in _tensors(state))
        for name in state.generators:
            torch.Generator().set_state(arrays[f"generator/{name}"])
    except FileNotFoundError:
        return [], 0.0
    except Exception as error:  # archives fail in a dozen ways
        print(f"{path} is damaged ({type(error).__name__}: {error}); its cell begins anew")
        return [], 0.0
    if maker != _maker(case) or not fitting:
        print(f"{path} is of other code, settings or machine; its cell begins anew")
        return [], 0.0
    with torch.no_grad():
        for name, tensor in _tensors(state):
            tensor.copy_(arrays[name])
    for name, own in state.generators.items():
        own.set_state(arrays[f"generator/{name}"])
    state.epoch, state.seconds, state.rates = later["epoch"], later["seconds"], later["rates"]
    return later["rows"], later["processor_seconds"]


def _maker(case: Case) -> Record:
    """What has to be equal for the same bits to follow."""
    return {
        "schema_version": SCHEMA_VERSION,
        "cell_id": case.cell_id,
        "commit": case.commit,
        "torch": torch.__version__,
        "code": code(),
        "processor": [processor()["model name"], torch.backends.cpu.get_cpu_capability()],
        "gpu": torch.cuda.get_device_name() if case.protocol.device == "cuda" else "",
        "step": Path(case.step).name,
    }


def _tensors(state: State) -> Iterator[tuple[str, Tensor]]:
    """All that a step changes, in place, by name."""
    for name, tensor in state.model.state_dict().items():
        yield f"model/{name}", tensor
    for which, tensors in (("mean", state.optimizer.means), ("square", state.optimizer.squares)):
        yield from ((f"{which}/{i}", tensor) for i, tensor in enumerate(tensors))
    yield "count", state.optimizer.count
    yield "average", state.average
