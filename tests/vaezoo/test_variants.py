"""The contract: every registered variant is held to it, and a new one is by being listed."""

import hashlib

import pytest
import torch
from torch.func import functional_call, grad, vmap

import vaezoo
from vaezoo import VARIANTS, DataSpec, build, initialise
from vaezoo.estimators import Estimator

AVERAGE = torch.tensor(-3.0, dtype=torch.float64)


def estimate(v):
    """The variant's estimate with some moving average, as a function of (model, x, noise)."""
    return lambda model, x, noise: vaezoo.estimate(v, model, x, noise, AVERAGE)


SPEC = DataSpec((3, 3), "bernoulli", (6,))


@pytest.fixture(params=VARIANTS, ids=lambda v: v.name)
def v(request):
    return request.param


@pytest.fixture
def model(v, tools):
    built = build(v, SPEC, 2).double()
    initialise(built, lambda name: tools.generator(3))
    return built


@pytest.fixture
def x(tools):
    return (tools.normal(5, 3, 3, seed=4) > 0).double()


@pytest.fixture
def noise(v, tools):
    return tools.normal(v.draws, 5, 2, seed=5)


def test_the_estimate_is_finite_and_one_value_an_example(v, model, x, noise):
    value = estimate(v)(model, x, noise)
    assert value.shape == (5,)
    assert value.isfinite().all()


def test_the_value_is_the_objective(v, model, x, noise):
    q = model.encoder(x)
    log_w = v.objective.log_weight(model, x, q.rsample(noise), q)
    expected = v.objective.reduction.value(log_w) + v.objective.exact(model, q)
    torch.testing.assert_close(estimate(v)(model, x, noise), expected, rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_parameter(v, model, x, noise):
    estimate(v)(model, x, noise).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_examples_do_not_see_each_other(v, model, x, noise):
    together = estimate(v)(model, x, noise)
    apart = torch.cat([estimate(v)(model, x[i : i + 1], noise[:, i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, apart, rtol=1e-12, atol=1e-12)


def test_vmap_over_noise_is_the_loop(v, model, x, tools):
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    noise = tools.normal(3, v.draws, 5, 2, seed=6)

    def mean(parameters, noise):
        return functional_call(model, parameters, (estimate(v), x, noise)).mean()

    together = vmap(grad(mean), (None, 0))(parameters, noise)
    for r in range(3):
        model.zero_grad()
        estimate(v)(model, x, noise[r]).mean().backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(together[name][r], parameter.grad, rtol=1e-10, atol=1e-12)


def test_equal_noise_gives_equal_bits(v, model, x, noise):
    assert torch.equal(estimate(v)(model, x, noise), estimate(v)(model, x, noise))


def by_name(name):
    """A generator for each parameter's name."""
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))


def test_what_variants_share_starts_equal(v):
    model = v.architecture(SPEC, 2)
    initialise(model, by_name)
    mine = dict(model.named_parameters())
    for other in VARIANTS:
        built = other.architecture(SPEC, 2)
        initialise(built, by_name)
        shared = {name: p for name, p in built.named_parameters() if name in mine}
        assert {"encoder.trunk.0.weight", "encoder.heads.mean.bias", "decoder.network.2.weight"} <= shared.keys()
        for name, parameter in shared.items():
            assert torch.equal(parameter, mine[name]), name


def test_each_parameter_is_drawn_from_its_own_name():
    model = VARIANTS[1].architecture(SPEC, 2)
    initialise(model, by_name)
    assert not torch.equal(model.encoder.heads["mean"].weight, model.encoder.heads["log_scale"].weight)
    bound = 9**-0.5
    expected = (2 * torch.rand(6, 9, generator=by_name("encoder.trunk.0.weight")) - 1) * bound
    assert torch.equal(model.encoder.trunk[0].weight, expected)


EXACT_KL = {"elbo": 1.0, "elbo_mc": 1.0, "beta_elbo(4)": 4.0}


@pytest.mark.parametrize("v", [v for v in VARIANTS if v.objective.name in EXACT_KL], ids=lambda v: v.name)
def test_the_declared_bias_is_the_measured_one(v, tools):
    """On the linear-Gaussian model, whose gradient is known: encoder and decoder apart."""
    model, x = tools.build(v.architecture), tools.normal(4, 3)
    q = model.encoder(x)
    objective = tools.oracle_of(model).expected_log_px(x, q) - EXACT_KL[v.objective.name] * model.prior.kl(q)
    exact = tools.flat_gradient(model, objective.mean())
    found = tools.gradient_draws(model, tools.of_variant(v), x, tools.normal(20_000, v.draws, 4, 2, seed=3))
    assert (tools.worst_z(found["encoder"], exact["encoder"]) < 5) == v.unbiased
    assert tools.worst_z(found["decoder"], exact["decoder"]) < 5


def test_it_declares_a_source_and_an_estimator(v):
    assert v.source
    assert isinstance(v.estimator, Estimator)


def test_names_are_unique():
    names = [v.name for v in VARIANTS]
    assert len(set(names)) == len(names)


def test_initialisation_is_torchs_for_linear_layers():
    model = VARIANTS[1].architecture(DataSpec((28, 28), "bernoulli"), 20)
    initialise(model, by_name)
    weight = model.encoder.trunk[0].weight
    assert weight.abs().max() <= 784**-0.5
    assert abs(weight.mean()) < 5 * weight.std() / weight.numel() ** 0.5
    assert weight.var().item() == pytest.approx(1 / (3 * 784), rel=0.02)
