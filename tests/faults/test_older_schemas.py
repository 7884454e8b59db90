"""Files that earlier commits wrote are read: one of each schema in the history of `results/`."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from benchmarks.cli.commands.files import rebuild
from benchmarks.common.errors import UserError
from benchmarks.comparison import run_comparison, verdict_tables
from benchmarks.comparison.history import history_table
from benchmarks.gradient_studies.columns import COLUMN_NAMES
from benchmarks.gradient_studies.report import findings, tables
from benchmarks.reporting import results_table
from benchmarks.reporting.page import document
from benchmarks.runs import cell_files, manifests, recovery

ROOT = Path(__file__).parents[2]
FILES = ("results.csv", "gradients.csv", "history.csv", "manifest.json", "environment.json")
COLUMNS = {
    "results.csv": set(results_table.RESULT_COLUMNS),
    "gradients.csv": set(COLUMN_NAMES),
    "history.csv": set(history_table.HISTORY_KINDS),
}
KNOWN_WIDTHS = {"results.csv": {45, 46, 47, 50, 52, 53, 58}, "gradients.csv": {27, 30}, "history.csv": {18, 19}}


def git(*arguments):
    return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, check=True).stdout


def describe_schema(name, content):
    """What two files of one schema have in common: the header of a table, or the keys of a JSON object."""
    if name.endswith(".csv"):
        return content.partition(b"\n")[0].decode()
    record = json.loads(content)
    nested = [record.get("common", {}), record.get("protocol", {}), *record.get("rows", [])[-1:]]
    return str([record.get("schema_version"), sorted(record), *map(sorted, nested)])


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """The folders of one file of each schema, by file name; `cells`: a cell of each schema, and its commit."""
    try:
        shallow = git("rev-parse", "--is-shallow-repository").strip() == b"true"
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no clone of git, so there is no history")
    if shallow:
        pytest.skip("this clone is shallow; 'git fetch --unshallow' fetches the history")
    folders, cells, seen = {name: [] for name in FILES}, {}, set()
    base = tmp_path_factory.mktemp("history")
    for commit in git("log", "--all", "--format=%h", "--", "results").decode().split():
        listed = [line.split() for line in git("ls-tree", "-r", commit, "results").decode().splitlines()]
        blobs = {path: blob for _, _, blob, path in listed if "/reproductions/" not in path}  # which have one study
        one_cell = next(path for path in blobs if path.endswith(".json") and "/cells/" in path)
        for path, blob in blobs.items():
            name = Path(path).name
            if blob in seen or not (name in FILES or path == one_cell):
                continue
            seen.add(blob)
            content = git("cat-file", "blob", blob)
            if path == one_cell:
                cells.setdefault(describe_schema(name, content), (commit, content))
                continue
            schema = name, describe_schema(name, content)
            if schema in seen:
                continue
            seen.add(schema)
            folder = base / f"{commit}-{Path(path).parent.name}-{len(folders[name])}"
            folder.mkdir(exist_ok=True)
            for other in FILES:
                if (other_path := str(Path(path).with_name(other))) in blobs:
                    (folder / other).write_bytes(git("cat-file", "blob", blobs[other_path]))
            folders[name].append(folder)
    return SimpleNamespace(folders=folders, cells=list(cells.values()))


@pytest.fixture(scope="module")
def present():
    return results_table.read_results(ROOT / "results" / "default" / "results.csv")


@pytest.mark.parametrize("name", COLUMNS)
def test_no_column_of_the_history_is_unknown_today(history, name):
    """Who renames a column adds its former name to the reader; this test names the column."""
    headers = [(folder / name).read_text().partition("\n")[0].split(",") for folder in history.folders[name]]
    assert {len(header) for header in headers} >= KNOWN_WIDTHS[name]
    assert {column for header in headers for column in header} <= COLUMNS[name] | {"schema_version"}


def test_every_results_csv_of_the_history_is_read(history, present):
    for folder in history.folders["results.csv"]:
        path = folder / "results.csv"
        results = results_table.read_results(path)
        raw = pd.read_csv(path, usecols=lambda name: name in COLUMNS["results.csv"])
        assert results["elbo"].equals(raw["elbo"].astype(float))
        assert results[sorted(COLUMNS["results.csv"] - set(raw.columns))].isna().all(axis=None)
        verdicts = run_comparison.compare_runs(present, results)
        sides = verdict_tables.describe_sides([path, path], (present, results))
        assert verdict_tables.render_verdicts(verdicts, "markdown", sides=sides)
        assert not manifests.describe_shortfall(path, results)


def test_every_table_of_studies_and_of_reference_runs_is_read(history):
    for folder in history.folders["gradients.csv"]:
        table = tables.read_gradients(folder / "gradients.csv")
        assert "vae" in findings.describe_table(table)
    for folder in history.folders["history.csv"]:
        table = history_table.keep_latest_protocol(history_table.read_history(folder / "history.csv"))
        assert "vae" in history_table.render_history(table, history_table.DEFAULT_METRICS)


def test_every_json_file_of_the_history_is_read(history, tmp_path):
    (tmp_path / "cells").mkdir()
    for folder in history.folders["manifest.json"]:
        assert manifests.read_manifest(folder)["cells"]
    for folder in history.folders["environment.json"]:
        assert document._read_json(folder / "environment.json")["packages"]["torch"]
    for _, content in history.cells:
        cell_id = json.loads(content)["cell_id"]
        (tmp_path / "cells" / f"{cell_id}.json").write_bytes(content)
        assert cell_files.is_finished(cell_files.read_cell(tmp_path, cell_id))
    assert recovery.rebuild_tables(tmp_path, rebuild._write_tables) == 0
    assert {json.loads(content)["schema_version"] for _, content in history.cells} == {1, 3, 4, 6}


def test_a_newer_environment_is_refused(tmp_path):
    for content, words in (({"schema_version": 99}, "newer vaezoo"), ([], "is damaged"), ("", "is damaged")):
        (tmp_path / "environment.json").write_text(json.dumps(content) if content != "" else "")
        with pytest.raises(UserError, match=words):
            document._read_json(tmp_path / "environment.json")


def test_cells_of_older_studies_make_their_table(history, tmp_path):
    """No commit holds such cells, so one is made of an older table."""
    (tmp_path / "cells").mkdir()
    for folder in history.folders["gradients.csv"]:
        older = pd.read_csv(folder / "gradients.csv", nrows=400, dtype={"variant": str})
        older = older[older["seed"].notna()].drop(columns="schema_version", errors="ignore")
        rows = json.loads(older.to_json(orient="records", double_precision=15))
        common = {"cell_id": "a", "variant": "studies", "dataset": "mnist5k", "commit": "c", "torch": "t"}
        record = {"schema_version": 1, "cell_id": "a", "status": "ok", "error": "", "log": "", "common": common}
        (tmp_path / "cells" / "a.json").write_text(json.dumps(record | {"rows": [common | row for row in rows]}))
        assert recovery.rebuild_tables(tmp_path, rebuild._write_tables) == 0
        written = tables.read_gradients(tmp_path / "gradients.csv")
        assert written["value"].dropna().iloc[: len(rows)].sum() == pytest.approx(older["value"].sum())


@pytest.mark.faults
def test_every_command_reads_every_table_of_the_history(history, ask, tmp_path):
    """Exit code 0, or the verdict of a comparison; no traceback, and no line that is no sentence."""
    reference = ROOT / "results" / "default"
    for folder in history.folders["results.csv"]:
        commands = [
            *(["show", folder], ["show", folder, "--all-metrics"], ["show", folder, "--metrics", "validation_elbo"]),
            *(["compare", reference, folder], ["compare", folder, reference, "--format", "html"], ["plot", folder]),
            *(["report", folder], ["report", reference, "--against", folder, "--out", tmp_path / "page.html"]),
            ["history", folder, "--out", tmp_path],
        ]
        for arguments in commands:
            done = ask(*arguments)
            assert done.returncode in ((0, 2, 3) if arguments[0] == "compare" else (0,)), (arguments, done.stderr)
            assert "Traceback" not in done.stderr
            assert done.stdout
    for folder in history.folders["gradients.csv"]:
        for command in ("show", "plot", "report"):
            done = ask(command, folder)
            assert (done.returncode, done.stderr) == (0, ""), command


@pytest.mark.faults
def test_rebuild_writes_the_table_that_was_committed(history, ask, tmp_path):
    for commit, _ in history.cells:
        folder = tmp_path / commit / "results" / "default"
        (tmp_path / commit).mkdir()
        archive = git("archive", commit, "results/default")
        subprocess.run(["tar", "-x", "-C", tmp_path / commit], input=archive, check=True)
        before = pd.read_csv(folder / "results.csv", dtype=str)
        done = ask("rebuild", folder)
        assert done.returncode == 0, done.stderr
        after = pd.read_csv(folder / "results.csv", dtype=str)[before.columns]
        order = ["cell_id", "epoch"]
        frames = [
            t.sort_values(order, ignore_index=True).drop(columns="schema_version", errors="ignore")
            for t in (before, after)
        ]
        pd.testing.assert_frame_equal(*frames)
