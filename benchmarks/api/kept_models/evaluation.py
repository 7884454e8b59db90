"""Evaluating kept models again: with more draws, or on other data. Only the processes of the cells import torch."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.api.kept_models.find_models import KeptModel
from benchmarks.common import atomic_files, environment
from benchmarks.common.atomic_files import Record
from benchmarks.common.errors import StoppedError, UserError, printable
from benchmarks.execution import isolated_call
from benchmarks.execution.executor import make_slots
from benchmarks.execution.local import run_processes
from benchmarks.planning.cases import Case, describe_protocol, hash_identity
from benchmarks.planning.data.facts import Facts
from benchmarks.reporting.csv_tables import write_table
from benchmarks.reporting.results_table import RESULT_COLUMNS
from benchmarks.runs import cell_files

CHANGED_COLUMNS = (
    "dataset", "held_out", "evaluation_draws", "log_likelihood_draws", "data_checksum", "protocol_id",
)  # fmt: skip
MAX_NAME = 60  # characters of the variants in the name of a table


@dataclass(frozen=True)
class Request:
    """What to evaluate. draws, log_likelihood_draws: None for those of the run. dataset: None for that of the run."""

    folder: Path
    models: Sequence[KeptModel]
    log_likelihood_draws: int | None
    draws: int | None
    dataset: str | None
    data_root: Path | None
    plugin_files: Sequence[Path]


@dataclass(frozen=True)
class EvaluationCell:
    """A kept model and the data on which to evaluate it.

    trained: the case of its training. case: the same with the protocol and the data of the evaluation. common, row: of
    the record of its training, with the last row. workers: threads.
    """

    path: str
    folder: str
    trained: Case
    case: Case
    common: Record
    row: Record
    workers: int = 1

    @property
    def label(self) -> str:
        return self.case.label


def evaluate_models(request: Request, workers: int | None) -> list[Record]:
    """Return a row of results.csv for each model, in order; print a line for each, and for each failure."""
    (request.folder / "evaluations").mkdir(exist_ok=True)  # before hours of work
    cells = isolated_call.call_isolated(_plan_cells, request)
    protocol = cells[0].case.protocol
    slots = make_slots(protocol.device, protocol.threads, workers)
    threads = max(1, len(slots) // len(cells))  # few models share the cores
    cells = [dataclasses.replace(cell, workers=threads) for cell in cells]
    rows: dict[str, Record] = {}
    failures = 0
    with (
        tempfile.TemporaryDirectory() as scratch,
        contextlib.closing(run_processes(_evaluate_cell, cells, scratch, slots)) as events,
    ):
        for event in events:
            if event.kind != "ended":
                continue
            path = Path(scratch) / f"{event.cell.case.cell_id}.json"
            if not path.is_file():
                failures += 1
                reason = (event.exit.log.strip().splitlines() or [f"exit code {event.exit.code}"])[-1]
                print(printable(f"{event.cell.label} could not be evaluated: {reason}"), file=sys.stderr)
                continue
            rows[path.stem] = atomic_files.read_json(path)["row"]
            print(f"[{len(rows) + failures}/{len(cells)}] {event.cell.label}", file=sys.stderr)
    if not rows:
        raise StoppedError("no model could be evaluated; the lines above say why")
    return [rows[cell.case.cell_id] for cell in cells if cell.case.cell_id in rows]


def _plan_cells(request: Request) -> list[EvaluationCell]:
    from benchmarks.api.kept_models import reload
    from benchmarks.planning import registry
    from benchmarks.planning.data.cache import prepare_dataset
    from benchmarks.planning.data.catalogue import find_dataset
    from benchmarks.planning.plugins import read_plugins

    plugins = read_plugins(request.plugin_files)
    facts = reload.read_run_facts(request.folder)
    name = request.dataset or facts.name
    try:
        info = find_dataset(name, registry.load_datasets(plugins))
    except UserError as error:
        hint = "" if request.dataset else f"; if {name} is a file or a folder, give its path with --dataset"
        raise UserError(f"{error}{hint}") from error
    prepared = prepare_dataset(info, request.data_root)
    has_levels = any("dequantised" in str(m.record["common"].get("preprocessing")) for m in request.models)
    _check_kind(request, facts, prepared.facts, has_levels)
    counts = {"evaluation_draws": request.draws, "log_likelihood_draws": request.log_likelihood_draws}
    changes: Record = {key: value for key, value in counts.items() if value is not None}
    cells = []
    for model in request.models:
        trained, row = reload.plan_again(request.folder, model.record, plugins), model.record["rows"][-1]
        is_other = prepared.checksum != trained.data_checksum
        if is_other and not request.dataset:
            raise UserError(
                f"the data set {name} has changed since {request.folder} was made (its SHA-256 differs); give it with "
                "--dataset to evaluate on the new data"
            )
        # examples are held out of the training data only
        others: Record = {"dataset": info.name, "held_out": 0} if is_other else {}
        protocol = dataclasses.replace(trained.protocol, **changes, **others)
        case = dataclasses.replace(
            trained, protocol=protocol, data_folder=prepared.folder, data_checksum=prepared.checksum
        )
        if is_other or protocol != trained.protocol:
            measured = {"data": prepared.checksum, "protocol": describe_protocol(protocol)}
            case = dataclasses.replace(
                case,
                protocol_id=hash_identity({"trained": trained.protocol_id, **measured}),
                cell_id=hash_identity({"trained": trained.cell_id, **measured}),
            )
        cells.append(EvaluationCell(str(model.path), str(request.folder), trained, case, model.record["common"], row))
    return cells


def _check_kind(request: Request, facts: Facts, other: Facts, has_levels: bool) -> None:
    """Raise `UserError` if the models can't read the examples of other data. has_levels: pixels are dequantised."""
    for kind, there, here in (
        ("shape", facts.shape, other.shape),
        ("kind of values", facts.values, other.values),
        ("value of white", facts.maximum, other.maximum if has_levels else facts.maximum),
    ):
        if there != here:
            raise UserError(
                f"--dataset {request.dataset}: the {kind} of its examples is {here}, and the models of "
                f"{request.folder} were trained with {there}; give data of the same kind"
            )


def _evaluate_cell(cell: EvaluationCell, folder: str) -> None:
    from benchmarks.api.kept_models import reload
    from benchmarks.common import kernels
    from benchmarks.planning.data.tensors import load_dataset
    from benchmarks.training.cell import evaluate_model
    from benchmarks.training.state import check_support

    case, started = cell.case, cell_files.utc_now()
    kernels.configure_kernels(case.protocol.threads, case.protocol.precision, case.protocol.batch_size)
    trained = reload.load_kept_model(Path(cell.path), cell.trained)
    model = trained.model.to(case.protocol.device)
    data = load_dataset(case.data_folder, case.protocol, reload.read_run_facts(Path(cell.folder)))
    check_support(model, data.test)
    metrics = evaluate_model(model, data, case.protocol, case.seed, cell.row["epoch"], cell.workers)
    row = {
        **cell.common,
        **{name: case.columns[name] for name in CHANGED_COLUMNS},
        **{name: cell.row[name] for name in ("epoch", "step", "status")},
        **metrics,
        "exact_log_likelihood": data.facts.exact_log_likelihood,
        "started": started,
        "ended": cell_files.utc_now(),
        "processor": environment.read_processor()["model name"],
        "torch": environment.read_torch_version(),
        "commit": case.commit,
        "cell_id": case.cell_id,
    }
    content = {"schema_version": atomic_files.SCHEMA_VERSION, "row": row}
    atomic_files.write_json(Path(folder) / f"{case.cell_id}.json", content)


def write_rows(folder: Path, rows: list[Record], variants: Sequence[str]) -> Path:
    """Write the rows to a table in the folder evaluations of the run, named by data, draws and the chosen variants."""
    first = rows[0]
    draws = f"{first['evaluation_draws']}-{first['log_likelihood_draws']}"
    name = f"{first['dataset']}-{first['data_checksum'][:6]}-{draws}"
    chosen = "+".join(variants)
    name += f"-{chosen if len(chosen) <= MAX_NAME else hash_identity({'variants': list(variants)})}" if chosen else ""
    path = folder / "evaluations" / f"{name}.csv"
    write_table(path, RESULT_COLUMNS, rows)
    return path
