"""`baseline` and `history`: refused runs, installed runs, and the table of their metrics."""

import json
from pathlib import Path

import pytest

from benchmarks.common.atomic_files import SCHEMA_VERSION
from benchmarks.common.errors import UserError
from benchmarks.comparison.history import history_figure, history_table, reference_run
from benchmarks.planning import planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.reporting import results_table
from benchmarks.reporting.csv_tables import write_table
from benchmarks.reporting.figures import style
from benchmarks.reporting.metrics import METRIC_BY_NAME
from benchmarks.reporting.results_table import RESULT_COLUMNS
from tests.benchmarks.synthetic_runs import make_results
from vaezoo import VARIANTS

RESULTS = Path(__file__).parents[4] / "results"


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a run folder and returns its results.csv."""

    def write(name="run", commit="abc", **options):
        rows = make_results(**{"variants": ("vae", "iwae"), "seeds": range(20)} | options).assign(
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


def test_run_becomes_the_reference_run_and_the_next_is_compared(run, tmp_path):
    assert reference_run.install_reference(run(), tmp_path) == "no previous reference run to compare with"
    installed = results_table.read_results(tmp_path / "baseline" / "results.csv")
    assert len(installed) == 80
    changes = reference_run.install_reference(run("next", commit="def", elbo=-80.0, seed=1), tmp_path)
    assert "improved" in changes
    assert results_table.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["def"]
    rows = history_table.read_history(tmp_path / "history.csv")
    assert rows["commit"].drop_duplicates().tolist() == ["abc", "def"]
    elbo = rows[(rows["metric"] == "elbo") & (rows["variant"] == "vae")]
    assert elbo["mean"].tolist() == pytest.approx([-90, -80], abs=0.2)
    assert elbo["seeds"].tolist() == [20, 20]
    reference_run.install_reference(tmp_path / "next" / "results.csv", tmp_path)
    assert len(history_table.read_history(tmp_path / "history.csv")) == len(rows)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"protocol_id": "q"},
            "vae on mnist5k is incomparable in the comparison with the present .*, and 1 more; to .* add --replace",
        ),
        ({"variants": ("vae",)}, r"iwae on mnist5k is missing in .* \(missing in new\); to install"),
    ],
)
def test_incomparable_run_needs_replace(run, tmp_path, change, words):
    reference_run.install_reference(run(), tmp_path)
    other = run("other", commit="def", **change)
    with pytest.raises(UserError, match=words):
        reference_run.install_reference(other, tmp_path)
    assert results_table.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["abc"]
    reference_run.install_reference(other, tmp_path, replace=True)
    assert results_table.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["def"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"commit": "abc+12"}, "a reference run needs a single commit without uncommitted changes"),
        ({"seeds": range(19)}, "has 19 seeds, but a reference run needs 20"),
        ({"status": "timeout"}, "has 20 failed cells"),
        ({"status": "diverged"}, r"has 0 seeds that did not diverge \(20 did\).* run it with --seeds 40"),
        ({"kl": 30.0}, "vae, seed 0, epoch 0: elbo"),
    ],
)
def test_unsuitable_run_is_refused(run, tmp_path, options, words):
    with pytest.raises(UserError, match=words.replace("abc+", r"abc\+")):
        reference_run.install_reference(run(**options), tmp_path)
    assert not (tmp_path / "baseline").exists()


@pytest.mark.parametrize(("commit", "read"), [("p+1", r"p\+1"), (float("nan"), "none"), ("", "none")])
def test_a_plug_in_with_uncommitted_changes_is_refused(run, tmp_path, commit, read):
    with pytest.raises(UserError, match=f"the plug-in of vae was read from commit {read}, but a reference run needs"):
        reference_run.install_reference(run(plugin_source="s", plugin_commit=commit), tmp_path)


def test_the_history_has_each_commit_of_a_plug_in(run, tmp_path):
    for commit in ("p1", "p2", "p2"):
        path = run(f"{commit}-{len(list(tmp_path.iterdir()))}", plugin_source="s", plugin_commit=commit)
        reference_run.install_reference(path, tmp_path)
    rows = history_table.read_history(tmp_path / "history.csv")
    counts = rows.groupby("plugin_commit").size()
    assert counts["p1"] == counts["p2"] == len(rows) / 2


@pytest.mark.parametrize(("name", "change", "word"), [
    ("elbo", 2.0, "BETTER"), ("elbo", -2.0, "WORSE"), ("reconstruction_error", 2.0, "WORSE"),
    ("reconstruction_error", -2.0, "BETTER"), ("elbo", 1.0, "NEITHER"), ("kl", 2.0, "NEITHER"),
])  # fmt: skip
def test_the_colour_of_a_change_is_that_of_its_direction(name, change, word):
    colour = history_figure._choose_colour(METRIC_BY_NAME[name], change, 0.5, 0.5)
    assert colour == getattr(history_figure, word)


def test_incomplete_run_is_refused(run, tmp_path):
    path = run()
    manifest = json.loads((path.parent / "manifest.json").read_text())
    manifest["cells"].append({"cell_id": "another", "variant": {"name": "any"}})
    (path.parent / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="has 40 of 41 planned cells"):
        reference_run.install_reference(path, tmp_path)
    (path.parent / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        reference_run.install_reference(path, tmp_path)
    (path.parent / "environment.json").unlink()
    with pytest.raises(UserError, match=r"has no environment\.json"):
        reference_run.install_reference(path, tmp_path)


def test_error_leaves_the_reference_run_unchanged(run, tmp_path):
    reference_run.install_reference(run(), tmp_path)
    other = run("other", commit="def", seed=1)
    (tmp_path / "history.csv").write_text((tmp_path / "history.csv").read_text().replace("20,0,", "20,unknown,"))
    with pytest.raises(UserError, match="lost is unknown, which is not a number"):
        reference_run.install_reference(other, tmp_path)
    (other.parent / "mine.csv").write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=r"mine\.csv is not named results\.csv"):
        reference_run.install_reference(other.parent / "mine.csv", tmp_path)
    assert results_table.read_results(tmp_path / "baseline" / "results.csv")["commit"].unique().tolist() == ["abc"]
    (tmp_path / "history.csv").unlink()
    (tmp_path / "baseline" / "results.csv").write_text("?")
    with pytest.raises(UserError, match=r"the present reference run is unreadable: .*; to install .* add --replace"):
        reference_run.install_reference(other, tmp_path)
    assert "previous reference run not compared" in reference_run.install_reference(other, tmp_path, replace=True)
    assert {path.name for path in tmp_path.iterdir()} == {"baseline", "history.csv", "run", "other"}


def test_exploded_run_is_drawn(run, tmp_path):
    paths = [run("a"), run("b", elbo=-1e200, started="2026-02-01T00:00:00Z")]
    table = history_table.build_history([results_table.read_results(path) for path in paths])
    style.save_figure(
        history_figure.draw_history(table, history_table.DEFAULT_METRICS), tmp_path / "figures" / "history"
    )


def test_history_has_each_run_of_the_latest_protocol(run, tmp_path, ask):
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
    assert "there is no reference run yet" in ask("history", "--out", tmp_path / "none").stderr
    assert ask("history", tmp_path, "--out", tmp_path / "out").returncode == 0
    assert "nothing to show" in ask("history", paths[0], "--metrics", "processor_throughput").stderr


def test_history_reports_inconsistent_runs_and_uncommitted_code(run, tmp_path, ask):
    paths = [run("a", commit="abcdef012345+4aeb5a"), run("b", started="2026-02-01T00:00:00Z", gradient_variance=0.0)]
    broken = paths[1].read_text().replace(",20.0,", ",30.0,")
    paths[1].write_text(broken)
    done = ask("history", *paths, "--out", tmp_path / "out")
    assert done.returncode == 0
    assert f"{paths[1]} contradicts itself: vae, seed 0, epoch 0: elbo" in done.stderr
    assert "abcdef01+" in done.stdout
    assert "variance 0" in done.stdout


def test_committed_reference_run_has_the_present_variants_and_preset():
    """Otherwise 'compare' finds everything incomparable: run preset ci with 20 seeds and install it."""
    installed = results_table.read_results(RESULTS / "baseline" / "results.csv")
    protocol, prepared = planner.prepare(load_settings("ci", {}))
    entries = [RegisteredVariant(v) for v in VARIANTS]
    latent_dims = [v.latent_dim or protocol.latent_dim for v in VARIANTS]
    plan = planner.plan_cells(entries, protocol, range(reference_run.MIN_SEEDS), prepared, latent_dims=latent_dims)
    assert set(installed["cell_id"]) == {case.cell_id for case in plan}
    last = history_table.read_history(RESULTS / "history.csv").iloc[-1]
    assert [last["commit"]] == installed["commit"].unique().tolist()
