"""The compiled step: the same function as the plain one, chosen by a rule, made once."""

import dataclasses
import math

import pytest
import torch
from torch.func import functional_call, grad, vmap

from benchmarks import adam, compiling, data, machine_code, places, planning, plugins, settings, training
from benchmarks.data import Thresholds
from benchmarks.executors.events import Limits
from benchmarks.seeds import generator
from benchmarks.step import step
from vaezoo import VARIANTS, DataSpec, build, estimate, initialise, parts, started

BATCH, LATENTS = 20, 5


def prepared(variant):
    """A small model, its optimizer, its moving average, and a way to draw minibatches and noise."""
    model = build(variant, DataSpec((8, 8), "bernoulli", (16,)), LATENTS)
    initialise(model, lambda name: generator(0, f"init/{name}"))
    source = torch.Generator().manual_seed(1)

    def drawn():
        x = (torch.rand(BATCH, 8, 8, generator=source) < 0.3).float()
        return x, torch.randn(variant.draws, BATCH, LATENTS, generator=source)

    average = started(variant, model, *drawn())
    return model, adam.started(model.parameters(), 1e-3), average, drawn


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_the_traced_step_is_the_plain_one_with_stock_adam(variant):
    """Gradients within 1e-5 and, after 20 steps on equal noise, parameters within 1e-4, relative."""
    model, optimizer, average, drawn = prepared(variant)
    graph, _ = machine_code.traced(variant, model, *drawn(), "float32")
    reference, _, mean, again = prepared(variant)
    again()
    stock = torch.optim.Adam(reference.parameters(), lr=1e-3)
    for number in range(20):
        x, noise = drawn()
        loss = graph([t.detach() for t in optimizer.tensors], average, x, noise)
        stochastic, exact = parts(variant, reference, *again(), mean)
        expected = -(stochastic + exact).mean()
        stock.zero_grad()
        expected.backward()
        stock.step()
        mean = variant.estimator.baseline.updated(mean, stochastic)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        assert average.item() == pytest.approx(mean.item(), rel=1e-5)
        if number == 0:  # the first mean of Adam is a tenth of the gradient
            for m, p in zip(optimizer.means, reference.parameters(), strict=True):
                wanted = torch.zeros_like(m) if p.grad is None else 0.1 * p.grad
                assert (m - wanted).norm() <= 1e-5 * wanted.norm()
    for p, q in zip(optimizer.parameters, reference.parameters(), strict=True):
        assert (p - q).norm() <= 1e-4 * q.norm()


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.name)
def test_the_traced_gradient_is_the_mean_of_single_examples_gradients(variant):
    """Of `vmap(grad(loss))`, an example at a time, in float64. Adam's first mean is a tenth of it."""
    model, _, average, drawn = prepared(variant)
    optimizer, average = adam.started(model.double().parameters(), 1e-3), average.double()
    x, noise = (t.double() for t in drawn())
    graph, _ = machine_code.traced(variant, model, x, noise, "float32")
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss(parameters, x, noise):
        value = functional_call(model, parameters, (of_variant, x[None], noise[:, None]))
        return -value[0]

    def of_variant(model, x, noise):
        return estimate(variant, model, x, noise, average)

    single = vmap(grad(loss), (None, 0, 1))(parameters, x, noise)
    graph([t.detach() for t in optimizer.tensors], average.clone(), x, noise)
    found = torch.cat([m.flatten() for m in optimizer.means]) * 10
    expected = torch.cat([single[name].mean(0).flatten() for name in parameters])
    assert (found - expected).norm() <= 1e-12 * expected.norm()


def case(monkeypatch, tmp_path, name="vae", **changes):
    protocol = planning.resolve(settings.load("quick", {"epochs": 2}))
    protocol = dataclasses.replace(protocol, **changes)
    entry = plugins.registry()[name]
    ready = data.prepare(protocol.dataset, places.data_root())
    monkeypatch.setattr(places, "cache_root", lambda: tmp_path)
    compiling._artefact.cache_clear()
    return planning.plan([entry], protocol, [0], ready)[0]


def test_the_rule_compiles_long_training_and_no_short_one():
    def saved(preset, **changes):
        protocol = planning.resolve(settings.load(preset, changes))
        return [compiling.saves(v, protocol, {"mnist5k": 3500, "digits": 1300}[protocol.dataset]) for v in VARIANTS]

    assert min(saved("default")) > compiling.PAYS
    assert max(saved("default", epochs=2)) < compiling.PAYS
    assert saved("quick")[1] < compiling.PAYS


def test_without_a_compiler_or_on_a_device_nothing_is_compiled(monkeypatch, tmp_path):
    long = case(monkeypatch, tmp_path, epochs=1000)
    monkeypatch.setattr(compiling, "compiler", lambda: "/usr/bin/env")
    assert compiling.artefact(long) is not None
    assert (
        compiling.artefact(dataclasses.replace(long, protocol=dataclasses.replace(long.protocol, device="cuda")))
        is None
    )
    monkeypatch.setattr(compiling, "compiler", lambda: None)
    assert compiling.artefact(long) is None


def test_an_architecture_that_fails_is_left_to_its_cell(monkeypatch, tmp_path):
    def broken(spec, latent_dim):
        raise ZeroDivisionError

    entry = plugins.registry()["vae"]
    entry = dataclasses.replace(entry, variant=dataclasses.replace(entry.variant, architecture=broken))
    monkeypatch.setattr(plugins, "find", lambda *_: entry)
    assert compiling.artefact(case(monkeypatch, tmp_path, epochs=1000)) is None


def test_what_decides_the_machine_code_decides_its_name(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "compiler", lambda: "/usr/bin/env")
    one = compiling.artefact(case(monkeypatch, tmp_path, epochs=1000))
    same = compiling.artefact(case(monkeypatch, tmp_path, epochs=2000, learning_rate=0.1))
    others = [
        compiling.artefact(case(monkeypatch, tmp_path, epochs=1000, **{name: value}))
        for name, value in (
            ("batch_size", 20),
            ("latent_dim", 3),
            ("likelihood", "gaussian"),
            ("precision", "bfloat16"),
            ("threads", 2),
        )
    ]
    assert one == same
    assert len({one, *others}) == 6
    monkeypatch.setattr(compiling, "code", lambda patterns: "other code")
    assert compiling.artefact(case(monkeypatch, tmp_path, epochs=1000)) != one


@pytest.mark.skipif(compiling.compiler() is None, reason="there is no C++ compiler")
def test_machine_code_does_what_the_plain_step_does_and_is_made_once(monkeypatch, tmp_path, capfd):
    """20 steps of the compiled one, the same bits when it is loaded again, and near the plain ones."""
    long = case(monkeypatch, tmp_path, "reinforce-vae-nvil", epochs=2000)
    made = []

    def killed(work, cases, folder, workers):
        made.extend(cases)
        yield from ()

    monkeypatch.setattr(training, "processes", killed)
    assert training.prepare([long, dataclasses.replace(long, seed=1)], 1, Limits())[0].step == ""
    assert len(made) == 1
    assert "reinforce-vae-nvil trains uncompiled: its compilation failed" in capfd.readouterr().err
    path = compiling.artefact(long)
    path.parent.mkdir(parents=True)
    machine_code.compile_to(path, compiling._program(long))
    assert training.prepare([long], 1, Limits())[0].step == str(path)
    assert len(made) == 1
    variant, spec = planning.entry(long).variant, planning.spec(long.protocol)
    ends = []
    for loaded in (True, True, False):
        model = build(variant, spec, long.protocol.latent_dim)
        initialise(model, lambda name: generator(0, f"init/{name}"))
        source = torch.Generator().manual_seed(1)

        def drawn(source=source):
            x = (torch.rand(50, 8, 8, generator=source) < 0.3).float()
            return x, torch.randn(variant.draws, 50, long.protocol.latent_dim, generator=source)

        optimizer, average = adam.started(model.parameters(), 1e-3), started(variant, model, *drawn())
        run = machine_code.load(str(path), optimizer, average)
        for _ in range(20):
            run(*drawn()) if loaded else step(variant, model, optimizer, average, "float32", *drawn())
        ends.append([*(p.detach().clone() for p in model.parameters()), average])
    assert all(torch.equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    for a, b in zip(ends[0], ends[2], strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()

    held = (variant, model, average, "float32", *drawn())
    machine_code.check(str(path), *held)
    model.encoder.trunk[1] = torch.nn.Tanh()  # as where a module that a plug-in imports was edited
    with pytest.raises(RuntimeError, match=r"another gradient than the plain one; delete .*\.pt2"):
        machine_code.check(str(path), *held)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RuntimeError, match=r"can't be used: .*; delete .*\.pt2"):
        machine_code.check(str(path), *held)


def test_a_model_with_buffers_is_not_compiled():
    """The graph would hold their values as they were in the compiler's process."""
    model, _, _, drawn = prepared(VARIANTS[1])
    model.encoder.register_buffer("offset", torch.randn(5))
    with pytest.raises(TypeError, match=r"buffers \(encoder\.offset\)"):
        machine_code.exported(VARIANTS[1], model, *drawn(), "float32")


def test_a_step_that_cannot_be_compiled_says_why_and_is_not_tried_again(monkeypatch, tmp_path, capfd):
    long = case(monkeypatch, tmp_path, epochs=2000)
    monkeypatch.setattr(compiling, "compiler", lambda: "/usr/bin/env")
    path = compiling.artefact(long)
    path.parent.mkdir(parents=True)
    path.with_suffix(".refused").write_text("RuntimeError: a branch on numbers")
    monkeypatch.setattr(training, "processes", None)
    (kept,) = training.prepare([long], 1, Limits())
    assert "vae trains uncompiled: RuntimeError: a branch on numbers" in capfd.readouterr().err
    assert kept.step == ""


def test_binary_pixels_have_the_right_probabilities_and_are_independent():
    """Every grey level, in standard errors; black and white exactly; neighbours share a random number, not its bits."""
    levels = torch.arange(256).float() / 255
    images, count = levels.repeat(4, 1), 20_000
    thresholds, source = Thresholds(images, 4), torch.Generator().manual_seed(0)
    rows = torch.arange(4)
    drawn = torch.cat([thresholds.draw(rows, source) for _ in range(count // 4)])
    mean = drawn.mean(0)
    assert mean[0] == 0
    assert mean[255] == 1
    error = (levels * (1 - levels) / count).sqrt()[1:255]
    assert ((mean - levels)[1:255].abs() < 5 * error + 2**-16).all()
    centred = (drawn - levels)[:, 1:255] / (levels * (1 - levels)).sqrt()[1:255]
    for lag in (1, 2, 3, 4, 5):
        products = (centred[:, lag:] * centred[:, :-lag]).double().mean(1)
        assert abs(products.mean() / products.std() * math.sqrt(len(products))) < 5


def test_a_minibatch_that_fills_no_whole_words_has_its_shape():
    images = torch.full((5, 3, 3), 1.0)
    assert torch.equal(Thresholds(images, 3).draw(torch.tensor([0, 4, 2]), torch.Generator()), torch.ones(3, 3, 3))
