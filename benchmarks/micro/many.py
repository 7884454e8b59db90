"""Measure the time and memory of the harness for 1,000 and 10,000 cells that do not train.

    python -m benchmarks.micro.many [local|dask] 2> /dev/null

Each cell has a process and writes its file; two run at a time. The time per cell is the time of the run without the
start of the executor, divided by the number of cells. The memory is that of the main process at the end.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.execution import executor
from benchmarks.execution.interface import Task
from benchmarks.planning.cases import Case
from benchmarks.planning.settings import load_settings
from benchmarks.runs import cell_files, runner
from benchmarks.training import task

WORKERS = 2
CELL_COUNTS = (1_000, 10_000)


def write_empty_cell(case: Case, folder: str) -> None:
    row = {"epoch": 0, "step": 0, "status": "ok", "reconstruction_error": 1.0, "processor_seconds": 0.0}
    cell_files.write_cell(Path(folder), cell_files.make_record(case, [row]))


def run_all(executor_name: str, count: int) -> tuple[float, float, float]:
    """Run this number of cells; return the seconds, and the private and resident memory at the end, MiB.

    The resident memory includes shared libraries.
    """
    cell_executor = executor.make_executor(executor_name, None, "cpu", 1, WORKERS)
    kind = dataclasses.replace(task.TRAINING, task=Task(task.prepare_cells, write_empty_cell))
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        settings = load_settings("quick", {"seeds": str(count)})
        plan = task.plan_run(settings, ["autoencoder"], [], None, 60.0, False)
        _, records = runner.run_cells(Path(out), "many", plan, cell_executor, False, kind)
        seconds = time.perf_counter() - start
        assert {record["status"] for record in records} == {"ok"}, records[0]
        lines = Path("/proc/self/status").read_text().splitlines()
        sizes = {line.split()[0]: int(line.split()[1]) / 1024 for line in lines if line.endswith("kB")}
        return seconds, sizes["RssAnon:"], sizes["VmRSS:"]


def main() -> None:
    executor_name = sys.argv[1] if len(sys.argv) > 1 else "local"
    start_seconds = min(run_all(executor_name, 1)[0] for _ in range(3))
    for count in CELL_COUNTS:
        seconds, private, resident = run_all(executor_name, count)
        milliseconds = 1e3 * (seconds - start_seconds) / (count - 1)
        memory_text = f"{private:.0f} MiB private, {resident:.0f} MiB resident"
        print(f"{executor_name}, {count:,} cells: {milliseconds:.1f} ms per cell; {memory_text}", flush=True)


if __name__ == "__main__":
    from benchmarks.micro import many  # so that the processes of the cells can import the function by name

    many.main()
