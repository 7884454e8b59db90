"""Likelihoods log p(x|z) as functions of the decoder's output. Sums over pixels, nats per example.

A decoder returns logits or locations, not probabilities, so that nothing has to be clamped. Likelihoods are modules
because one of them has a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
SUPPORTS: dict[str, Callable[[Tensor], Tensor]] = {  # whether a pixel is in the support of a likelihood
    "binary": lambda x: (x == 0) | (x == 1),
    "unit": lambda x: (x >= 0) & (x <= 1),
    "real": torch.isfinite,
}


@runtime_checkable
class Likelihood(Protocol):
    """log p(x|z) and E[x|z] as functions of the decoder's output [K, B, P] for K draws, B examples, P pixels.

    A class can also have a `name`; see `likelihood_name`.

    support: the values that pixels may have: "binary" (0 or 1), "unit" (the interval [0, 1]) or "real".
    """

    support: str

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        """Return log p(x|z), summed over pixels, nats per draw and example."""

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        """Return E[x|z] for each pixel."""


def likelihood_name(likelihood: Likelihood) -> str:
    """Return the name under which results are recorded: the likelihood's `name`, by default the name of its class.

    Args:
        likelihood: one of vaezoo's or a user's.
    """
    return str(getattr(likelihood, "name", type(likelihood).__name__))


class _BernoulliLogProb(torch.autograd.Function):
    # sum_p x l - log(1 + e^l) and its derivative x - sigmoid(l), with half of autograd's passes through memory

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, output: Tensor) -> Tensor:
        # log(1 + e^l) = max(l, log(1 + e^min(l, 40))): no overflow, and a fraction of the time of softplus, whose log1p
        # is not vectorised
        softplus = output.clamp(max=40).exp_().add_(1).log_().clamp_min_(output)
        return -torch.addcmul(softplus, x, output, value=-1).sum(-1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, output = ctx.saved_tensors
        x_gradient = (gradient[..., None] * output).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None
        return x_gradient, (x - output.sigmoid()) * gradient[..., None]


class Bernoulli(nn.Module):
    """Likelihood of binary pixels; the output l is the logits: log p = sum_p x l - log(1 + e^l)."""

    name = "bernoulli"
    support = "binary"

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        log_px: Tensor = _BernoulliLogProb.apply(x, output)
        return log_px

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output.sigmoid()


class ContinuousBernoulli(nn.Module):
    """Likelihood of grey pixels in [0, 1]: log p = sum_p x l - log((e^l - 1) / l).

    The output l is the natural parameter. The paper uses lambda = sigmoid(l).
    Source: Loaiza-Ganem and Cunningham 2019, The continuous Bernoulli, arXiv:1907.06845.
    """

    name = "continuous-bernoulli"
    support = "unit"

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        # log((e^l - 1) / l) = l / 2 + log(2 sinh(|l| / 2) / |l|); the second term is an even function of l
        small = output.abs() < 0.5
        size = torch.where(small, 1.0, output).abs()
        square = torch.where(small, output, 0.0).square()
        closed_form = 0.5 * size + torch.log1p(-(-size).exp()) - size.log()
        series = square / 24 - square.square() / 2880 + square**3 / 181440 - square**4 / 9676800
        return ((x - 0.5) * output - torch.where(small, series, closed_form)).sum(-1)

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        small = output.abs() < 0.5
        large = torch.where(small, 1.0, output)
        closed_form = 1 / -torch.expm1(-large) - 1 / large
        series = 0.5 + output / 12 - output**3 / 720 + output**5 / 30240 - output**7 / 1209600
        return torch.where(small, series, closed_form)


class Gaussian(nn.Module):
    """Likelihood of real pixels, output m, scale s: log p = -sum_p [(x - m)² / (2 s²) + log(s sqrt(2 pi))]."""

    support = "real"

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    @property
    def name(self) -> str:
        return "gaussian" if self.scale == 1 else f"gaussian({self.scale:g})"

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        constant = math.log(self.scale) + HALF_LOG_TWO_PI
        return -0.5 * ((x - output) / self.scale).square().sum(-1) - x.shape[-1] * constant

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output


class LearnedGaussian(nn.Module):
    """The Gaussian likelihood with a learned scale s, shared by all pixels; log s is the parameter and starts at 0.

    The pixels share a scale because the density of a pixel that never varies is unbounded in its scale.
    Source: Rybkin et al. 2021, Simple and effective VAE training with calibrated decoders, arXiv:2006.13202.
    """

    name = "gaussian-learned"
    support = "real"

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        squares = ((x - output) * (-self.log_scale).exp()).square().sum(-1)
        return -0.5 * squares - x.shape[-1] * (self.log_scale + HALF_LOG_TWO_PI)

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output


class DiagonalGaussian(nn.Module):
    """The Gaussian likelihood with a learned scale s_p for each dimension; log s_p are parameters and start at 0.

    For tables, whose columns have different noise. The density of a dimension that never varies is unbounded.
    """

    name = "gaussian-diagonal"
    support = "real"

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dimensions))

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        standardised = (x - output) / self.log_scale.exp()
        return -0.5 * standardised.square().sum(-1) - (self.log_scale + HALF_LOG_TWO_PI).sum()

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output


# by name, functions of the number of dimensions P
LIKELIHOODS: dict[str, Callable[[int], Likelihood]] = {
    "bernoulli": lambda dimensions: Bernoulli(),
    "continuous-bernoulli": lambda dimensions: ContinuousBernoulli(),
    "gaussian": lambda dimensions: Gaussian(),
    "gaussian-learned": lambda dimensions: LearnedGaussian(),
    "gaussian-diagonal": DiagonalGaussian,
}
