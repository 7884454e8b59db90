"""The contract: every registered variant is held to it, and a new one is by being listed."""

import pytest
import torch
from torch.func import functional_call, grad, vmap

from vaezoo import VARIANTS, DataSpec, estimate, initialise
from vaezoo.estimators import Estimator

SPEC = DataSpec((3, 3), "bernoulli", (6,))


@pytest.fixture(params=VARIANTS, ids=lambda v: v.name)
def v(request):
    return request.param


@pytest.fixture
def model(v, tools):
    built = v.architecture(SPEC, 2).double()
    initialise(built, lambda name: tools.generator(3))
    return built


@pytest.fixture
def x(tools):
    return (tools.normal(5, 3, 3, seed=4) > 0).double()


@pytest.fixture
def noise(v, tools):
    return tools.normal(v.draws, 5, 2, seed=5)


def test_the_estimate_is_finite_and_one_value_an_example(v, model, x, noise):
    value = estimate(v, model, x, noise)
    assert value.shape == (5,)
    assert value.isfinite().all()


def test_the_value_is_the_objective(v, model, x, noise):
    q = model.encoder(x)
    log_w = v.objective.log_weight(model, x, q.rsample(noise), q)
    expected = v.objective.reduction.value(log_w) + v.objective.exact(model, q)
    torch.testing.assert_close(estimate(v, model, x, noise), expected, rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter(v, model, x, noise):
    estimate(v, model, x, noise).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_examples_do_not_see_each_other(v, model, x, noise):
    together = estimate(v, model, x, noise)
    apart = torch.cat([estimate(v, model, x[i : i + 1], noise[:, i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


def test_vmap_over_noise_is_the_loop(v, model, x, tools):
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    noise = tools.normal(3, v.draws, 5, 2, seed=6)

    def mean(parameters, noise):
        return functional_call(model, parameters, (lambda m, x, n: estimate(v, m, x, n), x, noise)).mean()

    together = vmap(grad(mean), (None, 0))(parameters, noise)
    for r in range(3):
        model.zero_grad()
        estimate(v, model, x, noise[r]).mean().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(together[name][r], parameter.grad, rtol=1e-10, atol=1e-12)


def test_equal_noise_gives_equal_bits(v, model, x, noise):
    assert torch.equal(estimate(v, model, x, noise), estimate(v, model, x, noise))


def test_what_variants_share_starts_equal(v, model, tools):
    for other in VARIANTS:
        built = other.architecture(SPEC, 2).double()
        initialise(built, lambda name: tools.generator(3))
        mine = dict(model.named_parameters())
        for name, parameter in built.named_parameters():
            if name in mine:
                assert torch.equal(parameter, mine[name]), name


def test_it_declares_a_source_and_an_estimator(v):
    assert v.source
    assert isinstance(v.estimator, Estimator)


def test_names_are_unique():
    names = [v.name for v in VARIANTS]
    assert len(set(names)) == len(names)


def test_initialisation_is_torchs_for_linear_layers(tools):
    model = VARIANTS[1].architecture(DataSpec((28, 28), "bernoulli"), 20)
    initialise(model, lambda name: tools.generator(hash(name) % 1000))
    weight = model.encoder.trunk[0].weight
    assert weight.abs().max() <= 784**-0.5
    assert abs(weight.mean()) < 5 * weight.std() / weight.numel() ** 0.5
    assert weight.var().item() == pytest.approx(1 / (3 * 784), rel=0.02)
