"""Training variants: the function `run`, and what it shares with the command of this name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.api.finished_run import Files, Run, list_files
from benchmarks.common.atomic_files import Record, check_run_name, check_writable
from benchmarks.common.errors import UserError
from benchmarks.execution.executor import make_executor
from benchmarks.planning.settings import Settings, load_settings
from benchmarks.reporting import report
from benchmarks.runs.runner import run_cells
from benchmarks.training.task import TRAINING, plan_run


@dataclass(frozen=True)
class Execution:
    """How and where cells run; see the options of the command `run`. snapshot, timeout: seconds. memory: MiB."""

    out: Path = Path("results")
    name: str | None = None
    plugins: Sequence[Path] = ()
    data_root: Path | None = None
    workers: int | None = None
    executor: str = "local"
    scheduler: str | None = None
    timeout: float | None = None
    memory: int | None = None
    snapshot: float = 60.0
    keep_stale: bool = False
    keep_models: bool = False


def train_variants(
    variants: Sequence[str], settings: Settings, how: Execution, family: str = ""
) -> tuple[Path, list[Record]]:
    """Train and evaluate the variants, all if the sequence is empty; return the run folder and its records.

    family: kind of latents of the variants; empty for all.
    """
    cells = make_executor(
        how.executor, how.scheduler, settings.device, settings.threads, how.workers, how.timeout, how.memory
    )
    plan = plan_run(settings, variants, how.plugins, how.data_root, how.snapshot, how.keep_models, family)
    return run_cells(how.out, how.name, plan, cells, how.keep_stale, TRAINING)


def run(
    variants: str | Sequence[str] = (),
    preset: str | Path = "default",
    *,
    family: str = "",
    name: str | None = None,
    out: str | Path = "results",
    plugin: Files = (),
    data_root: str | Path | None = None,
    workers: int | None = None,
    keep_models: bool = True,
    keep_stale: bool = False,
    **settings: Any,
) -> Run:
    """Train and evaluate variants, as the command `run` does; return the run.

    Args:
        variants: one name or several; all variants if the sequence is empty.
        preset: a name from `python -m benchmarks list presets`, or the path of a TOML file.
        family: kind of latents of the variants: gaussian, bernoulli or categorical; empty for all.
        name: of the run folder; a run of this name is continued. Default: an unfinished run of the same cells, else
            the time.
        out: folder of the run folder.
        plugin: one Python file with more variants, data sets or architectures, or several.
        data_root: folder of torchvision data.
        workers: number of cells at the same time; default: one per core.
        keep_models: whether the trained models are kept, for `Run.model`.
        keep_stale: whether finished results of other code are kept.
        settings: keys of a preset that replace its values, such as seeds=3, epochs=10 or dataset="faces.npz".

    Returns:
        The run. A cell that failed is a line on standard error, and a row of `Run.results`.

    Raises:
        UserError: a name or a setting is wrong; the message says what to do.
    """
    names = [variants] if isinstance(variants, str) else [*map(str, variants)]
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool)):
        raise UserError(f"workers is {workers!r}, and must be a whole number; leave it out for one per core")
    how = Execution(
        check_writable(Path(out)),
        check_run_name(None if name is None else str(name)),
        list_files(plugin),
        None if data_root is None else Path(data_root),
        workers,
        keep_stale=keep_stale,
        keep_models=keep_models,
    )
    chosen = {key: _simplify(value) for key, value in settings.items()}
    folder, records = train_variants(names, load_settings(str(preset), chosen), how, family)
    report.write_summary(folder)
    report.print_failures(folder, records)
    return Run(folder.resolve())


def _simplify(value: Any) -> Any:
    """Return numbers and arrays of numpy, ranges and paths as settings have them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, range | tuple | list):
        return [_simplify(item) for item in value]
    return str(value) if isinstance(value, Path) else value
