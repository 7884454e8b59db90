"""Likelihoods log p(x|z): what a decoder's output means. Sums over pixels, nats per example.

A decoder emits logits or locations, never probabilities: nothing has to be clamped. They are modules because one of
them has a parameter; each also names the `support` its data must lie in: binary, unit (the interval [0, 1]) or real.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@runtime_checkable
class Likelihood(Protocol):
    """log p(x|z) and E[x|z] as functions of the decoder's output."""

    support: str

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]: ...

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]: ...


class _BernoulliLogProb(torch.autograd.Function):
    """sum_p x l - log(1 + e^l), and its derivative x - sigmoid(l): in half the passes through memory of autograd's."""

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
    def backward(ctx: Any, slope: Tensor) -> Any:
        x, output = ctx.saved_tensors
        of_x = (slope[..., None] * output).sum_to_size(x.shape) if ctx.needs_input_grad[0] else None
        return of_x, (x - output.sigmoid()) * slope[..., None]


class Bernoulli(nn.Module):
    """Binary pixels, output l = logits: log p = sum_p x l - log(1 + e^l)."""

    support = "binary"

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        found: Tensor = _BernoulliLogProb.apply(x, output)
        return found

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output.sigmoid()


class ContinuousBernoulli(nn.Module):
    """Grey pixels in [0, 1], output l = natural parameter: log p = sum_p x l - log((e^l - 1) / l).

    Source: Loaiza-Ganem and Cunningham 2019, The continuous Bernoulli, arXiv:1907.06845 (there by lambda = sigmoid(l)).
    """

    support = "unit"

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        # log((e^l - 1) / l) = l / 2 + log(2 sinh(|l| / 2) / |l|), the second term even in l
        small = output.abs() < 0.5
        size = torch.where(small, 1.0, output).abs()
        square = torch.where(small, output, 0.0).square()
        far = 0.5 * size + torch.log1p(-(-size).exp()) - size.log()
        near = square / 24 - square.square() / 2880 + square**3 / 181440 - square**4 / 9676800
        return ((x - 0.5) * output - torch.where(small, near, far)).sum(-1)

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        small = output.abs() < 0.5
        large = torch.where(small, 1.0, output)
        far = 1 / -torch.expm1(-large) - 1 / large
        near = 0.5 + output / 12 - output**3 / 720 + output**5 / 30240 - output**7 / 1209600
        return torch.where(small, near, far)


class Gaussian(nn.Module):
    """Real pixels, output m = location, a fixed scale s: log p = -sum_p [(x - m)² / (2 s²) + log(s sqrt(2 pi))]."""

    support = "real"

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scale = scale

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        constant = math.log(self.scale) + HALF_LOG_TWO_PI
        return -0.5 * ((x - output) / self.scale).square().sum(-1) - x.shape[-1] * constant

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output


class LearnedGaussian(nn.Module):
    """As Gaussian, with one scale shared by all pixels and learned (as log s, from s = 1).

    One shared scale, since a scale per pixel makes the density unbounded where a pixel never varies.
    Source: Rybkin et al. 2021, Simple and effective VAE training with calibrated decoders, arXiv:2006.13202.
    """

    support = "real"

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def log_prob(self, x: Float[Tensor, "B P"], output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B"]:
        squares = ((x - output) * (-self.log_scale).exp()).square().sum(-1)
        return -0.5 * squares - x.shape[-1] * (self.log_scale + HALF_LOG_TWO_PI)

    def mean(self, output: Float[Tensor, "K B P"]) -> Float[Tensor, "K B P"]:
        return output


LIKELIHOODS: dict[str, Callable[[], Likelihood]] = {
    "bernoulli": Bernoulli,
    "continuous-bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "gaussian-learned": LearnedGaussian,
}
