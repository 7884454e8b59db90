"""Every likelihood against numerical integration or torch.distributions."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch.distributions import Bernoulli, ContinuousBernoulli, Normal

from tests.vaezoo.testing.right_variants import OtherBernoulli
from vaezoo.distributions.likelihoods import LIKELIHOODS, Gaussian, likelihood_name

OUTPUTS = [-30.0, -3.0, -0.51, -0.49, -1e-3, 0.0, 1e-3, 0.49, 0.51, 2.0, 30.0]


def log_density(name, x, output):
    likelihood = LIKELIHOODS[name](1).double()
    return likelihood.log_prob(
        torch.tensor([[x]], dtype=torch.float64), torch.tensor([[[output]]], dtype=torch.float64)
    ).item()


def test_names_are_those_of_the_registry_and_of_other_scales_and_classes():
    assert {name: likelihood_name(make(7)) for name, make in LIKELIHOODS.items()} == {
        name: name for name in LIKELIHOODS
    }
    assert likelihood_name(Gaussian(0.3)) == "gaussian(0.3)"
    assert likelihood_name(OtherBernoulli()) == "OtherBernoulli"


def test_bernoulli_equals_that_of_torch(tools):
    x, output = (tools.normal(5, 7) > 0).double(), 3 * tools.normal(4, 5, 7, seed=1)
    expected = Bernoulli(logits=output).log_prob(x).sum(-1)
    actual = LIKELIHOODS["bernoulli"](7).log_prob(x, output)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 20.0, 1e5])
def test_bernoulli_of_well_predicted_pixels_keeps_its_precision(scale, tools):
    """In float32, for 784 pixels that the logits predict: no cancellation between the terms."""
    logits = tools.normal(100, 784).mul(scale)
    x = (logits > 0).double()
    exact = Bernoulli(logits=logits).log_prob(x).sum(-1)
    actual = LIKELIHOODS["bernoulli"](7).log_prob(x.float(), logits.float()[None])[0]
    assert ((actual - exact).abs() <= 1e-4).all()


@pytest.mark.parametrize("logit", [-200.0, -1.0, 0.0, 0.5, 200.0])
@pytest.mark.parametrize("x", [0.0, 1.0])
def test_bernoulli_has_the_right_gradient_everywhere(x, logit):
    output = torch.tensor([[[logit]]], dtype=torch.float64, requires_grad=True)
    value = LIKELIHOODS["bernoulli"](7).log_prob(torch.tensor([[x]], dtype=torch.float64), output).sum()
    (actual,) = torch.autograd.grad(value, output)
    assert math.isfinite(value.item())
    assert actual.item() == pytest.approx(x - 1 / (1 + math.exp(-logit)), abs=1e-14)


def test_bernoulli_has_the_right_gradient_in_the_pixels(tools):
    x, output = (tools.normal(5, 7) > 0).double().requires_grad_(), tools.normal(4, 5, 7, seed=1)
    (actual,) = torch.autograd.grad(LIKELIHOODS["bernoulli"](7).log_prob(x, output).sum(), x)
    torch.testing.assert_close(actual, output.sum(0))


@pytest.mark.parametrize("output", OUTPUTS)
def test_continuous_bernoulli_integrates_to_one_and_has_its_mean(output):
    mass, _ = quad(lambda x: math.exp(log_density("continuous-bernoulli", x, output)), 0, 1, epsabs=1e-13)
    mean, _ = quad(lambda x: x * math.exp(log_density("continuous-bernoulli", x, output)), 0, 1, epsabs=1e-13)
    actual = LIKELIHOODS["continuous-bernoulli"](1).mean(torch.tensor([[[output]]], dtype=torch.float64))
    assert mass == pytest.approx(1, abs=1e-9)
    assert actual.item() == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("output", OUTPUTS)
def test_continuous_bernoulli_has_the_gradient_x_minus_mean(output):
    logit = torch.tensor([[[output]]], dtype=torch.float64, requires_grad=True)
    likelihood = LIKELIHOODS["continuous-bernoulli"](1)
    (actual,) = torch.autograd.grad(likelihood.log_prob(torch.tensor([[0.3]], dtype=torch.float64), logit).sum(), logit)
    assert actual.item() == pytest.approx(0.3 - likelihood.mean(logit.detach()).item(), abs=1e-7)


def test_continuous_bernoulli_equals_that_of_torch(tools):
    x, output = tools.normal(5, 7).sigmoid(), 3 * tools.normal(4, 5, 7, seed=1)
    expected = ContinuousBernoulli(logits=output, lims=(0.4999, 0.5001)).log_prob(x).sum(-1)
    actual = LIKELIHOODS["continuous-bernoulli"](1).log_prob(x, output)
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["gaussian", "gaussian-learned", "gaussian-diagonal"])
def test_gaussian_equals_that_of_torch(tools, name):
    x, output = tools.normal(5, 7), tools.normal(4, 5, 7, seed=1)
    likelihood = Gaussian(0.3) if name == "gaussian" else LIKELIHOODS[name](7).double()
    for parameter in likelihood.parameters():
        parameter.data.fill_(math.log(0.3))
    expected = Normal(output, 0.3).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(x, output), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_mean_is_that_of_the_density(name):
    outputs = np.array([-1.2, 0.3])
    for output in outputs:
        actual = LIKELIHOODS[name](1).double().mean(torch.tensor([[[output]]], dtype=torch.float64)).item()
        if LIKELIHOODS[name](1).support == "binary":
            expected = math.exp(log_density(name, 1.0, output))
        else:
            ends = (0, 1) if LIKELIHOODS[name](1).support == "unit" else (-20, 20)
            expected, _ = quad(lambda x, o=output: x * math.exp(log_density(name, x, o)), *ends, epsabs=1e-12)
        assert actual == pytest.approx(expected, abs=1e-8)


def test_diagonal_gaussian_has_a_scale_for_each_dimension(tools):
    x, output, scale = tools.normal(5, 7), tools.normal(4, 5, 7, seed=1), tools.normal(7, seed=2).exp()
    likelihood = LIKELIHOODS["gaussian-diagonal"](7).double()
    likelihood.log_scale.data.copy_(scale.log())
    expected = Normal(output, scale).log_prob(x).sum(-1)
    torch.testing.assert_close(likelihood.log_prob(x, output), expected, rtol=1e-12, atol=1e-12)
