"""The closed forms of the figure of one latent are the moments of the library's estimators."""

import pytest
import torch

from docs import one_latent as closed_forms
from vaezoo import VARIANTS
from vaezoo.distributions.discrete import FactorizedBernoulli
from vaezoo.estimators import gumbel_softmax, st_gumbel_softmax
from vaezoo.reductions import MEAN

pytestmark = pytest.mark.usefixtures("unchecked_types")
BY_NAME = {v.name: v for v in VARIANTS}
NAMED = {"no baseline": "bernoulli-none", "leave-one-out": "bernoulli-loo", "ARM": "bernoulli-arm",
         "DisARM": "bernoulli-disarm"}  # fmt: skip
POINTS = 400_000


def draw_gradients(estimator, draws, p, noise):
    """Gradients in the logit of one latent, for f(z) = (z - t)²."""
    logits = torch.full((noise.shape[1], 1), p, dtype=torch.float64).logit().requires_grad_()
    q, zero = FactorizedBernoulli(logits), torch.zeros(noise.shape[1], dtype=torch.float64)
    value = estimator.estimate(lambda z, q: (z - closed_forms.TARGET).square().sum(-1), MEAN, q, noise, zero)
    return torch.autograd.grad(value.sum(), logits)[0].squeeze(-1)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("name", closed_forms.VARIANCES)
def test_closed_forms_are_the_variances_of_the_estimators(name, p):
    variant = BY_NAME[NAMED[name]]
    source = torch.Generator().manual_seed(1)
    noise = torch.randn(variant.draws, POINTS, 1, generator=source, dtype=torch.float64)
    g = draw_gradients(variant.estimator, variant.draws, p, noise)
    deviations = (g - closed_forms.exact_gradient(p)).square()
    error = deviations.std() / POINTS**0.5
    assert abs(deviations.mean() - closed_forms.VARIANCES[name](p)) <= 4 * error + 1e-12
    assert abs(g.mean() - closed_forms.exact_gradient(p)) <= 4 * g.std() / POINTS**0.5 + 1e-12
    assert name != "DisARM" or p != 0.5 or closed_forms.VARIANCES[name](p) == 0


@pytest.mark.parametrize("temperature", [0.2, 1.0])
@pytest.mark.parametrize(("make", "is_straight"), [(gumbel_softmax, False), (st_gumbel_softmax, True)])
def test_quadrature_gives_bias_and_variance_of_relaxed_draws(make, is_straight, temperature):
    uniform = (torch.arange(POINTS, dtype=torch.float64) + 0.5) / POINTS
    noise = torch.special.ndtri(uniform).view(1, -1, 1)
    g = draw_gradients(make(temperature), 1, 0.3, noise)
    squared_bias, variance = closed_forms.relaxed_moments(temperature, is_straight, 0.3)
    assert (g.mean() - closed_forms.exact_gradient(0.3)).square().item() == pytest.approx(squared_bias, rel=1e-6)
    assert g.var(correction=0).item() == pytest.approx(variance, rel=1e-6)
