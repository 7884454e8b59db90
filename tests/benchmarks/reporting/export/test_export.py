"""Results for other tools have all values of results.csv, and no others."""

import subprocess
import sys

import pandas as pd
import pytest

from benchmarks.reporting.export.long_table import make_long_table
from benchmarks.reporting.metrics import METRICS
from benchmarks.reporting.results_table import read_results

METRIC_NAMES = [metric.name for metric in METRICS]


@pytest.fixture
def results(finished):
    return read_results(finished.folder / "results.csv")


def test_a_long_table_has_each_value_once(results, finished, ask, tmp_path):
    done = ask("export", finished.folder, "--out", tmp_path / "new" / "long.csv")
    assert done.stdout.strip() == str(tmp_path / "new" / "long.csv"), done.stderr
    table = pd.read_csv(tmp_path / "new" / "long.csv")
    assert len(table) == results[METRIC_NAMES].notna().sum().sum()
    wide = table.pivot(index=["cell_id", "epoch"], columns="metric", values="value")
    expected = results.set_index(["cell_id", "epoch"])[list(wide.columns)].sort_index()
    pd.testing.assert_frame_equal(wide.sort_index(), expected, check_names=False, check_index_type=False)
    assert set(table["unit"].dropna()) <= {metric.unit for metric in METRICS}


def test_tensorboard_reads_each_value(results, finished, ask, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    done = ask("export", finished.folder, "--to", "tensorboard", "--out", tmp_path / "t")
    assert done.returncode == 0, done.stderr
    rows = results[(results["variant"] == "vae") & (results["seed"] == 1)]
    events = EventAccumulator(str(tmp_path / "t" / "vae" / "seed-1")).Reload()
    assert set(events.Tags()["scalars"]) == {name for name in METRIC_NAMES if rows[name].notna().any()}
    scalars = events.Scalars("elbo")
    assert [scalar.step for scalar in scalars] == rows["step"].tolist()
    assert [scalar.value for scalar in scalars] == pytest.approx(rows["elbo"].tolist(), rel=1e-6)
    times = [scalar.wall_time for scalar in scalars]
    assert times == sorted(times)
    assert times[0] == pytest.approx(pd.Timestamp(rows["started"].iloc[0]).timestamp(), abs=1)
    done = ask("export", finished.folder, "--to", "tensorboard", "--out", tmp_path / "t")
    assert (done.returncode, "exists" in done.stderr) == (64, True)


def test_a_failed_cell_has_no_values(results):
    failed = results.assign(epoch=None, step=None, **dict.fromkeys(METRIC_NAMES))
    assert make_long_table(failed).empty


def test_a_missing_package_is_named(finished, command, tmp_path):
    (tmp_path / "mlflow.py").write_text("raise ImportError('No module named mlflow')\n")
    done = command("export", finished.folder, "--to", "mlflow", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (64, 1)
    assert "pip install 'vaezoo[mlflow]'" in done.stderr


def test_an_unknown_format_is_named(finished, ask):
    done = ask("export", finished.folder, "--to", "tensorbord")
    assert (done.returncode, "did you mean tensorboard" in done.stderr) == (64, True)


@pytest.mark.slow
def test_mlflow_reads_each_value(results, finished, command, tmp_path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    store = f"sqlite:///{tmp_path / 'm.db'}"
    done = command("export", finished.folder, "--to", "mlflow", "--out", store)
    assert done.returncode == 0, done.stderr
    program = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]); "
        "mlflow.search_runs(experiment_names=['tiny']).to_csv(sys.argv[2])"
    )

    subprocess.run([sys.executable, "-c", program, store, str(tmp_path / "m.csv")], check=True, capture_output=True)
    runs = pd.read_csv(tmp_path / "m.csv").set_index(["params.variant", "params.seed"])
    assert len(runs) == results["cell_id"].nunique()
    for row in results[results["epoch"] == results["epoch"].max()].dropna(subset="elbo").itertuples():
        assert runs.loc[(row.variant, row.seed), "metrics.elbo"] == row.elbo
    done = command("export", finished.folder, "--to", "mlflow", "--out", store)
    assert done.returncode == 0, done.stderr  # the same command adds nothing
    subprocess.run([sys.executable, "-c", program, store, str(tmp_path / "m.csv")], check=True, capture_output=True)
    assert len(pd.read_csv(tmp_path / "m.csv")) == len(runs)
