"""The micro-benchmarks' results, as pytest-benchmark writes them, through the same gate as the speed of cells.

A file is one measurement of each benchmark, by one process; several a side, written in turns, can decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from benchmarks.errors import UserError
from benchmarks.metrics import Metric
from benchmarks.regressions import speed
from benchmarks.regressions.groups import Key, Rows
from benchmarks.regressions.verdicts import Asked, Verdict, answered

SECONDS = Metric("seconds", "s", "lower", "median time of a call", "time")


class _Processor(BaseModel):
    brand_raw: str = ""


class _Machine(BaseModel):
    cpu: _Processor = _Processor()


class _Stats(BaseModel):
    median: float = Field(gt=0, allow_inf_nan=False)


class _Info(BaseModel):
    mode: str = ""


class _Benchmark(BaseModel):
    fullname: str
    name: str
    extra_info: _Info = _Info()
    stats: _Stats


class _File(BaseModel):
    """What is read of a file; it holds more."""

    machine_info: _Machine
    datetime: str
    benchmarks: list[_Benchmark]


def files(place: str) -> list[Path]:
    """The files that a side means: a JSON file, or those of a folder that is no run; none where it means a run."""
    path = Path(place)
    if path.suffix == ".json" and path.is_file():
        return [path]
    if path.is_dir() and not (path / "manifest.json").exists() and not (path / "results.csv").exists():
        return sorted(path.rglob("*.json"))
    return []


def compare(base: Sequence[Path], new: Sequence[Path], alpha: float) -> list[Verdict]:
    """A verdict for each benchmark of either side."""
    before, now = read(base), read(new)
    asked: list[Asked] = []
    for key in dict.fromkeys([*before, *now]):
        if key in before and key in now:
            asked.append(speed.ask(*key, SECONDS, before[key], now[key], gates=True))
        else:
            side = "new" if key in before else "base"
            asked.append(Verdict(*key, SECONDS.name, "missing" if key in before else "new", note=f"{side} has it not"))
    return sorted(answered(asked, alpha), key=lambda v: (v.dataset, v.variant))


def read(paths: Sequence[Path]) -> dict[Key, Rows]:
    """By module and benchmark, a row for each file that has it; `UserError` where one can't be read."""
    found: dict[Key, list[tuple[str, str, str, float]]] = {}
    for path in paths:
        content = _parsed(path)
        for one in content.benchmarks:
            key = Path(one.fullname.partition("::")[0]).stem, one.name
            machine = content.machine_info.cpu.brand_raw
            found.setdefault(key, []).append((content.datetime, machine, one.extra_info.mode, one.stats.median))
    return {
        key: Rows(
            np.arange(len(rows)),
            {SECONDS.name: np.array([seconds for *_, seconds in rows])},
            np.array([moment for moment, *_ in rows]),
            np.full(len(rows), ""),
            frozenset(processor for _, processor, _, _ in rows),
            frozenset(mode for _, _, mode, _ in rows),
        )
        for key, rows in found.items()
    }


def _parsed(path: Path) -> _File:
    try:
        return _File.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        else:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise UserError(
            f"can't read {path} as results of pytest-benchmark ({reason}); write it with --benchmark-json"
        ) from error
