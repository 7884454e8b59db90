"""The parts of a job array become one run, with the numbers of a run of all seeds."""

import json
import shutil

import pandas as pd
import pytest

from benchmarks.runs import manifests

ORDER = ["seed", "variant", "epoch"]


@pytest.fixture
def parts(make_once, ask, words, tmp_path):
    """A folder of two runs, of one seed each."""

    def make(out):
        for seed in (0, 1):
            done = ask(*words(out, f"part-{seed}", "--seeds", f"{seed}-{seed}", "--no-report", "--keep-models"))
        return done

    return shutil.copytree(make_once("parts", make).folder, tmp_path / "parts")


def merge(ask, out, *words):
    return ask("merge", *words, "--out", out, "--no-figures", "--no-report")


def test_merged_parts_are_one_run(parts, undisturbed, ask, numbers):
    done = merge(ask, parts, "part-0", "part-1", "--name", "all")
    assert done.returncode == 0, done.stderr
    merged, single = (numbers(path).sort_values(ORDER, ignore_index=True) for path in (parts / "all", undisturbed))
    pd.testing.assert_frame_equal(merged, single)
    files = {path.suffix for path in (parts / "all" / "cells").iterdir()}
    assert files == {".json", ".npz", ".safetensors"}
    assert len(manifests.read_manifest(parts / "all")["cells"]) == 4
    assert (parts / "all" / "summary.csv").is_file()
    assert ask("evaluate", parts / "all").returncode == 0
    done = merge(ask, parts, "part-0", "part-1", "--name", "all")
    assert (done.returncode, "exists; use another --name" in done.stderr) == (64, True)


def test_a_finished_cell_is_preferred_and_a_missing_one_is_said(parts, ask):
    shutil.copytree(parts / "part-0", parts / "broken")
    path = next((parts / "broken" / "cells").glob("*.json"))
    record = json.loads(path.read_text())
    record |= {"status": "killed", "error": "it was killed"}
    record["rows"] = [{"status": "killed", "error": "it was killed"}]
    path.write_text(json.dumps(record))
    next((parts / "part-1" / "cells").glob("*.json")).unlink()
    done = merge(ask, parts, "broken", "part-0", "part-1", "--name", "all")
    assert done.returncode == 2
    assert "has 3 of 4 planned cells" in done.stderr
    assert set(pd.read_csv(parts / "all" / "results.csv")["status"]) == {"ok"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["protocol"].update(batch_size=7), ["batch_size", "7", "50"]),
        (lambda m: m.update(data_checksum="0" * 64), ["other data"]),
        (lambda m: m["cells"][0]["variant"].update(objective="x"), ["another definition of", "objective"]),
    ],
)
def test_runs_of_other_settings_are_refused(parts, ask, change, message):
    path = parts / "part-1" / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    done = merge(ask, parts, "part-0", "part-1")
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert all(word in done.stderr for word in message), done.stderr
    assert not (parts / "merged").exists()


def test_cells_of_other_code_are_refused_unless_they_are_accepted(parts, ask):
    for path in (parts / "part-1" / "cells").glob("*.json"):
        record = json.loads(path.read_text())
        record["common"]["commit"] = "abc"
        path.write_text(json.dumps(record))
    done = merge(ask, parts, "part-0", "part-1")
    assert (done.returncode, "commit" in done.stderr, "--keep-stale" in done.stderr) == (64, True, True)
    assert merge(ask, parts, "part-0", "part-1", "--keep-stale").returncode == 0


def test_a_copy_with_its_model_is_preferred(parts, ask):
    shutil.copytree(parts / "part-0", parts / "bare")
    for path in [*(parts / "bare" / "cells").glob("*.safetensors"), parts / "bare" / "dataset.json"]:
        path.unlink()
    assert merge(ask, parts, "bare", "part-0").returncode == 0
    assert len(list((parts / "merged" / "cells").glob("*.safetensors"))) == 2
    assert (parts / "merged" / "dataset.json").is_file()
    done = ask("evaluate", parts / "bare")
    assert (done.returncode, "no kept models" in done.stderr) == (64, True)


def test_runs_without_an_ended_cell_leave_nothing(parts, ask):
    for path in (parts / "part-0" / "cells").iterdir():
        path.unlink()
    done = merge(ask, parts, "part-0")
    assert (done.returncode, "no ended cell" in done.stderr) == (64, True)
    assert not (parts / "merged").exists()
