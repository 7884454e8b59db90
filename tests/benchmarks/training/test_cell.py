"""One cell, run in this process: the training loop, the rows of its record, divergence and failure."""

import dataclasses
import subprocess
import sys

import pytest
import torch

from benchmarks.execution.interface import Limits
from benchmarks.planning.random_streams import make_generator
from benchmarks.reporting.metrics import METRICS, TIMINGS, find_inconsistency
from benchmarks.reporting.results_table import RESULT_COLUMNS
from benchmarks.training import baseline_fitting, cell, task
from vaezoo import VARIANTS, estimate, evaluate

CLOSED = ("elbo", "beta_elbo(4)")


@pytest.fixture(autouse=True)
def fit_briefly(monkeypatch):
    """Control variates are fitted with 10 steps; `test_protocol.py` tests the fit."""
    monkeypatch.setattr(baseline_fitting, "FITTING_STEPS", 10)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_rows_have_declared_columns_and_consistent_numbers(plan, variant):
    record, _ = cell.train_and_measure(plan(variant))
    assert record["status"] == "ok", record["log"]
    assert [row["epoch"] for row in record["rows"]] == [0, 1, 2]
    stochastic = "elbo" in record["rows"][0]
    for row in record["rows"]:
        assert set(row) | set(record["common"]) <= {*RESULT_COLUMNS, "epochs", "checkpoints"}
        assert find_inconsistency(row) is None
        assert ("elbo" in row) == ("kl" in row) == ("gradient_variance" in row) == stochastic
        if stochastic:
            assert {m.name for m in METRICS} - {"gradient_snr"} <= set(row)


def test_a_cell_gives_the_same_bits_twice(plan):
    first, second = (cell.train_and_measure(plan())[0]["rows"] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if k not in TIMINGS} == {k: v for k, v in b.items() if k not in TIMINGS}


PROGRAM = """
import sys
import torch
from benchmarks.common import cache_paths
from benchmarks.planning import planner
from benchmarks.planning.registry import RegisteredVariant
from benchmarks.planning.settings import load_settings
from benchmarks.training import cell, task
from vaezoo import VARIANTS
torch.set_num_threads(1)
slow = {"sympy", "torch._dynamo", "torch._inductor"}
protocol, prepared = planner.prepare(load_settings(sys.argv[1], {"epochs": 1, "checkpoints": [1]}))
variants = {(v.estimator.name, v.estimator.baseline_name): v for v in VARIANTS}.values()
for variant in sorted(variants, key=lambda v: v.estimator.control is not None):
    if variant.estimator.control:
        slow -= {"sympy"}  # torch.autograd.grad imports it for the derivative of a vector
    case = planner.plan_cells([RegisteredVariant(variant)], protocol, (0,), prepared)[0]
    assert cell.train_and_measure(case)[0]["status"] == "ok"
    print(*sorted(slow & set(sys.modules)))
"""


def test_a_cell_does_not_import_slow_modules(tiny):
    """Some functions of torch import sympy or its compiler at their first use: 0.3 to 2 seconds in every cell."""
    process = subprocess.run([sys.executable, "-c", PROGRAM, tiny], capture_output=True, text=True, check=True)
    assert process.stdout.split() == []


def moments_by_loop(model, variant, part, x, noise):
    """Variance, its standard error, and SNR of the minibatch gradient, from the gradient of each example and repeat."""
    parameters, (repeats, _, examples, _) = list(getattr(model, part).parameters()), noise.shape
    gradients = torch.empty(repeats, examples, sum(p.numel() for p in parameters), dtype=torch.float64)
    for r in range(repeats):
        for b in range(examples):
            value = estimate(variant, model, x[[b]], noise[r, :, [b]], torch.zeros(())).sum()
            gradients[r, b] = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters)])
    squares = (gradients - gradients.mean(0)).square().sum((1, 2)) / examples**2
    sums = squares * repeats / (repeats - 1)
    variance, signal = sums.mean().item(), gradients.mean((0, 1)).square().sum().item()
    return variance, sums.std().item() / repeats**0.5, signal / variance - 1 / repeats


def test_a_row_equals_what_the_library_measures(plan, setup_variant):
    """Every metric of the row before training, from the images, noise and draws of the named generators."""
    variant = VARIANTS[1]
    setup = setup_variant(variant)
    model, data = setup.model, setup.data
    row = cell.train_and_measure(plan(variant))[0]["rows"][0]
    expected = evaluate(model, data.test, make_generator(0, "evaluation/0"), draws=4, log_likelihood_draws=8)
    x = (torch.rand(50, 64, generator=make_generator(0, "binarize/gradient")) < data.train[:50]).float()
    noise = torch.randn(6, 1, 50, 10, generator=make_generator(0, "gradient/0"))
    expected["validation_elbo"] = evaluate(model, data.validation, make_generator(0, "validation/0"), draws=4)["elbo"]
    encoder, decoder = (moments_by_loop(model, variant, part, x, noise) for part in ("encoder", "decoder"))
    expected |= dict(zip(("gradient_variance", "gradient_variance_se", "gradient_snr"), encoder, strict=True))
    expected["decoder_gradient_variance"] = decoder[0]
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    speeds = {"throughput", "processor_throughput", "flops_per_second", "machine_fraction"}
    assert {m.name for m in METRICS} - set(expected) == {"exact_log_likelihood", *speeds}


def test_training_improves_the_elbo(plan):
    record, _ = cell.train_and_measure(plan(epochs=8))
    values = [row["elbo"] for row in record["rows"]]
    assert values[-1] > values[0] + 5


def test_speed_is_also_in_operations_and_relative_to_large_products(plan, monkeypatch):
    """A 64-100-10-100-64 model has 2 (2 x 6,400 + 3 x 2,000 + 3 x 1,000 + 3 x 6,400) operations per example."""
    monkeypatch.setattr("benchmarks.common.kernels.measure_matrix_rate", lambda device: 2e9)
    record, _ = cell.train_and_measure(plan())
    last = record["rows"][-1]
    assert last["flops_per_second"] == pytest.approx(82_000 * last["throughput"])
    assert last["machine_fraction"] == pytest.approx(last["flops_per_second"] / 2e9)
    assert record["rows"][0]["machine_fraction"] is None


def test_a_lower_precision_is_another_protocol_and_close_to_float32(plan):
    exact, rounded = (plan(precision=precision) for precision in ("float32", "bfloat16"))
    assert exact.protocol_id != rounded.protocol_id
    records = [cell.train_and_measure(case)[0] for case in (exact, rounded)]
    assert [record["common"]["precision"] for record in records] == ["float32", "bfloat16"]
    first, second = (record["rows"] for record in records)
    assert first[0]["elbo"] == second[0]["elbo"]  # evaluation always multiplies in float32
    assert 0 < abs(first[-1]["elbo"] - second[-1]["elbo"]) < 0.5


def test_variants_of_one_seed_start_from_equal_weights_and_see_equal_noise(plan):
    first = {v.name: cell.train_and_measure(plan(v, epochs=1, checkpoints=[0]))[0]["rows"][0] for v in VARIANTS}
    elbo_variants = [v for v in VARIANTS if "elbo" in first[v.name]]
    # variants of one family have one decoder and one encoder
    assert len({(v.architecture, first[v.name]["elbo"]) for v in elbo_variants}) == 3
    same = [v for v in elbo_variants if v.estimator.name == "pathwise" and v.draws == 1 and v.objective.name in CLOSED]
    variances = [first[v.name]["gradient_variance"] for v in same]
    assert variances == pytest.approx([variances[0]] * len(variances), rel=1e-5)  # rounding differs


def test_a_diverged_cell_has_the_rows_until_its_divergence(plan):
    record, attachments = cell.train_and_measure(plan(learning_rate=1e30))
    assert record["status"] == "diverged"
    assert [row["status"] for row in record["rows"]] == ["ok", "diverged"]
    assert "elbo" not in record["rows"][-1]
    assert "not finite" in record["error"]
    assert not attachments.arrays


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("boom\nat line 3"), "failed"), (MemoryError("no room"), "out-of-memory"),
     (torch.OutOfMemoryError("no room"), "out-of-memory")],
)  # fmt: skip
def test_a_failed_cell_has_its_error_and_the_rows_before_it(plan, monkeypatch, error, status):
    real, calls = cell.evaluate, []

    def evaluate(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return real(*arguments)

    monkeypatch.setattr(cell, "evaluate", evaluate)
    record, _ = cell.train_and_measure(plan())
    assert record["status"] == status
    assert [row["status"] for row in record["rows"]] == ["ok", status]
    assert record["error"].startswith(type(error).__name__)
    assert "\n" not in record["error"]
    assert "Traceback" in record["log"]


def test_other_likelihoods_and_binarizations_train(plan):
    for settings in (
        {"binarization": "none", "likelihood": "continuous-bernoulli"},
        {"binarization": "none", "likelihood": "gaussian-learned"},
        {"binarization": "static"},
        {"latent_dim": 1},
        {"dataset": "linear-gaussian", "batch_size": 500},
    ):
        record, attachments = cell.train_and_measure(plan(**settings))
        assert record["status"] == "ok", record["log"]
        assert bool(attachments.arrays) == ("dataset" not in settings)


def test_a_case_contains_only_strings_and_numbers(plan):
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for v in value.values() for leaf in leaves(v)]
        return [leaf for v in value for leaf in leaves(v)] if isinstance(value, (list, tuple)) else [value]

    assert {type(leaf) for leaf in leaves(dataclasses.asdict(plan()))} <= {str, int, float, bool}


def test_a_divergence_between_two_checkpoints_is_reported(plan):
    record, _ = cell.train_and_measure(plan(epochs=4, checkpoints=(0, 4), learning_rate=1e30))
    assert [row["status"] for row in record["rows"]] == ["ok", "diverged"]
    assert 0 < record["rows"][-1]["epoch"] < 4


def test_a_metric_that_is_not_finite_is_a_divergence(plan, monkeypatch):
    monkeypatch.setattr(cell, "_measure", lambda *_: {"elbo": float("nan"), "kl": 1.0})
    record, attachments = cell.train_and_measure(plan())
    assert [row["status"] for row in record["rows"]] == ["diverged"]
    assert not {"elbo", "kl"} & set(record["rows"][0])
    assert not attachments.arrays


@pytest.mark.parametrize(("status", "is_kept"), [("ok", False), ("diverged", False), ("failed", True)])
def test_the_snapshot_of_a_finished_cell_is_deleted(plan, monkeypatch, tmp_path, status, is_kept):
    case = plan()
    path = cell.state.snapshot_path(tmp_path, case)
    path.parent.mkdir()
    path.touch()
    monkeypatch.setattr(cell.kernels, "configure_kernels", lambda *_: None)
    monkeypatch.setattr(
        cell, "train_and_measure", lambda *_: ({"cell_id": case.cell_id, "status": status}, cell.NO_ATTACHMENTS)
    )
    cell.run_cell(case, str(tmp_path))
    assert path.exists() == is_kept


def test_each_checkpoint_is_evaluated_with_other_noise(plan, monkeypatch):
    purposes = []

    def make(seed, purpose):
        purposes.append(purpose)
        return make_generator(seed, purpose)

    monkeypatch.setattr(cell, "make_generator", make)
    cell.train_and_measure(plan(epochs=1))
    streams = {"evaluation/0", "validation/0", "gradient/0", "evaluation/1", "validation/1", "gradient/1"}
    assert set(purposes) == {*streams, "binarize/gradient"}


@pytest.mark.parametrize(("timeout", "expected"), [(None, 60.0), (5.0, 5.0), (900.0, 60.0)])
def test_a_plan_takes_at_most_a_minute_and_no_longer_than_a_cell(monkeypatch, timeout, expected):
    limits = []
    monkeypatch.setattr(task, "_choose_step_paths", lambda cases, limit: limits.append(limit) or [])
    assert task.prepare_cells([], 1, Limits(timeout, 300)) == []
    assert limits == [Limits(expected, 300)]
