"""Cells that fail: each has its row, none stops the others, and none leaves a process."""

import json
import sys

import pandas as pd
import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has memory limits and /proc")

EXPECTED = {
    "vae": ("ok", ""),
    "raises": ("failed", "KeyError: 'nothing there'"),
    "fills-memory": ("out-of-memory", "can't allocate memory"),
    "fills-memory-in-python": ("out-of-memory", "MemoryError"),
    "dies": ("killed", "its process ended with signal 9 (SIGKILL) and left no result"),
    "dies-of-a-rare-signal": ("killed", "its process ended with signal 40 and left no result"),
    "leaves-early": ("failed", "its process ended with exit code 74 and left no result"),
    "speaks-in-escapes": ("failed", "KeyError"),
    "prints-much": ("ok", ""),
    "leaves-a-child": ("ok", ""),
    "grows-by-a-child": ("failed", "CalledProcessError"),
}


def test_every_kind_of_failure_has_its_row_and_leaves_no_process(
    command, words, undisturbed, faulty, tmp_path, mark, survivors, numbers
):
    more = ["--plugin", faulty, "--seeds", 1, "--memory", 1500]
    names = [name for name in EXPECTED if name != "vae"]
    done = command(*words(tmp_path, "x", *names, *more), **mark)
    assert survivors() == []
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    assert "8 of 12 cells failed; run the same command again to repeat them" in done.stderr
    results = pd.read_csv(tmp_path / "x" / "results.csv", keep_default_na=False)
    for name, (status, error) in EXPECTED.items():
        last = results[results["variant"] == name].iloc[-1]
        assert (last["status"], error in last["error"]) == (status, True), (name, last["error"])
    cells = {
        r["common"]["variant"]: r
        for r in map(json.loads, (p.read_text() for p in (tmp_path / "x").glob("cells/*.json")))
    }
    assert "Traceback" in cells["raises"]["log"]
    assert "nothing there" in cells["raises"]["log"]
    assert cells["prints-much"]["log"].endswith("much the end of it\n")
    assert len(cells["prints-much"]["log"]) <= 8192
    compared = []
    for table in (numbers(tmp_path / "x"), numbers(undisturbed)):
        rows = table["variant"].isin(["vae", "reinforce-vae"]) & (table["seed"] == "0")
        compared.append(table[rows].reset_index(drop=True))
    pd.testing.assert_frame_equal(*compared)


def test_a_cell_that_takes_too_long_is_ended(command, tiny, faulty, tmp_path, mark, survivors):
    """One of the two cells ignores SIGTERM. Other cells have no limit here, because a slow machine would exceed it."""
    names, options = ["sleeps", "stubborn"], ["--preset", tiny, "--plugin", faulty, "--seeds", 1, "--timeout", 1]
    done = command("run", *names, *options, "--no-figures", "--out", tmp_path, "--name", "x", **mark)
    assert survivors() == []
    assert done.returncode == 2, done.stderr
    results = pd.read_csv(tmp_path / "x" / "results.csv", keep_default_na=False)
    assert dict(results.groupby("variant")["status"].agg(list)) == {name: ["timeout"] for name in names}
    assert set(results["error"]) == {"it took more than --timeout 1 seconds"}


def test_a_plug_in_that_ends_the_planning_process_gives_one_line(command, words, tmp_path):
    path = tmp_path / "ends.py"
    path.write_text("import os\nos._exit(3)\n")
    done = command(*words(tmp_path, "x", "--plugin", path))
    assert done.returncode == 2
    assert "ended with exit code 3 and no answer; check that no plug-in ends it" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("option", "value"), [("--timeout", "0"), ("--timeout", "nan"), ("--memory", "-1")])
def test_invalid_limits_are_refused(ask, words, tmp_path, option, value):
    done = ask(*words(tmp_path, "x", option, value))
    assert done.returncode == 64
    assert done.stderr.startswith(f"error: {option} ")
    assert done.stderr.count("\n") == 1
