"""REBAR and RELAX: the score function with a relaxation as control variate, which is trained to lower the variance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.distributions.discrete import DiscretePosterior
from vaezoo.estimators.discrete import KINDS
from vaezoo.estimators.estimator import Estimator, LogWeight, Noise, PerExample
from vaezoo.reductions import Reduction, replace_each

FIRST_TEMPERATURE = 0.5
WIDTH = 100


class ControlVariate(nn.Module):
    """c(s) = strength * r(relaxed draw) + network(s), as a function of the perturbed logits s.

    Args:
        latent_dim: D, the number of coordinates of z.
        has_network: whether a network with one hidden layer is added (RELAX).
    """

    def __init__(self, latent_dim: int, has_network: bool) -> None:
        super().__init__()
        self.log_temperature = nn.Parameter(torch.tensor(math.log(FIRST_TEMPERATURE)))
        self.strength = nn.Parameter(torch.ones(()))
        layers = nn.Sequential(nn.Linear(latent_dim, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1))
        self.network: nn.Sequential | None = layers if has_network else None

    def forward(self, x: Float[Tensor, "B P"]) -> Float[Tensor, "B 1"]:
        """Return 0: nothing is predicted before the draw."""
        return x.new_zeros(len(x), 1)


def _estimate(
    log_weight: LogWeight,
    reduction: Reduction,
    q: DiscretePosterior,
    noise: Noise,
    prediction: PerExample,
    module: ControlVariate,
    frozen_log_weight: LogWeight,
) -> PerExample:
    """Return F at the draws z; its gradient in the logits is (r - c(s)) grad log q(z) + c'(s) (grad s - grad s').

    s are the perturbed logits of the draws. s' has the value of s and the derivative that s has given z: the noise of
    the conditional draw is tied to that of the draw, which has the same distribution. The last term of the value is 0;
    its gradient trains the control variate to lower the squared gradient, without the part through -log q(z|x) in the
    log weights.
    """
    z = q.sample(noise)
    log_w = log_weight(z, q)
    value = reduction.value(log_w)
    predict = partial(_predict, module, q, log_w.detach(), reduction, frozen_log_weight)
    (_, predicted), pull_back = _pull_back(partial(_terms, q, z, noise, predict), q.logits.detach())
    gain = reduction.reward(log_w).detach() - predicted
    (gradient,) = pull_back((gain, torch.ones_like(gain)))
    path: Tensor = (gradient.detach() * (q.logits - q.logits.detach())).flatten(1).sum(1)
    square: Tensor = gradient.square().flatten(1).sum(1)
    return value + path - (square - square.detach())


def _predict(
    module: ControlVariate,
    q: DiscretePosterior,
    log_w: Float[Tensor, "K B"],
    reduction: Reduction,
    frozen_log_weight: LogWeight,
    s: Tensor,
) -> Float[Tensor, "K B"]:
    # the control variate c(s), nats
    relaxed = q.soften(s, module.log_temperature.exp())
    value: Tensor = module.strength * replace_each(log_w, frozen_log_weight(relaxed, q.detach()), reduction)
    if module.network:
        value = value + module.network(s.reshape(relaxed.shape).to(module.strength.dtype)).squeeze(-1)
    return value


def _terms(
    q: DiscretePosterior, z: Tensor, noise: Noise, predict: Callable[[Tensor], Tensor], logits: Tensor
) -> tuple[Tensor, Tensor]:
    # log q(z) and c(s), both differentiable in the logits; c has the derivative of s - s'
    p = dataclasses.replace(q, logits=logits)
    s = p.perturb(noise)
    return p.log_prob(z), predict(s - p.condition(s) + s.detach())


def _pull_back(
    function: Callable[[Tensor], tuple[Tensor, ...]], point: Tensor
) -> tuple[tuple[Tensor, ...], Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]]:
    # torch.func.vjp imports torch's compiler, which takes a second in each cell. Transforms of torch.func need it,
    # because they refuse requires_grad_.
    if torch.func.debug_unwrap(point) is not point:
        outputs, pull_back = torch.func.vjp(function, point)[:2]
        return outputs, pull_back
    with torch.enable_grad():
        outputs = function(point.requires_grad_())
    return outputs, partial(torch.autograd.grad, outputs, point, create_graph=torch.is_grad_enabled())


# REBAR, with the temperature and the strength as parameters. Source: Tucker et al. 2017, REBAR: low-variance, unbiased
# gradient estimates for discrete latent variable models, arXiv:1703.07370, equation 7.
rebar = Estimator("rebar", _estimate, control=partial(ControlVariate, has_network=False), kinds=KINDS)

# RELAX: REBAR with a network of the perturbed logits added to the control variate. Source: Grathwohl et al. 2018,
# Backpropagation through the void, arXiv:1711.00123, section 3.1 and appendix B.
relax = Estimator("relax", _estimate, control=partial(ControlVariate, has_network=True), kinds=KINDS)
