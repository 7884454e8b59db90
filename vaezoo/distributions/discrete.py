"""Discrete approximate posteriors: Bernoulli and categorical latents, drawn from standard normal noise.

A draw is a step function of the noise, so it has no derivative in the parameters. z has the numbers 0 and 1; the
classes of a categorical latent lie side by side. Estimators use the parts of a draw, which both posteriors have:

    perturb(noise): the logits plus noise, of which a draw is the hard value,
    condition(perturbed): the same value, with the derivative in the logits that it has if the draw stays as it is.
        Source: Tucker et al. 2017 (REBAR), arXiv:1703.07370; Grathwohl et al. 2018 (RELAX), arXiv:1711.00123, code,
    soften(perturbed, temperature): relaxed draws, the concrete distribution, which tend to the draws if the temperature
        tends to 0. Source: Maddison et al. 2017, arXiv:1611.00712; Jang et al. 2017, arXiv:1611.01144,
    midpoint(z): m = (z + mean) / 2, with the derivative in the logits of a mean that has this value,
    states(): all values of z [S, D]; `ValueError` if there are more than 4,096,
    kl_per_latent(p): the terms of KL(q‖p), one for each latent, nats; p is of the same family.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

MAX_STATES = 4096
NO_DERIVATIVE = (
    "draws of discrete latents have no derivative in the parameters; use an estimator such as score_function, disarm "
    "or gumbel_softmax instead of reparameterization"
)


def _list_states(values: Float[Tensor, "C W"], latents: int) -> Float[Tensor, "S D"]:
    if (count := len(values) ** latents) > MAX_STATES:
        raise ValueError(f"the latents have {count} states; a sum over all states is for at most {MAX_STATES}")
    return torch.stack([torch.cat(state) for state in itertools.product(values.unbind(), repeat=latents)])


@dataclass(frozen=True)
class FactorizedBernoulli:
    """q(z|x) = prod_d Bernoulli(z_d; sigmoid(logits_d)).

    A draw is 1 if logit + logit(u) > 0 with u = Phi(noise), which is the same as Phi(-noise) < sigmoid(logit), and as
    -noise < the quantile of sigmoid(logit). So the noise with the other sign gives the antithetic draw.
    """

    logits: Float[Tensor, "B D"]

    @property
    def mean(self) -> Float[Tensor, "B D"]:
        return self.logits.sigmoid()

    @property
    def scale(self) -> Float[Tensor, "B D"]:
        return (self.logits.sigmoid() * (-self.logits).sigmoid()).sqrt()

    def rsample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        raise TypeError(NO_DERIVATIVE)

    def sample(self, noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K D"]:
        """Return draws z in {0, 1}, without a gradient."""
        return (-noise.to(self.logits.dtype) < self._quantile).to(self.logits.dtype)

    @cached_property
    def _quantile(self) -> Float[Tensor, "B D"]:
        value: Tensor = torch.special.ndtri(self.mean.detach())
        return value

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        """Return log q(z|x) = sum_d z_d logit_d - log(1 + exp(logit_d)), nats."""
        product = z * self.logits  # before the other term: the order of autograd's sums follows that of the terms
        log_zero = logsigmoid(-self.logits) if self.logits.requires_grad else self._log_zero
        return (product + log_zero).sum(-1)

    @cached_property  # for many draws from the same posterior
    def _log_zero(self) -> Float[Tensor, "B D"]:
        return logsigmoid(-self.logits)

    def detach(self) -> FactorizedBernoulli:
        return FactorizedBernoulli(self.logits.detach())

    def perturb(self, noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K D"]:
        return self.logits + _logistic(noise.to(self.logits.dtype))

    def condition(self, perturbed: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        """Return s with the derivative (1 - exp(-|s|)) sigmoid(sign logit).

        Given the sign of s, s = sign log(1 + exp(m)) with m = logit(v) + log(1 + exp(sign logit)) and v fixed.
        """
        s = perturbed.detach()
        odds = torch.where(s > 0, 1.0, -1.0) * self.logits.detach()
        slope = -(-s.abs()).expm1() * odds.sigmoid()
        return s + slope * (self.logits - self.logits.detach())

    def soften(self, perturbed: Float[Tensor, "K B D"], temperature: Tensor | float) -> Float[Tensor, "K B D"]:
        return (perturbed / temperature).sigmoid()

    def midpoint(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        middle = (z + self.mean.detach()) / 2
        return middle + middle * (1 - middle) * (self.logits - self.logits.detach())

    def states(self) -> Float[Tensor, "S D"]:
        return _list_states(self.logits.new_tensor([[0.0], [1.0]]), self.logits.shape[-1])

    def kl_per_latent(self, p: FactorizedBernoulli) -> Float[Tensor, "B D"]:
        difference = logsigmoid(-self.logits) - logsigmoid(-p.logits)
        return self.mean * (self.logits - p.logits) + difference


@dataclass(frozen=True)
class FactorizedCategorical:
    """q(z|x) of L latents with C classes each; z is one-hot and has D = L C numbers. Draws are by Gumbel-max."""

    logits: Float[Tensor, "B L C"]

    @property
    def mean(self) -> Float[Tensor, "B D"]:
        return self.logits.softmax(-1).flatten(-2)

    @property
    def scale(self) -> Float[Tensor, "B D"]:
        return (self.mean * (1 - self.mean)).sqrt()

    def rsample(self, noise: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        raise TypeError(NO_DERIVATIVE)

    def sample(self, noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K D"]:
        """Return one-hot draws z, without a gradient."""
        times = self._exponential(noise) * self._slowness
        return torch.zeros_like(times).scatter(-1, times.argmin(-1, keepdim=True), 1.0).flatten(-2)

    @cached_property
    def _slowness(self) -> Float[Tensor, "B L C"]:
        # 1 / p: the first of exponential variables with rates p is the largest of log p + Gumbel noise
        value: Tensor = (-self.logits.detach().log_softmax(-1)).exp()
        return value

    def log_prob(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        """Return log q(z|x) = sum over latents of the log probability of their class, nats."""
        log_mean = self.logits.log_softmax(-1) if self.logits.requires_grad else self._log_mean
        return (z * log_mean.flatten(-2)).sum(-1)

    @cached_property  # for many draws from the same posterior
    def _log_mean(self) -> Float[Tensor, "B L C"]:
        return self.logits.log_softmax(-1)

    def detach(self) -> FactorizedCategorical:
        return FactorizedCategorical(self.logits.detach())

    def perturb(self, noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K L C"]:
        return self.logits.log_softmax(-1) - self._exponential(noise).log()

    def condition(self, perturbed: Float[Tensor, "K B L C"]) -> Float[Tensor, "K B L C"]:
        """Return s with the derivative 1 - exp(s - max s) in log softmax(logits); it is 0 for the class drawn.

        Given the class, s = -log(E / p - log v) for the others, with exponential variables E and the largest s fixed.
        """
        s, log_p = perturbed.detach(), self.logits.log_softmax(-1)
        slope = -(s - s.amax(-1, keepdim=True)).expm1()
        return s + slope * (log_p - log_p.detach())

    def soften(self, perturbed: Float[Tensor, "K B L C"], temperature: Tensor | float) -> Float[Tensor, "K B D"]:
        return (perturbed / temperature).softmax(-1).flatten(-2)

    def midpoint(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
        middle: Tensor = (z + self.mean.detach()).unflatten(-1, self.logits.shape[-2:]) / 2
        path = self.logits - self.logits.detach()
        return (middle + middle * (path - (middle * path).sum(-1, keepdim=True))).flatten(-2)

    def states(self) -> Float[Tensor, "S D"]:
        latents, classes = self.logits.shape[-2:]
        return _list_states(torch.eye(classes, dtype=self.logits.dtype, device=self.logits.device), latents)

    def kl_per_latent(self, p: FactorizedCategorical) -> Float[Tensor, "B L"]:
        log_ratio = self.logits.log_softmax(-1) - p.logits.log_softmax(-1)
        return (self.logits.softmax(-1) * log_ratio).sum(-1)

    def _exponential(self, noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K L C"]:
        # -log Phi(noise): exponential variables with rate 1; minus their logarithm is Gumbel noise
        rows = noise.to(self.logits.dtype).unflatten(-1, self.logits.shape[-2:])
        tail = _uniform(-rows.abs())  # the smaller one, because the other one rounds to 1
        log_uniform: Tensor = torch.where(rows > 0, (-tail).log1p(), tail.log())
        return -log_uniform


def _logistic(noise: Float[Tensor, "*K D"]) -> Float[Tensor, "*K D"]:
    # logit(Phi(noise)), a standard logistic variable
    return _uniform(noise).log() - _uniform(-noise).log()


def _uniform(noise: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
    # Phi(noise), also in its lower tail, where torch.special.ndtr is 0 beyond 8
    return 0.5 * torch.erfc(-(0.5**0.5) * noise)


DiscretePosterior = FactorizedBernoulli | FactorizedCategorical
