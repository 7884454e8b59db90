"""The baseline and the history: what is refused, and what is installed."""

import json
from pathlib import Path

import pytest

from benchmarks import data, places, planning, plots, store
from benchmarks.csvs import write_table
from benchmarks.errors import UserError
from benchmarks.files import SCHEMA_VERSION
from benchmarks.metrics import RESULT_COLUMNS
from benchmarks.plugins import Entry
from benchmarks.regressions import baseline, history, history_figure
from benchmarks.settings import load
from tests.benchmarks.synthetic import table
from vaezoo import VARIANTS

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def run(tmp_path):
    """Writes a run folder of such a table; returns its results.csv."""

    def write(name="run", commit="abc", **options):
        rows = table(**{"variants": ("vae", "iwae"), "seeds": range(20)} | options).assign(
            commit=commit, torch="2.14.1"
        )
        folder = tmp_path / name
        folder.mkdir()
        records = [{k: v for k, v in row.items() if v == v} for row in rows.to_dict("records")]
        write_table(folder / "results.csv", RESULT_COLUMNS, records)
        cells = [{"cell_id": cell, "variant": {"name": "any"}} for cell in dict.fromkeys(rows["cell_id"])]
        head = {"schema_version": SCHEMA_VERSION, "protocol": {"epochs": 3}, "data_checksum": "d"}
        manifest = head | {"cells": cells}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        for other in ("environment.json", "summary.csv"):
            (folder / other).write_text("{}")
        return folder / "results.csv"

    return write


def test_a_run_becomes_the_baseline_and_the_next_says_what_changed(run, tmp_path):
    assert baseline.install(run(), tmp_path) == "there was no baseline"
    held = store.read_results(tmp_path / "baseline" / "results.csv")
    assert len(held) == 80
    changes = baseline.install(run("next", commit="def", elbo=-80.0, seed=1), tmp_path)
    assert "improved" in changes
    assert store.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["def"]
    rows = history.read(tmp_path / "history.csv")
    assert rows["commit"].drop_duplicates().tolist() == ["abc", "def"]
    elbo = rows[(rows["metric"] == "elbo") & (rows["variant"] == "vae")]
    assert elbo["mean"].tolist() == pytest.approx([-90, -80], abs=0.2)
    assert elbo["seeds"].tolist() == [20, 20]
    baseline.install(tmp_path / "next" / "results.csv", tmp_path)
    assert len(history.read(tmp_path / "history.csv")) == len(rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"protocol_id": "q"},
            "vae on mnist5k is incomparable against the present baseline .*, and 1 more; with --anew",
        ),
        ({"variants": ("vae",)}, r"iwae on mnist5k is missing against the present baseline \(new has it not\); with"),
    ],
)
def test_what_can_not_stand_in_for_the_baseline_is_none_unless_it_is_to_begin_anew(run, tmp_path, change, words):
    baseline.install(run(), tmp_path)
    other = run("other", commit="def", **change)
    with pytest.raises(UserError, match=words):
        baseline.install(other, tmp_path)
    assert store.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["abc"]
    baseline.install(other, tmp_path, anew=True)
    assert store.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["def"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"commit": "abc+12"}, "a baseline is made by one commit without changes behind it"),
        ({"seeds": range(19)}, "has 19 seeds, and a baseline needs 20"),
        ({"status": "timeout"}, "has 20 failed cells"),
        ({"status": "diverged"}, r"has 0 seeds that did not diverge \(20 did\).* run it with --seeds 40"),
        ({"kl": 30.0}, "vae, seed 0, epoch 0: elbo"),
    ],
)
def test_what_is_no_baseline(run, tmp_path, options, words):
    with pytest.raises(UserError, match=words.replace("abc+", r"abc\+")):
        baseline.install(run(**options), tmp_path)
    assert not (tmp_path / "baseline").exists()


def test_a_run_that_is_not_whole_is_no_baseline(run, tmp_path):
    path = run()
    manifest = json.loads((path.parent / "manifest.json").read_text())
    manifest["cells"].append({"cell_id": "another", "variant": {"name": "any"}})
    (path.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="holds 40 of 41 planned cells"):
        baseline.install(path, tmp_path)
    (path.parent / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        baseline.install(path, tmp_path)
    (path.parent / "environment.json").unlink()
    with pytest.raises(UserError, match=r"has no environment\.json"):
        baseline.install(path, tmp_path)


def test_a_baseline_is_replaced_whole_or_not_at_all(run, tmp_path):
    baseline.install(run(), tmp_path)
    other = run("other", commit="def", seed=1)
    (tmp_path / "history.csv").write_text((tmp_path / "history.csv").read_text().replace("20,0,", "20,none,"))
    with pytest.raises(UserError, match="lost is none, which is no number"):
        baseline.install(other, tmp_path)
    (other.parent / "mine.csv").write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=r"mine\.csv is no results\.csv of a run"):
        baseline.install(other.parent / "mine.csv", tmp_path)
    assert store.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["abc"]
    (tmp_path / "history.csv").unlink()
    (tmp_path / "baseline" / "results.csv").write_text("?")
    with pytest.raises(UserError, match=r"the present baseline can't be read: .*; with --anew it is replaced"):
        baseline.install(other, tmp_path)
    assert "can't be read" in baseline.install(other, tmp_path, anew=True)
    assert {path.name for path in tmp_path.iterdir()} == {"baseline", "history.csv", "run", "other"}


def test_a_run_that_exploded_is_drawn_too(run, tmp_path):
    paths = [run("a"), run("b", elbo=-1e200, started="2026-02-01T00:00:00Z")]
    table = history.of_runs([store.read_results(path) for path in paths])
    plots.save(history_figure.draw(table, history.USUAL), tmp_path / "figures" / "history")


def test_history_shows_each_metric_over_runs_and_leaves_other_protocols_out(run, tmp_path, ask):
    paths = [run("a"), run("b", commit="def", elbo=-91.0, seed=1, started="2026-02-01T00:00:00Z")]
    paths.append(run("c", commit="0ld", protocol_id="other", started="2025-01-01T00:00:00Z"))
    done = ask("history", *paths, "--out", tmp_path / "out", "--metrics", "elbo")
    assert done.returncode == 0, done.stderr
    assert "left out" in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("vae ")]
    means = [float(word) for word in line.split()[1::3]]
    assert "2026-02-01 00:00" in done.stdout
    assert means == pytest.approx([-90, -91], abs=0.3)
    assert "0ld" not in done.stdout
    assert (tmp_path / "out" / "figures" / "history.png").is_file()
    assert "no baseline was accepted yet" in ask("history", "--out", tmp_path / "none").stderr
    assert ask("history", tmp_path, "--out", tmp_path / "out").returncode == 0
    assert "nothing to show" in ask("history", paths[0], "--metrics", "processor_throughput").stderr


def test_history_says_which_runs_are_doubtful_and_which_code_was_not_committed(run, tmp_path, ask):
    paths = [run("a", commit="abcdef012345+4aeb5a"), run("b", started="2026-02-01T00:00:00Z", gradient_variance=0.0)]
    broken = paths[1].read_text().replace(",20.0,", ",30.0,")
    paths[1].write_text(broken)
    done = ask("history", *paths, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert f"{paths[1]} contradicts itself: vae, seed 0, epoch 0: elbo" in done.stderr
    assert "abcdef01+" in done.stdout
    assert "variance 0" in done.stdout


def test_the_committed_baseline_is_of_the_present_variants_and_preset():
    """Where it is not, 'compare' calls everything incomparable: run preset ci with 20 seeds, and install that."""
    held = store.read_results(RESULTS / "baseline" / "results.csv")
    protocol = planning.resolve(load("ci", {}))
    prepared = data.prepare(protocol.dataset, places.data_root())
    plan = planning.plan([Entry(v) for v in VARIANTS], protocol, range(baseline.SEEDS), prepared)
    assert set(held["cell_id"]) == {case.cell_id for case in plan}
    last = history.read(RESULTS / "history.csv").iloc[-1]
    assert [last["commit"]] == held["commit"].unique().tolist()
