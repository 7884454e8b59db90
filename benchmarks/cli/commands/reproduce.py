"""`reproduce`: run what published claims need, and decide whether their numbers come out."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from benchmarks.cli import options
from benchmarks.cli.options import argument, option
from benchmarks.common.errors import ExitCode, UserError, printable

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.common.atomic_files import Record
    from benchmarks.reproduction.claims import Claim, ClaimedRun
    from benchmarks.reproduction.judgement import Judgement
FOLDER = Path("results") / "reproductions"
MAX_HOURS = 1.0  # of a claim that runs without being named
TABLES = {"run": "results.csv", "gradients": "gradients.csv"}


def reproduce(
    claims: Annotated[
        list[str] | None,
        argument(
            "CLAIM", "Names of claims, or paths of TOML files.", "all claims; those above one hour are only judged"
        ),
    ] = None,
    list_: Annotated[bool, option("Print the claims with their costs, and exit.", "no", "--list")] = False,
    check: Annotated[bool, option("Judge the results that exist, and run nothing.", "no", "--check")] = False,
    data_root: options.DataRoot = None,
    workers: options.Workers = None,
    out: Annotated[Path, option("Keep the runs of each claim in this folder.")] = FOLDER,
) -> int:
    """Decide whether published numbers come out: each claim is verified, refuted or not reached.

    Exit code 1 if a claim that was verified no longer is.
    """
    from benchmarks.reporting import formats
    from benchmarks.reproduction import record, tables
    from benchmarks.reproduction.claims import list_claims, load_claim

    loaded = [load_claim(name) for name in claims or list_claims()]
    if list_:
        print(formats.text_table(*tables.list_rows(loaded)))
        return ExitCode.OK
    lost, faults = [], 0
    for claim in loaded:
        folder = out / claim.name
        if not check and (claims or claim.hours <= MAX_HOURS):
            try:
                run_missing(claim, folder, data_root, workers)
            except UserError as error:
                print(f"error: {printable(str(error))}", file=sys.stderr)
                faults += 1
        judgement = judge_folder(claim, folder)
        print(tables.describe_judgement(judgement), flush=True)
        before = record.read_record(folder)
        if before.status == "verified" and judgement.status != "verified":
            lost.append(claim.name)
        elif not check and before.runs:
            record.write_record(folder, claim, dataclasses.replace(before, status=judgement.status))
    if lost:
        print(f"verified before, and no longer: {', '.join(lost)}; see the lines above")
        return ExitCode.VERDICT
    return ExitCode.INCOMPLETE if faults else ExitCode.OK


def judge_folder(claim: Claim, folder: Path) -> Judgement:
    """Judge a claim by the results in its folder; it is not reached if a run is missing."""
    from benchmarks.reproduction import record
    from benchmarks.reproduction.judgement import Judgement, judge

    complete = record.read_record(folder)
    missing = [
        run.name
        for run in claim.runs
        if not complete.has(claim, run) or not (folder / run.name / TABLES[run.command]).is_file()
    ]
    if missing:
        note = f". {claim.note}" if claim.note else ""
        reason = f"missing runs: {', '.join(missing)}; the claim needs {claim.hours:g} h of one core{note}"
        return Judgement(claim, "not reached", reason)
    return judge(claim, {run.name: _read_table(run, folder) for run in claim.runs})


def _read_table(run: ClaimedRun, folder: Path) -> pd.DataFrame:
    path = folder / run.name / TABLES[run.command]
    if run.command == "gradients":
        from benchmarks.gradient_studies.report import tables

        return tables.read_gradients(path)
    from benchmarks.reporting import results_table

    return results_table.read_results(path)


def run_missing(claim: Claim, folder: Path, data_root: Path | None, workers: int | None) -> None:
    """Run what the claim still needs; raise `UserError` if a cell fails."""
    from benchmarks.reproduction import record

    for run in claim.runs:
        known = record.read_record(folder)
        if known.has(claim, run) and (folder / run.name / TABLES[run.command]).is_file():
            continue
        if (folder / run.name).is_dir() and not (folder / run.name / "cells").is_dir():
            raise UserError(
                f"{folder / run.name} has results of other settings than the claim, and no cells to continue from; "
                "delete this folder and run again"
            )
        print(f"{claim.name}: {run.name}", flush=True)
        try:
            records = _run(claim, run, folder, data_root, workers)
        except UserError as error:
            raise UserError(f"{claim.name}, run {run.name}: {error}") from error
        failed = [r for r in records if r["status"] != "ok"]
        if failed:
            cell = failed[0]
            raise UserError(
                f"{claim.name}, run {run.name}: {len(failed)} of {len(records)} cells have no result; the first: "
                f"{cell['status']}, {cell['error']}; its record is {folder / run.name / 'cells' / cell['cell_id']}.json"
            )
        runs = known.runs | {run.name: record.describe_run(claim, run)}
        record.write_record(folder, claim, dataclasses.replace(known, runs=runs))


def _run(claim: Claim, run: ClaimedRun, folder: Path, data_root: Path | None, workers: int | None) -> list[Record]:
    from benchmarks.api.train import Execution, train_variants
    from benchmarks.planning.settings import load_settings

    settings = load_settings(run.preset, run.settings)
    plugins = [claim.folder / run.plugin] if run.plugin else []
    if run.command == "run":
        how = Execution(folder, run.name, plugins, data_root, workers)
        return train_variants(run.variants, settings, how)[1]
    from benchmarks.execution.executor import make_executor
    from benchmarks.gradient_studies.plan.study_plan import STUDIES_KIND, plan_studies
    from benchmarks.runs.runner import run_cells

    executor = make_executor("local", None, settings.device, settings.threads, workers, None, None)
    plan = plan_studies(run.studies, [], plugins, data_root, settings, executor, folder, False)
    return run_cells(folder, run.name, plan, executor, False, STUDIES_KIND)[1]
