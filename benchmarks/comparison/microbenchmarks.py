"""Comparison of micro-benchmarks, from JSON files of pytest-benchmark, by the same rules as the speed of cells.

Each file holds one measurement of each benchmark by one process. Several files per side, written in turns, can decide.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import AliasPath, BaseModel, Field, ValidationError

from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import UserError
from benchmarks.comparison import speed
from benchmarks.comparison.run_groups import Columns, Key
from benchmarks.comparison.verdicts import Pending, Verdict, decide_verdicts
from benchmarks.reporting.metrics import Metric

CALL_TIME = Metric("seconds", "s", "lower", "median time of a call", "time")


class _Machine(BaseModel):
    processor: str = Field("", validation_alias=AliasPath("cpu", "brand_raw"))


class _Benchmark(BaseModel):
    fullname: str
    mode: str = Field("", validation_alias=AliasPath("extra_info", "mode"))
    timer: str = Field("", validation_alias=AliasPath("options", "timer"))
    median: float = Field(gt=0, allow_inf_nan=False, validation_alias=AliasPath("stats", "median"))


class _File(BaseModel):
    machine_info: _Machine
    datetime: str
    benchmarks: list[_Benchmark]


def find_benchmark_files(place: str) -> list[Path]:
    """Return the JSON file, or the JSON files of the folder; empty for a run folder, a folder of runs, or neither."""
    path = Path(place)
    if path.suffix == ".json" and path.is_file():
        return [path]
    is_run = any(
        (folder / name).exists() for name in ("manifest.json", "results.csv") for folder in (path, *path.glob("*/"))
    )
    return sorted(path.rglob("*.json")) if path.is_dir() and not is_run else []


def compare_benchmarks(base: Sequence[Path], new: Sequence[Path], alpha: float) -> list[Verdict]:
    """Return a verdict for each benchmark of either side.

    The data set of a verdict is the test's file: its short name, or its path if several files have that name.
    """
    base_rows, new_rows = read_benchmarks(base), read_benchmarks(new)
    keys = list(dict.fromkeys([*base_rows, *new_rows]))
    stems = Counter(Path(module).stem for module in {module for module, _ in keys})
    pending: list[Pending] = []
    for module, name in keys:
        stem = Path(module).stem
        label = (stem if stems[stem] == 1 else module), name
        if (module, name) not in base_rows:
            pending.append(Verdict(*label, CALL_TIME.name, "new", note="missing in base"))
        elif (module, name) not in new_rows:
            pending.append(Verdict(*label, CALL_TIME.name, "missing", note="missing in new"))
        else:
            sides = base_rows[module, name], new_rows[module, name]
            pending.append(speed.make_speed_test(label, CALL_TIME, *sides, gates=True))
    return sorted(decide_verdicts(pending, alpha), key=lambda v: (v.dataset, v.variant))


def read_benchmarks(paths: Sequence[Path]) -> dict[Key, Columns]:
    """Return the measurements by file and name of the test, one row per JSON file; raise `UserError` if one is invalid.

    The name is that after the file's: with the class and the parameters.
    """
    measurements: dict[Key, list[Record]] = defaultdict(list)
    for path in paths:
        content = _parse(path)
        for benchmark in content.benchmarks:
            module, _, name = benchmark.fullname.partition("::")  # the short name may be that of other tests, too
            clock = benchmark.timer.removesuffix("_ns")
            seconds = benchmark.median * (1 if clock == benchmark.timer else 1e-9)
            when = {"started": content.datetime, "ended": ""}
            how = {"processor": content.machine_info.processor, "mode": benchmark.mode, "timer": clock}
            measurements[module, name].append({CALL_TIME.name: seconds, **when, **how})
    return {
        key: {name: np.array([row[name] for row in rows]) for name in rows[0]} for key, rows in measurements.items()
    }


def _parse(path: Path) -> _File:
    try:
        return _File.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        else:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
        raise UserError(
            f"can't read {path} as results of pytest-benchmark ({reason}); write it with pytest --benchmark-json"
        ) from error
