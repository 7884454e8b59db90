"""What the harness takes for a cell that does nothing: real files, real processes, 1,000 and 10,000 of them.

    python -m benchmarks.micro.many [local|dask] 2> /dev/null

Two cells run side by side. Seconds a cell are those of the whole run over its cells, without the start of the engine;
memory is the commanding process's while it still has all records.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks import cases, runner, settings, store, training
from benchmarks.cases import Case
from benchmarks.executors import apart, choice
from benchmarks.executors.events import Limits, Task
from benchmarks.micro.nothing import nothing
from benchmarks.runner import Kind

WORKERS = 2
FIRST, MANY = 1_000, 10_000


KIND = Kind(
    planned=cases.planned,
    task=Task(training.prepare, nothing, cases.data_folder, cases.moved),
    lost=training.KIND.lost,
    write=store.write_results,
    note=lambda record: "",
    cost=lambda case: 1.0,
)


def planned(count: int) -> list[Case]:
    """So many cells of one variant."""
    return apart.call(training.plan, settings.load("quick", {"seeds": str(count)}), ["autoencoder"], [], None, 60.0)


def whole(name: str, count: int) -> tuple[float, float, float]:
    """Seconds of a run, and its memory at its end."""
    engine = choice.chosen(name, None, "cpu", WORKERS, Limits())
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        records = runner.execute(Path(out) / "many", planned(count), engine, False, KIND)
        took = time.perf_counter() - start
        assert {record["status"] for record in records} == {"ok"}, records[0]
        return took, *memory()


def memory() -> tuple[float, float]:
    """MiB of this process: what it has written, and with the pages of libraries' files, which all processes share."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith("kB")}
    return found["RssAnon:"], found["VmRSS:"]


def main() -> None:
    """Print one line a count."""
    name = sys.argv[1] if len(sys.argv) > 1 else "local"
    empty = min(whole(name, 1)[0] for _ in range(3))
    for count in (FIRST, MANY):
        seconds, own, resident = whole(name, count)
        each = 1e3 * (seconds - empty) / (count - 1)
        print(
            f"{name}, {count:,} cells: {each:.1f} ms a cell; {own:.0f} MiB of its own, {resident:.0f} in all",
            flush=True,
        )


if __name__ == "__main__":
    main()
