"""What `python -m benchmarks gradients` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import cases, data, folders, places, plugins, runner, store
from benchmarks.errors import UserError, unknown
from benchmarks.executors import local
from benchmarks.executors.devices import slots
from benchmarks.executors.events import Limits, Task
from benchmarks.files import Record
from benchmarks.laboratory import probes, readings, tables, work
from benchmarks.laboratory.probes import Probe
from benchmarks.laboratory.readings import Reading
from benchmarks.laboratory.studies import STUDIES
from benchmarks.laboratory.trained import TRAINED
from benchmarks.runner import Kind
from benchmarks.settings import Settings

KIND = Kind(
    planned=work.planned,
    task=Task(lambda cells, *_: cells, work.work, cases.data_folder, cases.moved),
    lost=lambda cell, status, error, log: work.record(cell, status, error, log, [], cases.utc()),
    write=tables.write,
    note=lambda record: f", {len(record['rows'])} rows, {record['processor_seconds']:.0f} s",
    cost=lambda cell: len(cell.studies),
)


def run(
    studies: Sequence[str],
    runs: Sequence[str],
    settings: Settings,
    files: Sequence[Path],
    data_root: Path | None,
    workers: int | None,
    out: Path,
    name: str | None,
    keep_stale: bool,
) -> int:
    """Measure, write, and print what was found; 0, or 2 where a cell failed."""
    for study in studies:
        if study not in (*STUDIES, *TRAINED):
            raise unknown("study", study, (*STUDIES, *TRAINED))
    reads = [study for study in TRAINED if study in studies or (runs and not studies)]
    if runs and not reads:
        raise UserError(
            f"--run is read by the studies {' and '.join(TRAINED)}; add --study {TRAINED[0]}, or leave it out"
        )
    sources = plugins.read(list(files))
    entries = list(plugins.registry(sources).values())
    folders.check_destination(out, name)
    chosen = [study for study in STUDIES if study in studies or not studies]
    prepared = data.prepare(settings.dataset, data_root or places.data_root())
    executor = local.executor(slots(settings.device, workers), Limits())
    plan: list[Probe | Reading] = []
    if chosen:
        plan += probes.plan(entries, chosen, settings, sources, prepared)
    if reads:
        results = [folders.find_results(run, out) for run in runs]
        results = results or readings.make(entries, settings, prepared, executor, out, keep_stale)
        plan.append(readings.plan(entries, reads, settings, sources, results, prepared))
    folder = folders.choose(out, name, plan)
    records = runner.execute(folder, plan, executor, keep_stale, KIND)
    return _conclude(folder, records)


def _conclude(folder: Path, records: Sequence[Record]) -> int:
    failed = [record for record in records if record["status"] not in store.FINISHED]
    diverged = [record for record in records if record["status"] == "diverged"]
    for record in [*failed, *diverged]:
        cell = record["common"]
        what = f"{cell['variant']}, seed {cell['seed']}: {record['status']}, {record['error']}"
        print(f"{what} (its log: {folder / 'cells' / record['cell_id']}.json)", file=sys.stderr)
    if (folder / tables.FILE).is_file():
        from benchmarks.laboratory import figures  # matplotlib and seaborn take a second to import

        table = tables.read(folder / tables.FILE)
        drawn = figures.write(table, folder / "figures")
        print("\n".join(tables.findings(table)))
        print(f"\n{folder}: {tables.FILE} and {len(drawn)} figures in {folder / 'figures'}")
    if failed:
        print(f"{len(failed)} of {len(records)} cells failed; the same command runs them again", file=sys.stderr)
    return 2 if failed else 0
