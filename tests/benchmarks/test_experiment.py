"""One cell, in this process: the loop, its rows, divergence and failure."""

import dataclasses
import subprocess
import sys

import pytest
import torch

import benchmarks.step
from benchmarks import data, experiment, places, planning
from benchmarks.baselines import start
from benchmarks.metrics import METRICS, RESULT_COLUMNS, TIMINGS, inconsistency
from benchmarks.plugins import Entry
from benchmarks.seeds import generator
from benchmarks.settings import load
from benchmarks.train import begun, train
from vaezoo import VARIANTS, build, estimate, evaluate, gradient_moments, initialise

CLOSED = ("elbo", "beta_elbo(4)")


@pytest.fixture
def plan(tiny):
    def make(variant=VARIANTS[1], **overrides):
        protocol = planning.resolve(load(tiny, overrides))
        prepared = data.prepare(protocol.dataset, places.data_root())
        return planning.plan([Entry(variant)], protocol, (0,), prepared)[0]

    return make


@pytest.fixture
def built(plan):
    """A model and its data under the tiny protocol, ready to train."""

    def make(variant, **overrides):
        case = plan(variant, **overrides)
        model = build(variant, planning.spec(case.protocol), case.protocol.latent_dim)
        initialise(model, lambda name: generator(0, f"init/{name}"))
        return model, data.load(case.protocol.dataset, case.data_folder, case.protocol.binarization, "cpu"), case

    return make


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_rows_have_declared_columns_and_consistent_numbers(plan, variant):
    record, _ = experiment.run(plan(variant))
    assert record["status"] == "ok", record["log"]
    assert [row["epoch"] for row in record["rows"]] == [0, 1, 2]
    stochastic = "elbo" in record["rows"][0]
    for row in record["rows"]:
        assert set(row) | set(record["common"]) <= {*RESULT_COLUMNS, "epochs", "checkpoints"}
        assert inconsistency(row) is None
        assert ("elbo" in row) == ("kl" in row) == ("gradient_variance" in row) == stochastic
        if stochastic:
            assert {m.name for m in METRICS} - {"gradient_snr"} <= set(row)


def test_a_cell_gives_the_same_bits_twice(plan):
    first, second = (experiment.run(plan())[0]["rows"] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert {k: v for k, v in a.items() if k not in TIMINGS} == {k: v for k, v in b.items() if k not in TIMINGS}


A_CELL = """
import sys
from benchmarks import data, experiment, places, planning
from benchmarks.plugins import Entry
from benchmarks.settings import load
from vaezoo import VARIANTS
protocol = planning.resolve(load(sys.argv[1], {"epochs": 1}))
prepared = data.prepare(protocol.dataset, places.data_root())
for variant in VARIANTS:
    assert experiment.run(planning.plan([Entry(variant)], protocol, (0,), prepared)[0])[0]["status"] == "ok"
print(*sorted({"sympy", "torch._dynamo", "torch._inductor"} & set(sys.modules)))
"""


def test_a_cell_imports_nothing_slow(tiny):
    """Torch imports sympy or its compiler at the first use of many a function: 0.3 to 2 seconds in every cell."""
    done = subprocess.run([sys.executable, "-c", A_CELL, tiny], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


PREDICTING = [v for v in VARIANTS if v.estimator.baseline.rate]


@pytest.mark.parametrize("variant", [VARIANTS[1], *PREDICTING], ids=lambda v: v.name)
def test_training_is_a_plain_loop_of_adam_steps(built, variant):
    """The same updates written down again: order, binarization and noise from their named generators.

    A moving average starts from one draw of its own, and moves after its use.
    """
    trained, images, case = built(variant)
    for _ in train(begun(trained, variant, images.train, case.protocol, 0), variant, images.train, case.protocol):
        pass
    model, images, _ = built(variant)
    optimizer = torch.optim.Adam(model.parameters(), lr=case.protocol.learning_rate)
    order, pixels, noise = (generator(0, purpose) for purpose in ("batches", "binarize", "noise"))
    average = start(variant, model, images.train, case.protocol, generator(0, "start-baseline"))
    for _ in range(2):
        rows = torch.randperm(len(images.train), generator=order)
        for batch in rows.split(50):
            if len(batch) < 50:
                continue
            bits = torch.empty(50 * 64 // 4, dtype=torch.int64).random_(-(2**63), None, generator=pixels)
            x = ((bits.view(torch.int16) & 0x7FFF).view(50, 64) < (images.train[batch] * 2**15).round()).float()
            optimizer.zero_grad()
            draw = torch.randn(1, 50, 10, generator=noise)
            value = estimate(variant, model, x, draw, average)
            (-value.mean()).backward()
            q = model.encoder(x)
            if variant.estimator.baseline.rate:
                average = 0.9 * average + 0.1 * (value + model.prior.kl(q)).detach().mean()
            optimizer.step()
    for a, b in zip(trained.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_a_moving_average_that_moves_before_its_use_is_noticed(built, monkeypatch):
    """The planted mistake, in the loop itself: the test above has to fail."""
    real = benchmarks.step.parts

    def early(variant, model, x, noise, average):
        stochastic, _ = real(variant, model, x, noise, average)
        return real(variant, model, x, noise, variant.estimator.baseline.updated(average, stochastic))

    monkeypatch.setattr(benchmarks.step, "parts", early)
    with pytest.raises(AssertionError):
        test_training_is_a_plain_loop_of_adam_steps(built, PREDICTING[0])


def test_a_row_is_what_the_library_measures_by_hand(built):
    """Every metric of the row before training, from the named generators: which images, which noise, which draws."""
    variant = VARIANTS[1]
    model, images, case = built(variant)
    row = experiment.run(case)[0]["rows"][0]
    expected = evaluate(model, images.test, generator(0, "evaluation/0"), draws=4, log_likelihood_draws=8)
    x = (torch.rand(50, 64, generator=generator(0, "binarize/gradient")) < images.train[:50]).float()
    noise = torch.randn(6, 1, 50, 10, generator=generator(0, "gradient/0"))
    expected["validation_elbo"] = evaluate(model, images.validation, generator(0, "validation/0"), draws=4)["elbo"]
    moments = gradient_moments(model, lambda m, x, n: estimate(variant, m, x, n, torch.zeros(())), x, noise)
    expected |= {
        "gradient_variance": moments["encoder"].variance,
        "gradient_variance_se": moments["encoder"].variance_se,
        "gradient_snr": moments["encoder"].snr,
        "decoder_gradient_variance": moments["decoder"].variance,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    speeds = {"throughput", "processor_throughput", "flops_per_second", "machine_fraction"}
    assert {m.name for m in METRICS} - set(expected) == {"exact_log_likelihood", *speeds}


def test_throughput_is_examples_over_seconds_without_the_warm_up(built, monkeypatch):
    variant = VARIANTS[1]
    model, images, case = built(variant)
    clock = iter([0.0, 100.0, 110.0, 200.0, 200.0, 225.0])  # each epoch begins, is warm, ends
    worked = iter([0.0, 50.0, 54.0, 60.0, 60.0, 65.0])
    monkeypatch.setattr("benchmarks.train.now", lambda device: next(clock))
    monkeypatch.setattr("benchmarks.train.time.process_time", lambda: next(worked))
    state = begun(model, variant, images.train, case.protocol, 0)
    progress = [p for p in train(state, variant, images.train, case.protocol) if p.due]
    assert progress[1].throughput == pytest.approx(20 * 50 / 10)
    assert progress[2].throughput == pytest.approx((20 * 50 / 10 + 25 * 50 / 25) / 2)
    assert progress[1].processor_throughput == pytest.approx(20 * 50 / 4)
    assert progress[2].processor_throughput == pytest.approx((20 * 50 / 4 + 25 * 50 / 5) / 2)
    assert progress[2].seconds == pytest.approx(110 + 25)


def test_training_improves_the_elbo(plan):
    record, _ = experiment.run(plan(epochs=8))
    values = [row["elbo"] for row in record["rows"]]
    assert values[-1] > values[0] + 5


def test_speed_is_counted_in_operations_and_in_the_machines_rate(plan, monkeypatch):
    """64-100-10 and back: 2 (2 x 6,400 + 3 x 2,000 + 3 x 1,000 + 3 x 6,400) operations an example."""
    monkeypatch.setattr("benchmarks.kernels.matrix_rate", lambda device: 2e9)
    record, _ = experiment.run(plan())
    last = record["rows"][-1]
    assert last["flops_per_second"] == pytest.approx(82_000 * last["throughput"])
    assert last["machine_fraction"] == pytest.approx(last["flops_per_second"] / 2e9)
    assert record["rows"][0]["machine_fraction"] is None


def test_a_lower_precision_is_a_protocol_of_its_own_and_close_to_float32(plan):
    exact, rounded = (plan(precision=precision) for precision in ("float32", "bfloat16"))
    assert exact.protocol_id != rounded.protocol_id
    one, other = (experiment.run(case)[0] for case in (exact, rounded))
    assert (one["common"]["precision"], other["common"]["precision"]) == ("float32", "bfloat16")
    first, second = (record["rows"] for record in (one, other))
    assert first[0]["elbo"] == second[0]["elbo"]  # the evaluator's products are float32 whatever training's are
    assert 0 < abs(first[-1]["elbo"] - second[-1]["elbo"]) < 0.5


def test_variants_of_one_seed_start_from_equal_weights_and_see_equal_noise(plan):
    first = {v.name: experiment.run(plan(v))[0]["rows"][0] for v in VARIANTS}
    elbo_variants = [v for v in VARIANTS if "elbo" in first[v.name]]
    assert len({first[v.name]["elbo"] for v in elbo_variants}) == 1
    same = [v for v in elbo_variants if v.estimator.name == "pathwise" and v.draws == 1 and v.objective.name in CLOSED]
    variances = [first[v.name]["gradient_variance"] for v in same]
    assert variances == pytest.approx([variances[0]] * len(variances), rel=1e-5)  # they round differently


def test_divergence_is_a_result_with_the_rows_up_to_it(plan):
    record, arrays = experiment.run(plan(learning_rate=1e30))
    assert record["status"] == "diverged"
    assert [row["status"] for row in record["rows"]] == ["ok", "diverged"]
    assert "elbo" not in record["rows"][-1]
    assert "not finite" in record["error"]
    assert not arrays


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("boom\nat line 3"), "failed"), (MemoryError("no room"), "out-of-memory"),
     (torch.OutOfMemoryError("no room"), "out-of-memory")],
)  # fmt: skip
def test_an_error_is_recorded_and_what_was_measured_kept(plan, monkeypatch, error, status):
    real, calls = experiment.evaluate, []

    def evaluate(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return real(*arguments)

    monkeypatch.setattr(experiment, "evaluate", evaluate)
    record, _ = experiment.run(plan())
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
        record, arrays = experiment.run(plan(**settings))
        assert record["status"] == "ok", record["log"]
        assert bool(arrays) == ("dataset" not in settings)


def test_a_case_is_strings_and_numbers(plan):
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for v in value.values() for leaf in leaves(v)]
        return [leaf for v in value for leaf in leaves(v)] if isinstance(value, (list, tuple)) else [value]

    assert {type(leaf) for leaf in leaves(dataclasses.asdict(plan()))} <= {str, int, float}
