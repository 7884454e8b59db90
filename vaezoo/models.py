"""Models: an encoder that returns a posterior, a decoder with its likelihood, and a prior."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from vaezoo.baselines import Zero
from vaezoo.likelihoods import LIKELIHOODS, Likelihood
from vaezoo.networks import mlp
from vaezoo.posteriors import DIAGONAL_NORMAL, POINT_MASS, Family, Posterior
from vaezoo.priors import STANDARD_NORMAL, Prior


@dataclass(frozen=True)
class DataSpec:
    """What an architecture is a function of: an example's shape, its likelihood, the hidden widths that suit it."""

    shape: tuple[int, ...]
    likelihood: str
    hidden: tuple[int, ...] = (400,)


class Encoder(nn.Module):
    """x to q(z|x): a trunk, then one linear head for each parameter of the posterior.

    The posterior is in float64: it is small, and (z - mean) / scale cancels in float32 where q is narrow (a seed of
    REINFORCE that explodes was seen to reach |mean| / scale = 5e8).
    """

    def __init__(self, trunk: nn.Module, width: int, latent_dim: int, family: Family) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({name: nn.Linear(width, latent_dim) for name in family.heads})
        self.family = family

    def forward(self, x: Float[Tensor, "B ..."]) -> Posterior:
        features = self.trunk(x.flatten(1))
        return self.family.build(*(head(features).double() for head in self.heads.values()))


class Decoder(nn.Module):
    """z to p(x|z): a network in its own precision, and the likelihood that says what its output means."""

    def __init__(self, network: nn.Module, likelihood: Likelihood) -> None:
        super().__init__()
        self.network = network
        self.likelihood = likelihood

    def forward(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B P"]:
        own = next(self.parameters()).dtype
        output: Tensor = self.network(z.to(own)).to(own)  # also where products are asked for in a lower precision
        return output

    def log_prob(self, x: Float[Tensor, "B ..."], z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B"]:
        """log p(x|z), nats per example."""
        return self.likelihood.log_prob(x.flatten(1), self(z))

    def mean(self, z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B P"]:
        """E[x|z]."""
        return self.likelihood.mean(self(z))


class Model(nn.Module):
    """A latent-variable model: q(z|x), p(x|z) and p(z)."""

    def __init__(self, encoder: Encoder, decoder: Decoder, prior: Prior, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior
        self.latent_dim = latent_dim
        self.baseline: nn.Module = Zero()  # what a predicting baseline learns; neither the encoder's nor the decoder's

    @property
    def stochastic(self) -> bool:
        """Whether its latents are random; the plain autoencoder's are not."""
        return self.encoder.family.stochastic

    def forward(self, function: Callable[[Model, Tensor, Tensor], Tensor], x: Tensor, noise: Tensor) -> Tensor:
        """function(model, x, noise): so that `torch.func.functional_call` can evaluate any function of the model."""
        return function(self, x, noise)


def _mlp(spec: DataSpec, latent_dim: int, family: Family) -> Model:
    pixels = math.prod(spec.shape)
    there, back = (pixels, *spec.hidden), (latent_dim, *reversed(spec.hidden))
    encoder = Encoder(mlp(there), there[-1], latent_dim, family)
    network = nn.Sequential(*mlp(back), nn.Linear(back[-1], pixels))
    return Model(encoder, Decoder(network, LIKELIHOODS[spec.likelihood]()), STANDARD_NORMAL, latent_dim)


def mlp_normal(spec: DataSpec, latent_dim: int) -> Model:
    """Perceptrons each way with the data's hidden widths, a diagonal normal posterior, a standard normal prior."""
    return _mlp(spec, latent_dim, DIAGONAL_NORMAL)


def mlp_point(spec: DataSpec, latent_dim: int) -> Model:
    """The same networks without the head for the scale: an autoencoder, whose code is a point."""
    return _mlp(spec, latent_dim, POINT_MASS)
