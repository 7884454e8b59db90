"""Whether a cell's training step runs as machine code, and where that lies: made once on a machine, then loaded.

It is a function of protocol, machine and libraries alone, never of how long something took.
"""

from __future__ import annotations

import fcntl
import functools
import os
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks import cases, machine_code, places, planning, plugins
from benchmarks.cases import Case
from benchmarks.environment import code, processor
from benchmarks.executors.child import lift_limit
from vaezoo import Variant, build

SAVED_BY_STEP = 1e-3  # seconds, by not launching each operation from Python
SAVED_BY_FLOP = 1e-12  # seconds, by fewer passes through memory
PAYS = 1.7  # seconds of one cell; compiling takes ten times as long, once
CODE = ("vaezoo/*.py", "benchmarks/adam.py", "benchmarks/step.py", "benchmarks/machine_code.py")


def compiler() -> str | None:
    """The C++ compiler's path; None where there is none."""
    return shutil.which(os.environ.get("CXX", "g++"))


def saves(variant: Variant, protocol: cases.Protocol, examples: int) -> float:
    """Seconds that a compiled step is expected to save in one cell's training on so many examples."""
    model = build(variant, planning.spec(protocol), protocol.latent_dim)
    encoder, decoder = (sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder))
    flops = 6 * protocol.batch_size * (encoder + variant.draws * decoder)
    steps = protocol.epochs * (examples // protocol.batch_size)
    return steps * (SAVED_BY_STEP + SAVED_BY_FLOP * flops)


def artefacts(wanted: Sequence[Case]) -> list[Path | None]:
    """Of each case."""
    return [artefact(case) for case in wanted]


def artefact(case: Case) -> Path | None:
    """Where the case's compiled step lies, or is to lie; None where it is to run uncompiled."""
    return _artefact(case.variant, case.draws, case.source, case.protocol, case.data_folder, compiler())


@functools.cache
def _artefact(
    name: str, draws: int, source: str, protocol: cases.Protocol, data_folder: str, cxx: str | None
) -> Path | None:
    entry = plugins.find(name, draws, [source] if source else [])
    examples = len(np.load(Path(data_folder) / "train.npy", mmap_mode="r"))
    try:
        pays = saves(entry.variant, protocol, examples) > PAYS
    except (Exception, SystemExit):  # an architecture that fails does so again in its cell, which says how
        return None
    if cxx is None or protocol.device != "cpu" or not pays:
        return None
    key = cases.identifier(
        {
            "variant": planning.fields(entry),
            "spec": repr(planning.spec(protocol)),
            "settings": [protocol.batch_size, protocol.latent_dim, protocol.precision, protocol.threads],
            "code": code(CODE),
            "machine": [
                platform.machine(),
                processor()["model name"],
                torch.__version__,
                torch.backends.cpu.get_cpu_capability(),
            ],
            "compiler": [cxx, Path(cxx).stat().st_size],
        }
    )
    return places.cache_root() / "steps" / f"{name}-{key}.pt2"


def work(case: Case, _: str) -> None:
    """Compile one step, or leave the reason why it can't be: what a process of its own does."""
    path = artefact(case)
    assert path is not None
    lift_limit()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:  # the first of several processes makes it for all
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            _compile(case, path)


def _compile(case: Case, path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("TORCHINDUCTOR_")]:
        del os.environ[name]  # the code is a function of what its name is made from
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(places.cache_root() / "inductor")
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    with path.with_suffix(".log").open("w") as log:
        for stream in (1, 2):  # a compiler's notes are for whoever looks for them
            os.dup2(log.fileno(), stream)
        try:
            program = _program(case)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # the variant's, and so for ever; the compiler's are tried again the next time
            lines = str(error).strip().splitlines() or [""]
            path.with_suffix(".refused").write_text(f"{type(error).__name__}: {lines[0]}")
            raise
        machine_code.compile_to(path, program)


def _program(case: Case) -> torch.export.ExportedProgram:
    variant, protocol = planning.entry(case).variant, case.protocol
    torch.set_num_threads(protocol.threads)  # the code is made for as many
    spec = planning.spec(protocol)
    model = build(variant, spec, protocol.latent_dim)
    x = torch.zeros(protocol.batch_size, *spec.shape)
    noise = torch.zeros(variant.draws, protocol.batch_size, protocol.latent_dim)
    return machine_code.exported(variant, model, x, noise, protocol.precision)
