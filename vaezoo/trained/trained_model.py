"""A trained model with the units of its data, and its use on a user's arrays."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vaezoo.distributions.likelihoods import SUPPORTS
from vaezoo.evaluation import log_likelihood_bounds
from vaezoo.models import DataSpec, Model


def _convert(name: str, x: Any) -> Tensor:
    """Return an array, a table or a tensor as a tensor of real numbers."""
    values = x.to_numpy() if hasattr(x, "to_numpy") else x
    if hasattr(values, "dtype") and not isinstance(values, Tensor):
        values = values.copy()  # torch refuses some memory layouts
    try:
        tensor = torch.as_tensor(values).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ValueError(f"{name} is no array of numbers ({reason}); give an array or a tensor") from error
    if tensor.is_complex() or not tensor.isfinite().all():
        raise ValueError(f"{name} has a number that is complex, infinite or NaN; remove it")
    return tensor


def _check_count(name: str, count: int) -> int:
    if operator.index(count) < 1:
        raise ValueError(f"{name} is {count}, and must be 1 or more")
    return operator.index(count)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model with the units of its data, which it encodes, decodes, samples and evaluates.

    Args:
        model: encoder, decoder and prior.
        variant: name of the variant.
        spec: shape of an example, likelihood and architecture.
        maximum: white in arrays of whole numbers; they are divided by it.
        mean, scale: constants [P] by which the training data were standardised; empty if they were not.
        levels: number of values of a pixel, to which noise was added in training; 0 without noise.
        in_unit_interval: whether the model reads numbers from 0 to 1, as pixels.
        about: origin of the model, such as data set, seed and epoch.
    """

    model: Model
    variant: str
    spec: DataSpec
    maximum: float = 255.0
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    levels: int = 0
    in_unit_interval: bool = True
    about: Mapping[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def encode(self, x: Any) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"]]:
        """Return mean and standard deviation of q(z|x), [N, D] each.

        Args:
            x: N examples in the units of the training data, [N, ...] or [N, P]: an array or a tensor. Whole numbers
                are divided by `maximum`, or put in the middle of their level; booleans are 0 and 1, and other pixels
                are from 0 to 1.

        Raises:
            ValueError: the shape is another one, or a number is outside of [0, 1].
        """
        q = self.model.encoder(self._prepare(x))
        return q.mean, q.scale

    @torch.no_grad()
    def decode(self, z: Any) -> Float[Tensor, "N ..."]:
        """Return E[x|z], [N, ...], in the units of the training data; pixels are from 0 to 1.

        Args:
            z: N latents, [N, D].

        Raises:
            ValueError: the shape is another one.
        """
        z = _convert("z", z)
        if z.ndim != 2 or z.shape[1] != self.model.latent_dim:
            raise ValueError(f"z has the shape {list(z.shape)}; latents of this model are [N, {self.model.latent_dim}]")
        x = self.model.decoder.mean(z[None].to(self._device))[0].double()
        if self.scale:
            x = x * self._constant(self.scale) + self._constant(self.mean)
        return x.float().view(-1, *self.spec.shape)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0) -> Float[Tensor, "N ..."]:
        """Return E[x|z] of `count` draws z of the prior, [count, ...], as `decode` does.

        Args:
            count: number of examples.
            seed: of the draws.
        """
        generator = torch.Generator().manual_seed(int(seed))
        noise = torch.randn(_check_count("count", count), self.model.latent_dim, generator=generator)
        return self.decode(self.model.prior.sample(noise.to(self._device)))

    @torch.no_grad()
    def log_likelihood(self, x: Any, draws: int = 100, seed: int = 0) -> Float[Tensor, " N"]:
        """Return log (1/K) sum_k w_k for each example, a lower bound of log p(x), nats, in the units of the data.

        Of pixels with levels, it is a bound of the log-probability of whole numbers, to which noise is added.

        Args:
            x: N examples, as for `encode`; binary pixels, if the likelihood is for them.
            draws: K, importance samples of each example.
            seed: of the draws.

        Raises:
            ValueError: an example is outside of the likelihood's support, or the model has no density.

        Source: Burda et al. 2016, Importance weighted autoencoders, arXiv:1509.00519, equation 8.
        """
        if not self.model.stochastic:
            raise ValueError(
                f"{self.variant} has a point as its posterior, so it has no likelihood; use another variant"
            )
        generator, support = torch.Generator().manual_seed(int(seed)), self.model.decoder.likelihood.support
        values, draws = self._prepare(x, generator), _check_count("draws", draws)
        outside = values[~SUPPORTS[support](values)]
        if len(outside):
            raise ValueError(
                f"x has the number {outside[0].item():.3g}, but the likelihood is for {support} data; "
                "round the pixels, for example with x > 0.5, or train with another likelihood"
            )
        bounds = log_likelihood_bounds(self.model, values, self.model.encoder(values), draws, generator)
        unit = sum(map(math.log, self.scale)) + math.log(self.levels or 1) * math.prod(self.spec.shape)
        return bounds - unit

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _constant(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)

    def _prepare(self, x: Any, generator: torch.Generator | None = None) -> Float[Tensor, "N P"]:
        """Return the numbers that the encoder reads.

        generator: of the noise of pixels with levels; None for the middle of the level.
        """
        values, shape = _convert("x", x), self.spec.shape
        pixels = math.prod(shape)
        if tuple(values.shape[1:]) not in (shape, (pixels,)):
            hint = "; add a dimension with x[None]" if tuple(values.shape) == shape else ""
            raise ValueError(f"x has the shape {list(values.shape)}; examples of this model are [N, *{shape}]{hint}")
        is_whole = not values.is_floating_point() and values.dtype != torch.bool
        values = values.to(self._device).flatten(1).double()
        if self.scale:
            values = (values - self._constant(self.mean)) / self._constant(self.scale)
        elif is_whole and self.levels:
            noise = torch.rand(values.shape, generator=generator) if generator else torch.tensor(0.5)
            values = values.float() / self.levels + (noise / self.levels).to(self._device)
        elif is_whole:
            values = values.float() / self.maximum
        limits = values.aminmax() if values.numel() and self.in_unit_interval else None
        if limits is not None and not (limits.min >= 0 and limits.max <= 1):
            raise ValueError(
                f"x has numbers from {limits.min:.3g} to {limits.max:.3g}; give pixels from 0 to 1, or whole numbers "
                f"from 0 to {self.maximum:g}"
            )
        return values.to(next(self.model.parameters()).dtype)
