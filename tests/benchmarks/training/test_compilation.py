"""The compiled training step: it equals the eager one, is compiled by a rule, and once."""

import dataclasses
import math

import pytest
import torch
from torch.func import functional_call, grad, vmap

from benchmarks.common import cache_paths
from benchmarks.common.machine import compiler
from benchmarks.execution.interface import Limits
from benchmarks.planning import model_specs, planner, registry, settings
from benchmarks.planning.data.tensors import Binarizer
from benchmarks.planning.random_streams import make_generator
from benchmarks.training import compilation, step, task
from benchmarks.training.step import take_step
from vaezoo import VARIANTS, DataSpec, build, estimate, estimate_parts, initial_average, initialise

BATCH, LATENTS = 20, 10
DONE = torch.ones(1)  # the share of training


def make_training(variant, dtype=torch.float64):
    """A small model, its optimizer, its moving average, and a function that draws a minibatch and its noise."""
    model = build(variant, DataSpec((8, 8), "bernoulli", (16,)), LATENTS)
    initialise(model, lambda name: make_generator(0, f"init/{name}"))
    source = torch.Generator().manual_seed(1)

    def draw():
        x = (torch.rand(BATCH, 8, 8, generator=source) < 0.3).to(dtype)
        return x, torch.randn(variant.draws, BATCH, LATENTS, generator=source, dtype=dtype)

    average = initial_average(variant, model.to(dtype), *draw())
    return model, step.initial_optimizer(model.parameters(), 1e-3), average, draw


def mean_of_single_gradients(variant, model, average, x, noise):
    """The gradient of the loss by `vmap(grad(loss))`, which takes the examples one by one."""
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss(parameters, x, noise):
        value = functional_call(model, parameters, (estimate_objective, x[None], noise[:, None]))
        return -value[0]

    def estimate_objective(model, x, noise):
        return estimate(variant, model, x, noise, average)

    single = vmap(grad(loss), (None, 0, 1))(parameters, x, noise)
    return torch.cat([single[name].mean(0).flatten() for name in parameters])


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_the_traced_step_is_adam_on_the_mean_of_the_gradients_of_single_examples(variant):
    """In float64: the gradient within 1e-12, losses and parameters of 20 steps within 1e-9, relative."""
    compare_traced_steps(variant, torch.float64, 1e-12, 1e-9, 1e-9)


@pytest.mark.parametrize("name", ["vae", "reinforce-vae-ema", "iwae-dreg", "bernoulli-rebar", "categorical-st-gumbel"])
def test_the_traced_step_is_right_in_float32(name):
    """The gradient and losses within 1e-5, parameters of 20 steps within 1e-4, relative."""
    compare_traced_steps({v.name: v for v in VARIANTS}[name], torch.float32, 1e-5, 1e-5, 1e-4)


def compare_traced_steps(variant, dtype, gradient_tolerance, loss_tolerance, parameter_tolerance):
    """Compare with `torch.optim.Adam` and, at the first step, with `mean_of_single_gradients`."""
    model, optimizer, average, draw = make_training(variant, dtype)
    graph, _ = compilation.trace_step(variant, model, *draw(), DONE, "float32")
    reference, _, mean, draw_again = make_training(variant, dtype)
    draw_again()
    adam = torch.optim.Adam(reference.parameters(), lr=1e-3)
    for number in range(20):
        x, noise = draw_again()
        if number == 0:
            gradient = mean_of_single_gradients(variant, reference, mean, x, noise)
        loss = graph([t.detach() for t in optimizer.tensors], average, *draw(), DONE)
        stochastic, exact = estimate_parts(variant, reference, x, noise, mean)
        expected = -(stochastic + exact).mean()
        adam.zero_grad()
        expected.backward()
        adam.step()
        mean = variant.estimator.update_average(mean, stochastic).detach()
        assert loss.item() == pytest.approx(expected.item(), rel=loss_tolerance)
        assert average.item() == pytest.approx(mean.item(), rel=loss_tolerance)
        if number == 0:  # the first mean of Adam is a tenth of the gradient
            traced = torch.cat([m.flatten() for m in optimizer.means]) * 10
            assert (traced - gradient).norm() <= gradient_tolerance * gradient.norm()
    for p, q in zip(optimizer.parameters, reference.parameters(), strict=True):
        assert (p - q).norm() <= parameter_tolerance * q.norm()


def plan_case(monkeypatch, tmp_path, name="vae", **changes):
    protocol, prepared = planner.prepare(settings.load_settings("quick", {"epochs": 2}))
    protocol = dataclasses.replace(protocol, **changes)
    entry = registry.load_registry()[name]
    monkeypatch.setattr(cache_paths, "cache_root", lambda: tmp_path)
    # another process would not see the patches of this one
    monkeypatch.setattr(task.isolated_call, "call_within_limits", lambda limits, function, *args: function(*args))
    return planner.plan_cells([entry], protocol, [0], prepared)[0]


def test_only_steps_of_long_training_are_compiled():
    def saved_seconds(preset, **changes):
        protocol, prepared = planner.prepare(settings.load_settings(preset, changes))
        spec, examples = model_specs.make_spec(protocol, prepared.facts), {"mnist5k": 3500, "digits": 1300}
        return [compilation.estimate_saved_seconds(v, spec, protocol, examples[protocol.dataset]) for v in VARIANTS]

    default = dict(zip([v.name for v in VARIANTS], saved_seconds("default"), strict=True))
    assert default["vae-2"] > 1.1 * default["vae"]  # each draw is another pass of the decoder
    assert min(saved_seconds("default")) > compilation.MIN_SAVED_SECONDS
    assert max(saved_seconds("default", epochs=2)) < compilation.MIN_SAVED_SECONDS
    assert saved_seconds("quick")[1] < compilation.MIN_SAVED_SECONDS


def test_nothing_is_compiled_without_a_compiler_or_for_a_gpu(monkeypatch, tmp_path, capfd):
    long = plan_case(monkeypatch, tmp_path, epochs=1000)
    monkeypatch.setenv("CXX", "env")
    assert compilation.choose_step_path(long) is not None
    on_gpu = dataclasses.replace(long, protocol=dataclasses.replace(long.protocol, device="cuda"))
    assert compilation.choose_step_path(on_gpu) is None
    monkeypatch.setenv("CXX", "none")
    assert compilation.choose_step_path(long) is None
    monkeypatch.setenv("CXX", "missing-compiler")
    (prepared,) = task.prepare_cells([long], 1, Limits())
    assert prepared.step == ""
    assert "the C++ compiler missing-compiler is not there, so 1 variants train uncompiled" in capfd.readouterr().err


def test_a_variant_whose_architecture_fails_is_not_compiled(monkeypatch, tmp_path):
    def broken(spec, latent_dim):
        raise ZeroDivisionError

    entry = registry.load_registry()["vae"]
    entry = dataclasses.replace(entry, variant=dataclasses.replace(entry.variant, architecture=broken))
    monkeypatch.setattr(registry, "find_variant", lambda *_: entry)
    assert compilation.choose_step_path(plan_case(monkeypatch, tmp_path, epochs=1000)) is None


def test_the_file_name_depends_on_everything_that_the_step_depends_on(monkeypatch, tmp_path):
    monkeypatch.setattr(compiler, "find_compiler", lambda: "/usr/bin/env")
    path = compilation.choose_step_path(plan_case(monkeypatch, tmp_path, epochs=1000))
    same = compilation.choose_step_path(plan_case(monkeypatch, tmp_path, epochs=2000, learning_rate=0.1))
    others = [
        compilation.choose_step_path(plan_case(monkeypatch, tmp_path, epochs=1000, **{name: value}))
        for name, value in (
            ("batch_size", 20),
            ("latent_dim", 3),
            ("likelihood", "gaussian"),
            ("precision", "bfloat16"),
            ("threads", 2),
        )
    ]
    assert path == same
    assert len({path, *others}) == 6
    monkeypatch.setattr(compilation, "hash_modules", lambda *modules: "other code")
    assert compilation.choose_step_path(plan_case(monkeypatch, tmp_path, epochs=1000)) != path


@pytest.mark.skipif(compiler.find_compiler() is None, reason="needs a C++ compiler")
def test_the_compiled_step_equals_the_eager_one_and_is_compiled_once(monkeypatch, tmp_path, capfd):
    """20 compiled steps have the same bits when they are loaded again, and are close to 20 eager steps."""
    long = plan_case(monkeypatch, tmp_path, "reinforce-vae-nvil", epochs=2000)
    compiled_cases = []

    def fail_to_compile(function, cases, folder, slots):
        compiled_cases.extend(cases)
        yield from ()

    monkeypatch.setattr(task, "run_processes", fail_to_compile)
    assert task.prepare_cells([long, dataclasses.replace(long, seed=1)], 1, Limits())[0].step == ""
    assert len(compiled_cases) == 1
    assert "reinforce-vae-nvil trains uncompiled: compilation failed" in capfd.readouterr().err
    path = compilation.choose_step_path(long)
    path.parent.mkdir(parents=True)
    compilation.compile_program(path, compilation.export_step(long))
    assert task.prepare_cells([long], 1, Limits())[0].step == str(path)
    assert len(compiled_cases) == 1
    variant, spec = planner.find_registered(long).variant, model_specs.read_spec(long)
    final_tensors = []
    for compiled in (True, True, False):
        model = build(variant, spec, long.protocol.latent_dim)
        initialise(model, lambda name: make_generator(0, f"init/{name}"))
        source = torch.Generator().manual_seed(1)

        def draw(source=source):
            x = (torch.rand(50, 8, 8, generator=source) < 0.3).float()
            return x, torch.randn(variant.draws, 50, long.protocol.latent_dim, generator=source)

        optimizer, average = step.initial_optimizer(model.parameters(), 1e-3), initial_average(variant, model, *draw())
        run = compilation.load_step(str(path), optimizer, average)
        for _ in range(20):
            run(*draw(), DONE) if compiled else take_step(variant, model, optimizer, average, "float32", *draw(), DONE)
        final_tensors.append([*(p.detach().clone() for p in model.parameters()), average])
    assert all(torch.equal(a, b) for a, b in zip(final_tensors[0], final_tensors[1], strict=True))
    for a, b in zip(final_tensors[0], final_tensors[2], strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()

    arguments = (variant, model, average, "float32", *draw(), DONE)
    compilation.check_step(str(path), *arguments)
    model.encoder.trunk[1] = torch.nn.Tanh()  # as if a module that a plug-in imports had been edited
    with pytest.raises(
        RuntimeError, match=r"\.pt2 differs from that of the uncompiled step by .*, more than 0\.001; delete"
    ):
        compilation.check_step(str(path), *arguments)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RuntimeError, match=r"\.pt2 cannot run: .*; delete that file"):
        compilation.check_step(str(path), *arguments)


def test_a_model_with_buffers_is_not_compiled():
    """The graph would contain the values of its buffers as constants."""
    model, _, _, draw = make_training(VARIANTS[1])
    model.encoder.register_buffer("offset", torch.randn(5))
    with pytest.raises(TypeError, match=r"buffers \(encoder\.offset\)"):
        compilation.trace_step(VARIANTS[1], model, *draw(), DONE, "float32")


def test_a_step_that_cannot_be_compiled_is_reported_and_not_tried_again(monkeypatch, tmp_path, capfd):
    long = plan_case(monkeypatch, tmp_path, epochs=2000)
    monkeypatch.setattr(compiler, "find_compiler", lambda: "/usr/bin/env")
    path = compilation.choose_step_path(long)
    path.parent.mkdir(parents=True)
    path.with_suffix(".refused").write_text("RuntimeError: a branch on numbers")
    monkeypatch.setattr(task, "run_processes", None)
    (prepared,) = task.prepare_cells([long], 1, Limits())
    assert "vae trains uncompiled: RuntimeError: a branch on numbers" in capfd.readouterr().err
    assert prepared.step == ""


def test_binary_pixels_have_the_right_probabilities_and_are_independent():
    """Grey levels within 5 standard errors, black and white exactly; neighbours share a random number, but no bits."""
    levels = torch.arange(256).float() / 255
    images, count = levels.repeat(4, 1), 20_000
    binarizer, source = Binarizer(images, 4), torch.Generator().manual_seed(0)
    rows = torch.arange(4)
    pixels = torch.cat([binarizer.draw(rows, source) for _ in range(count // 4)])
    mean = pixels.mean(0)
    assert mean[0] == 0
    assert mean[255] == 1
    error = (levels * (1 - levels) / count).sqrt()[1:255]
    assert ((mean - levels)[1:255].abs() < 5 * error + 2**-16).all()
    centred = (pixels - levels)[:, 1:255] / (levels * (1 - levels)).sqrt()[1:255]
    for lag in (1, 2, 3, 4, 5):
        products = (centred[:, lag:] * centred[:, :-lag]).double().mean(1)
        assert abs(products.mean() / products.std() * math.sqrt(len(products))) < 5


def test_a_minibatch_that_does_not_fill_whole_words_has_its_shape():
    images = torch.full((5, 3, 3), 1.0)
    assert torch.equal(Binarizer(images, 3).draw(torch.tensor([0, 4, 2]), torch.Generator()), torch.ones(3, 3, 3))
